"""Queries written so that they ask for less, as trees of DuckDB's parser. Knows nothing of how they are run."""
