"""A file that writes to every descriptor for ever, as fast as it can, and never a line break."""

import contextlib
import os

while True:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b"." * 65536)
