"""Backends: a batch of requests in, a batch of completions out; one file each."""
