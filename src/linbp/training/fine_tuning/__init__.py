"""A network's own program, trained further on labelled images."""
