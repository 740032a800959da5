"""Images as experts see them: who can, how large they may be, and how many tokens they are."""
