"""A worker process: reads one request per line on stdin, answers with one line of JSON on stdout.

Theorems run in a process of their own, so that one that hangs can be stopped, and one that crashes takes nobody along.
"""

from __future__ import annotations

import json
import os
import queue
import random
import signal
import threading
from collections.abc import Iterable
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


def serve(requests: Iterable[str], answers: TextIO) -> None:
    """Answer requests until there are no more, each with the nonce and the theorem of its request.

    Parameters
    ----------
    requests : iterable of str
        One JSON object each.
    answers : text stream
        Gets one JSON object per line.
    """
    process = os.getpid()
    for line in requests:
        request = json.loads(line)
        reply = {"nonce": request["nonce"], "theorem": request["theorem"], **answer(request)}
        if os.getpid() != process:
            os._exit(1)  # a theorem's file forked: the copy has no business here
        answers.write(json.dumps(printable(reply), allow_nan=False) + "\n")
        answers.flush()


def printable(value: object) -> object:
    r"""Replace what no terminal can print, such as half of a surrogate pair in a theorem's title.

    Parameters
    ----------
    value : object
        A JSON value.

    Returns
    -------
    object
        The same with escapes such as ``\ud800`` for lone surrogates in its texts.
    """
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {printable(key): printable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [printable(part) for part in value]
    return value


def _until_deserted(source: TextIO) -> Iterable[str]:
    """Yield the lines of a stream; when it ends, kill the process and its group, whatever they are doing.

    The stream ends when the process that asks is gone, however it ended. Nobody else would stop a theorem that hangs then,
    since the session of a worker gets no signal from the terminal.
    """
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in source:
            lines.put(line)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


if __name__ == "__main__":
    # What a theorem's file prints must not mix with the answers, and what it reads must not be the requests.
    asked = os.fdopen(os.dup(0), encoding="utf-8")
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    channel.write(READY)
    channel.flush()
    serve(_until_deserted(asked), channel)
