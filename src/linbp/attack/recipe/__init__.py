"""Recipes: an attack as data, its grammar, and the named ones."""
