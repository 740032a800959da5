"""Images of questions: where they stand in a text, how they are read, and their pixels."""
