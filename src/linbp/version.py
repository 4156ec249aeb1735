"""The version of linbp."""

__version__ = "0.1.0"
