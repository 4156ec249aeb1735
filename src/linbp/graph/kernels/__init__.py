"""Faster forms of a finished graph, with the same values."""
