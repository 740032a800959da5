"""Worker processes: how they start. `subprocess` and `worker` are the two sides of what they do."""
