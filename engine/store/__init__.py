"""The answer store: answers, runs, timings and feedback in one SQLite file, shared by processes."""
