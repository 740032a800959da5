"""The `leeroo` command, one module for each family of commands."""
