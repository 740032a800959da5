"""Lines of batches: the requests of input files, and the results of output files. Knows nothing of the database."""
