"""How much memory there is, on systems that say it in different ways."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provable.errors import UnsupportedError
from provable.memory import available_memory, in_gibibytes, require_memory


@pytest.fixture
def system(monkeypatch):
    """Files that the operating system has; all others are missing."""
    files: dict[str, str] = {}

    def read_text(path, encoding=None):
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}.__getitem__, raising=False)
    return files


def test_this_machine_has_some():
    found = available_memory()
    assert found is None or found > 2**20


def test_what_the_kernel_calls_available_comes_before_what_is_built_in(system):
    assert available_memory() == 4096 * 1000
    system["/proc/meminfo"] = "MemTotal:  900 kB\nMemFree: 100 kB\nMemAvailable:  500 kB\n"
    assert available_memory() == 500 * 1024


def test_a_control_group_may_leave_less(system):
    system["/proc/meminfo"] = "MemAvailable:  500 kB\n"
    system["/sys/fs/cgroup/memory.max"] = "max\n"
    assert available_memory() == 500 * 1024
    system["/sys/fs/cgroup/memory.max"], system["/sys/fs/cgroup/memory.current"] = "100000\n", "30000\n"
    assert available_memory() == 70000
    system["/sys/fs/cgroup/memory.current"] = "130000\n"
    assert available_memory() == 0


def test_a_system_that_says_nothing_refuses_nothing(system, monkeypatch):
    monkeypatch.delattr(os, "sysconf")
    assert available_memory() is None
    require_memory("a matrix", 10**18)
    with pytest.raises(UnsupportedError, match="a matrix needs 1 GiB"):
        require_memory("a matrix", 2**30, 2**30 - 1)
    require_memory("a matrix", 2**30, 2**30)


def test_sizes_are_readable_and_exact():
    assert in_gibibytes(3 * 2**29) == "1.5 GiB (1610612736 bytes)"
