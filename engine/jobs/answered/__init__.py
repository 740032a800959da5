"""Answered tables in numbers: what any run cost, how good its answers are, and which rows failed."""
