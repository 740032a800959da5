"""The backends that load a model here: transformers and vLLM, and what both need."""
