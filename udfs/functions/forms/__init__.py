"""The forms that answers may take in SQL: one module for each family of functions, and what they share."""
