"""Self-play: make questions, have them answered, grade the answers, and train a router on them."""
