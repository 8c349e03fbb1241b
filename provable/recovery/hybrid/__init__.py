"""Layer by layer as R-GAP, with a correction by gradient matching at each layer."""

from __future__ import annotations

from provable.recovery.hybrid.method import METHOD, Iterations, hybrid

__all__ = ["METHOD", "Iterations", "hybrid"]
