"""Answers, labels and solutions for data frames, routers, and reports, in Python. Knows nothing of SQL and terminals.

Modules are imported by the name that is used first, see `leeroo/__init__.py`.
"""
