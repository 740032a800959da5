"""Shipped routers: what there is, which models of a pool they know, and the prior that a pool gets from one."""
