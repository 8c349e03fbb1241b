"""Algorithms that find the measure behind an observation; each says what it supports and why not more."""

from __future__ import annotations

from provable.recovery.kernel_regime.arrangement_walk import infinite_width
from provable.recovery.result import FORMAT, STATUSES, Recovery
from provable.recovery.selection import METHODS, recover

__all__ = ["FORMAT", "METHODS", "STATUSES", "Recovery", "infinite_width", "recover"]
