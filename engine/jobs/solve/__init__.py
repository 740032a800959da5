"""Complex questions solved step by step. Knows nothing of SQL and terminals."""
