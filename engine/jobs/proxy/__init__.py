"""The proxy: a small classifier that learns from the experts' labels, and labels the rows of which it is sure."""
