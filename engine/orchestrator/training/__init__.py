"""Training: from recorded outcomes to a router, and the choice of outcomes to record next."""
