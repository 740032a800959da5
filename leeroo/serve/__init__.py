"""The HTTP batch endpoint: OpenAI's Files and Batches API over the engine, with a page to look at."""
