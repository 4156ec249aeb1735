"""Folders of resumable jobs: lock, settings, checkpoints, rows, progress and provenance."""
