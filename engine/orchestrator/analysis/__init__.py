"""Analysis: what a router and a pool are worth on recorded outcomes."""
