"""Reports: results for people, as pages, pictures and tables. Knows nothing of how they were computed."""
