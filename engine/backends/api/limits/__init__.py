"""Limits of accounts: how many requests may be in flight, and when the next one may leave."""
