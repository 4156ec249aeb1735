"""The parts of recipes, one folder a kind."""
