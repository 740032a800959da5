"""The `leeroo` command, and `python -m leeroo`."""

from leeroo.interrupts import interrupts


def main() -> None:
    """Run the command line, which takes a moment to import."""
    with interrupts():
        from leeroo.cli.main import main as run

        run()


if __name__ == "__main__":
    main()
