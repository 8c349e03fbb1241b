"""Algorithms that find the measure behind an observation; each says what it supports and why not more."""

from __future__ import annotations

from provable.recovery.kernel_regime.arrangement_walk import ArrangementWalk, infinite_width, walk_arrangement
from provable.recovery.kernel_regime.function_matching import FunctionRecovery, recover_from_function
from provable.recovery.result import FORMAT, STATUSES, Recovery
from provable.recovery.selection import METHODS, recover

__all__ = [
    "FORMAT",
    "METHODS",
    "STATUSES",
    "ArrangementWalk",
    "FunctionRecovery",
    "Recovery",
    "infinite_width",
    "recover",
    "recover_from_function",
    "walk_arrangement",
]
