"""The engine: batch inference over a pool of experts, without SQL, terminals or HTTP."""
