"""Recorded outcomes: read from data folders, checked, and completed where nobody was asked."""
