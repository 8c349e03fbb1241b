"""Memory: how much there is, and a refusal before more than that is allocated."""

from __future__ import annotations

import os
from pathlib import Path

from provable.errors import InputError, UnsupportedError


def available_memory() -> int | None:
    """Tell how many bytes this process may still take, as far as the operating system says.

    Returns
    -------
    int or None
        The least of what the kernel calls available, what the control group leaves and what is physically there; None where
        the system has no such figures, and then nothing is refused unless a limit is given.
    """
    found = [_available_to_the_machine(), _left_in_the_control_group()]
    known = [number for number in found if number is not None]
    return min(known) if known else None


def _available_to_the_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    try:  # systems without /proc, such as macOS: what is built in
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def _left_in_the_control_group() -> int | None:
    folder = Path("/sys/fs/cgroup")
    try:
        limit = int((folder / "memory.max").read_text(encoding="ascii"))
        return max(0, limit - int((folder / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such group, or "max": no limit
        return None


def usable_memory(limit: int | None) -> int | None:
    """Tell how many bytes may be taken.

    Parameters
    ----------
    limit : int or None
        The caller's limit; None for what is available now.

    Returns
    -------
    int or None
        Bytes; None if there is no limit and the system has no figures.

    Raises
    ------
    InputError
        If the limit is not a positive integer.
    """
    if limit is None:
        return available_memory()
    if isinstance(limit, bool) or not isinstance(limit, int) or limit <= 0:
        raise InputError(f"memory_limit: found {limit!r:.60}; a positive number of bytes is accepted")
    return limit


def require_memory(what: str, needed: int, limit: int | None = None) -> None:
    """Refuse what would not fit.

    Parameters
    ----------
    what : str
        What the memory is for, with its sizes.
    needed : int
        Bytes that it takes at its peak, predicted.
    limit : int, optional
        Bytes that it may take; default what is available now.

    Raises
    ------
    InputError
        If the limit is not a positive integer.
    UnsupportedError
        If more is needed than may be taken; the message has both numbers.
    """
    accepted = usable_memory(limit)
    if accepted is not None and needed > accepted:
        raise UnsupportedError(
            f"{what} needs {in_gibibytes(needed)} of memory at its peak; "
            f"{in_gibibytes(accepted)} {'are available' if limit is None else 'are the limit'}: "
            "take fewer points, or form the matrix by rectangular parts"
        )


def in_gibibytes(number: int) -> str:
    """Write a number of bytes.

    Parameters
    ----------
    number : int
        Bytes.

    Returns
    -------
    str
        In GiB with three significant digits, and exactly in brackets.
    """
    return f"{number / 2**30:.3g} GiB ({number} bytes)"
