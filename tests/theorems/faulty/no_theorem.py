"""A file without a theorem."""
