"""Recorded outcomes: read from data folders, checked, and imputed where none is recorded."""
