"""Training: from recorded outcomes to a router, and which outcomes to record next."""
