"""Typed records: the fields that a text states, as values of SQL, Arrow and Python."""
