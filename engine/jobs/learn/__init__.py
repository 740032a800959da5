"""Learning from a table while it is answered: what to ask, whose answers are right, and what the router learns."""
