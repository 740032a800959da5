"""DuckDB functions that answer questions."""
