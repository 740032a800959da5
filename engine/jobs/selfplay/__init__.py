"""Self-play: rounds in which routers learn from new questions. Knows nothing of reports."""
