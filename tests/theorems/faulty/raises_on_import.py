"""A file that raises."""

raise RuntimeError("first line\nsecond line")
