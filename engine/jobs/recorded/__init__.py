"""Recorded outcomes of users: read from where they are, to train a router on them or to measure one."""
