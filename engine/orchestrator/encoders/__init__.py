"""Encoders: texts to vectors, and the vectors that are kept. Knows nothing of experts."""
