"""Recovery from the trained function alone: Hessian blocks, rank-one matrices in their span, lifting, refinement, verdict."""

from __future__ import annotations

from provable.recovery.kernel_regime.function_matching.method import recover_from_function
from provable.recovery.kernel_regime.function_matching.result import FunctionRecovery

__all__ = ["FunctionRecovery", "recover_from_function"]
