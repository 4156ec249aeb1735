"""Attacks on photographs of ImageNet."""
