"""A worker process: reads one request per line on stdin, answers with one line of JSON on stdout.

Theorems run in a process of their own, so that one that hangs can be stopped, and one that crashes takes nobody along.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

from provable.errors import ProvableError
from provable.theorems import registry
from provable.theorems.search import EFFORTS
from provable.theorems.verification import verify_entry

READY = "ready\n"
"""The first line of a worker, once everything is imported."""


def answer(request: dict[str, object]) -> dict[str, object]:
    """Verify one theorem.

    Parameters
    ----------
    request : dict
        ``theorem`` (identifier or path), ``effort`` and ``seed``.

    Returns
    -------
    dict
        ``{"verification": ...}``, or ``{"error": sentence}`` if the theorem cannot be loaded.
    """
    try:
        entry = registry.find(str(request["theorem"]))
        effort = EFFORTS[str(request["effort"])]
        return {"verification": verify_entry(entry, effort, int(str(request["seed"]))).to_dict()}
    except ProvableError as error:
        return {"error": " ".join(str(error).split())}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more.

    Parameters
    ----------
    requests, answers : text streams
        One JSON object per line each.
    """
    for line in requests:
        answers.write(json.dumps(answer(json.loads(line)), allow_nan=False) + "\n")
        answers.flush()


if __name__ == "__main__":
    # What a theorem's file prints must not mix with the answers.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel.write(READY)
    channel.flush()
    serve(sys.stdin, channel)
