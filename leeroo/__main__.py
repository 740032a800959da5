"""`python -m leeroo` is the `leeroo` command."""

from leeroo.cli import main

main()
