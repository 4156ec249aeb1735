"""A run's results for readers: one result, one renderer a file. Reads what the bench wrote, computes nothing new."""
