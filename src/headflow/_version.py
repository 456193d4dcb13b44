"""The version, a leaf that every part may read."""

__version__ = "0.1.0"
