"""Statements: rehearsed for their questions, then run with every answer known."""
