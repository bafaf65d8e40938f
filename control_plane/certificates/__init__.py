"""The installation's own certificates."""
