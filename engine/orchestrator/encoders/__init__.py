"""Encoders: from texts to vectors, which are kept on disk. Knows nothing of experts."""
