"""A file that writes to every descriptor for ever, slowly, and never a line break."""

import contextlib
import os
import time

while True:
    for descriptor in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(descriptor, b".")
    time.sleep(0.02)
