"""The functions that DuckDB calls: their signatures, their forms, their requests, and the answers that are known."""
