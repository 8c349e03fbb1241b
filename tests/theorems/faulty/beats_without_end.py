"""A file that forks; both processes append to the file named by PROVABLE_TEST_BEATS for as long as they live."""

import os
import time
from pathlib import Path

mark = "parent" if os.fork() else "child"

while True:
    with Path(os.environ["PROVABLE_TEST_BEATS"]).open("a") as beats:
        beats.write(mark + "\n")
    time.sleep(0.02)
