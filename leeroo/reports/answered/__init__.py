"""The report of any run: its tables, its pictures, and its display in a notebook."""
