"""The functions that DuckDB calls: their forms, what they ask, and the answers that are known."""
