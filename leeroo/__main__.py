"""The `leeroo` command, and `python -m leeroo`."""

import gc

from leeroo.interrupts import interrupts

# New objects between two searches for garbage. Python's own number, 700, makes imports a fifth slower.
_NEW_OBJECTS = 50_000


def main() -> None:
    """Run the command line, which takes a moment to import."""
    gc.set_threshold(_NEW_OBJECTS)
    with interrupts():
        from leeroo.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
