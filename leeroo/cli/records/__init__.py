"""Commands about what was answered and spent: the answer store, spending, reports of runs."""
