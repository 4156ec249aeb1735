"""Folders of resumable jobs: lock, settings, checkpoints, records and what made them."""
