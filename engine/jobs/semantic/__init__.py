"""Semantic operations on tables: embeddings, joins, deduplication and ranking, decided by experts under one budget."""
