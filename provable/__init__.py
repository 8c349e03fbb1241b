"""Theory verification and numerical analysis of training-data reconstruction.

What do trained parameters, or one gradient, determine of the data behind them? A network f(x; θ) and a finite signed measure
μ = Σ_j c_j δ_{x_j} on its inputs give the observation v = Φ_θ μ = Σ_j c_j ∇_θ f(x_j; θ); somebody holds v and wants μ.

The names below are loaded when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from provable import kernels, recovery
    from provable.checker import CheckResult
    from provable.leakage import Audit
    from provable.leakage.audit import audit
    from provable.measures import Measure
    from provable.observations import Observation
    from provable.recovery import Recovery, recover
    from provable.recovery.rechecking import check
    from provable.theorems.evidence import Verification
    from provable.theorems.runner import verify

__version__ = "0.1.0"

_HOMES = {
    "Audit": "provable.leakage",
    "CheckResult": "provable.checker",
    "Measure": "provable.measures",
    "Observation": "provable.observations",
    "Recovery": "provable.recovery",
    "Verification": "provable.theorems.evidence",
    "audit": "provable.leakage",
    "check": "provable.recovery.rechecking",
    "recover": "provable.recovery",
    "verify": "provable.theorems.runner",
}
_SUBPACKAGES = ("distillation", "kernels", "recovery", "training")

__all__ = [
    "Audit",
    "CheckResult",
    "Measure",
    "Observation",
    "Recovery",
    "Verification",
    "audit",
    "check",
    "kernels",
    "recover",
    "recovery",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _SUBPACKAGES:
        return importlib.import_module(f"provable.{name}")
    raise AttributeError(f"module 'provable' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
