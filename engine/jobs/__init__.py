"""Whole jobs built from runs of the engine: label, solve, MMLU, self-play, feedback. They know nothing of SQL."""
