"""MMLU: its questions, and the benchmark as one batch."""
