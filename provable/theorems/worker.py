"""A worker process: reads one request per line on stdin, answers with one line of JSON on stdout.

Theorems run in a process of their own, so that one that hangs can be stopped, and one that crashes takes nobody along.
"""

from __future__ import annotations

import json
import os
import random
import sys
from typing import TextIO

import numpy as np

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
    seed = int(str(request["seed"]))
    # Theorem files may use the global generators; their state must not depend on what ran before in this process.
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        entry = registry.find(str(request["theorem"]))
        effort = EFFORTS[str(request["effort"])]
        return {"verification": verify_entry(entry, effort, seed).to_dict()}
    except ProvableError as error:
        return {"error": " ".join(str(error).split())}


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more, each with the nonce of its request.

    Parameters
    ----------
    requests, answers : text streams
        One JSON object per line each.
    """
    process = os.getpid()
    for line in requests:
        request = json.loads(line)
        reply = {"nonce": request["nonce"], **answer(request)}
        if os.getpid() != process:
            os._exit(1)  # a theorem's file forked: the copy has no business here
        answers.write(json.dumps(_printable(reply), allow_nan=False) + "\n")
        answers.flush()


def _printable(value: object) -> object:
    """Replace what no terminal can print, such as half of a surrogate pair in a theorem's title."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_printable(key): _printable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(part) for part in value]
    return value


if __name__ == "__main__":
    # What a theorem's file prints must not mix with the answers.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    channel.write(READY)
    channel.flush()
    serve(sys.stdin, channel)
