"""Commands for the first hour: a demonstration, a pool file, and what can run here."""
