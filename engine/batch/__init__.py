"""The stages of the road between the rows and the answers."""
