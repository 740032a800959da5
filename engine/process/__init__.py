"""What a process shares with the machine, and what it imports. Knows nothing of models."""
