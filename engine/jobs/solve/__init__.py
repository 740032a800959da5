"""Solve: complex questions split into steps, which the engine answers in waves."""
