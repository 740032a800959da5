"""MMLU: its questions, and the benchmark as one batch. Knows nothing of reports."""
