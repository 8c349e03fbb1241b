"""Verifying many theorems: two at a time, each in a worker process, each within its budget."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import secrets
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from provable.errors import InputError
from provable.theorems import registry, worker
from provable.theorems.evidence import MEANING, Verification
from provable.theorems.search import EFFORTS, Effort
from provable.theorems.theorem import INCONCLUSIVE, VERDICTS

START_SECONDS = 60.0
"""How long a worker may take to start, that is to import SciPy and Hypothesis, before it counts as dead."""

LONGEST_REPLY = 64 * 1024 * 1024
"""Bytes after which a reply is no longer listened to."""


def verify(
    ids: Sequence[str] | None = None,
    *,
    effort: str = "standard",
    rng: int | np.random.Generator | None = 0,
    progress: Callable[[Verification], None] | None = None,
    workers: int | None = None,
    budget_seconds: float | None = None,
) -> list[Verification]:
    """Run the evidence of theorems and judge them.

    Parameters
    ----------
    ids : sequence of str, optional
        Identifiers, prefixes such as ``"loo2024"``, or paths of Python files; default: every registered theorem.
    effort : {"quick", "standard", "deep"}, optional
        How much work to do.
    rng : int or numpy.random.Generator, optional
        Seed, or a generator from which one is drawn.
    progress : callable, optional
        Called with each verification as it is done.
    workers : int, optional
        Number of worker processes; default: one per core, at most four.
    budget_seconds : float, optional
        After how many seconds a theorem is stopped; default: the effort's own.

    Returns
    -------
    list of Verification
        In the order of `ids`.

    Raises
    ------
    InputError
        If an identifier is unknown, a file cannot be loaded, the effort has no such name, or `workers` is below one.
    """
    if effort not in EFFORTS:
        raise InputError(f"effort '{effort}' is unknown; quick, standard and deep are accepted")
    if workers is not None and workers < 1:
        raise InputError(f"workers is {workers}; at least one worker is needed")
    names = select_theorems(ids)
    seed = rng if isinstance(rng, int) else int(np.random.default_rng(rng).integers(2**63))
    budget = EFFORTS[effort].budget_seconds if budget_seconds is None else budget_seconds
    tasks: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(names)):
        tasks.put(index)
    results: list[Verification | None] = [None] * len(names)
    failures: list[BaseException] = []
    lock = threading.Lock()

    count = min(len(names), workers or min(4, os.cpu_count() or 1))
    processes = [_Worker() for _ in range(count)]

    def work(own: _Worker) -> None:
        with contextlib.closing(own) as process:
            while not failures:
                try:
                    index = tasks.get_nowait()
                except queue.Empty:
                    return
                try:
                    result = process.verify(names[index], EFFORTS[effort], seed, budget)
                except BaseException as error:
                    failures.append(error)
                    return
                with lock:
                    results[index] = result
                    if progress is not None:
                        progress(result)

    threads = [threading.Thread(target=work, args=(process,), daemon=True) for process in processes]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        failures.append(KeyboardInterrupt())
        for process in processes:
            process.close()
        raise
    if failures:
        raise failures[0]
    return [result for result in results if result is not None]


def select_theorems(ids: Sequence[str] | None) -> list[str]:
    """Expand identifiers, prefixes and paths.

    Parameters
    ----------
    ids : sequence of str or None
        What the user named; None or an empty sequence means all.

    Returns
    -------
    list of str
        Identifiers and paths, each once.

    Raises
    ------
    InputError
        If something named does not exist.
    """
    known = registry.identifiers()
    if not ids:
        return known
    chosen: list[str] = []
    for name in ids:
        if name.endswith(".py"):
            if not _is_file(name):
                raise InputError(f"{name}: there is no such file; a Python file that assigns `theorem` is accepted")
            matches = [name]
        else:
            matches = [name] if name in known else [each for each in known if each.startswith(name + ".")]
        if not matches:
            registry.find(name)  # raises; a name that is not registered imports nothing
        chosen.extend(match for match in matches if match not in chosen)
    return chosen


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except OSError:  # for instance a name that is too long
        return False


class _Worker:
    """A worker process that is started when needed and again after it had to be stopped.

    The package's own theorems share it. A theorem from outside gets a process to itself, since its file can do anything to
    the process that it is loaded into, the verdicts on other theorems included. Processes are handled the POSIX way.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Stop the process and whatever it has started."""
        process, self.process = self.process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5.0)

    def verify(self, name: str, effort: Effort, seed: int, budget: float) -> Verification:
        """Have one theorem verified.

        Parameters
        ----------
        name : str
            Identifier or path.
        effort : Effort
            How much work.
        seed : int
            The seed.
        budget : float
            Seconds after which the process is stopped.

        Returns
        -------
        Verification
            The answer, or `inconclusive` if the process was stopped, died or answered out of turn.

        Raises
        ------
        InputError
            If the theorem cannot be loaded.
        """
        trusted = name in registry.theorem_files()
        if not trusted:
            self.close()
        if self.process is None and not self._start():
            return _stopped(name, f"its process did not start within {START_SECONDS:g} s", START_SECONDS)
        start = time.perf_counter()
        nonce = secrets.token_hex(16)
        request = {"nonce": nonce, "theorem": name, "effort": effort.name, "seed": seed}
        line = self._exchange(request, budget)
        seconds = round(time.perf_counter() - start, 3)
        reply = None if not line else _parse(line, nonce, name)
        if reply is None or not trusted:
            self.close()
        if line is None:
            return _stopped(name, f"it did not end within its budget of {budget:g} s", seconds)
        if not line:
            return _stopped(name, "its process died", seconds)
        if reply is None:
            return _stopped(name, "its process answered out of turn", seconds)
        if "error" in reply:
            raise InputError(str(reply["error"]))
        try:
            result = Verification.from_dict(reply["verification"])
        except (TypeError, KeyError, ValueError):
            return _stopped(name, "its process answered out of turn", seconds)
        if result.verdict not in VERDICTS or result.id != _identifier(name):
            return _stopped(name, "its process answered out of turn", seconds)
        return result

    def _start(self) -> bool:
        threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "provable.theorems.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        if self._receive(START_SECONDS) == worker.READY.encode():
            return True
        self.close()
        return False

    def _exchange(self, request: dict[str, object], seconds: float) -> bytes | None:
        """Send a request and wait for a line: None when time ran out, empty when the process died."""
        assert self.process is not None and self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return b""
        return self._receive(seconds)

    def _receive(self, seconds: float) -> bytes | None:
        process = self.process
        assert process is not None and process.stdout is not None
        descriptor, received, deadline = process.stdout.fileno(), bytearray(), time.monotonic() + seconds
        while len(received) <= LONGEST_REPLY:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            ready, _, _ = select.select([descriptor], [], [], min(remaining, 0.25))
            if not ready:
                if process.poll() is not None:
                    return b""  # dead, although something that it started may still hold the pipe
                continue
            part = os.read(descriptor, 1 << 20)
            if not part:
                return b""
            received += part
            if b"\n" in part:  # bytes behind the line are for `_parse` to refuse
                break
        return bytes(received)


def _parse(line: bytes, nonce: str, name: str) -> dict[str, Any] | None:
    """Read a reply; None if it is anything but one JSON object with the nonce and the theorem of the request."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(reply, dict) or len(reply.keys() & {"verification", "error"}) != 1:
        return None
    if (reply.get("nonce"), reply.get("theorem")) != (nonce, worker.printable(name)):
        return None
    return reply


def _identifier(name: str) -> str:
    return str(worker.printable(Path(name).stem if name.endswith(".py") else name))


def _stopped(name: str, reason: str, seconds: float) -> Verification:
    """The verdict on a theorem that gave none. Nothing of its file is read here: that could hang as well."""
    return Verification(
        id=_identifier(name),
        title="",
        source="",
        statement="",
        expected=None,
        verdict=INCONCLUSIVE,
        reason=str(worker.printable(f"{name}: {reason}")),
        does_not_say=MEANING[INCONCLUSIVE],
        seconds=seconds,
    )
