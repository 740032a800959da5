"""The `leeroo` command, and `python -m leeroo`."""

import os

from leeroo.interrupts import interrupts


def main() -> None:
    """Run the command line, which takes a moment to import."""
    # Threads that wait for a core keep it busy: beside other work an encoder would take many times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with interrupts():
        from leeroo.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
