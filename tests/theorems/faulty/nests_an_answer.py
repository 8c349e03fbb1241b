"""A file that writes an answer nested deeper than a reader of JSON can follow."""

import contextlib
import os

for descriptor in range(3, 64):
    with contextlib.suppress(OSError):
        os.write(descriptor, b"[" * 30000 + b"\n")
