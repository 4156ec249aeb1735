"""From a module to a graph of functional operations."""
