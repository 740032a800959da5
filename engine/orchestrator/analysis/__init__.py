"""Analysis: the quality of a router and of a pool on recorded outcomes."""
