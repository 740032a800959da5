"""Whole jobs made of answers and measures, up to what people read of them."""
