"""SQL text that ships with the package."""
