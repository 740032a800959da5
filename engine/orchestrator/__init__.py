"""The orchestrator: predict how well each expert would answer, and choose for the whole batch."""
