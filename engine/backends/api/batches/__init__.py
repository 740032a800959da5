"""Batches: requests through the batch APIs of providers, which answer within hours at a lower price."""
