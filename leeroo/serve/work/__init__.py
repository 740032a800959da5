"""The work of the server: batches and their files, the queue of lines, and the waves that answer them."""
