"""The algorithms of Wang, Lee and Lei (AISTATS 2023) as printed, and with their errata applied: the baseline to beat."""

from __future__ import annotations

from provable.recovery.batch.wang2023.deep import algorithm_2, crafted_parameters
from provable.recovery.batch.wang2023.errata import Erratum, Options
from provable.recovery.batch.wang2023.method import METHOD
from provable.recovery.batch.wang2023.two_layers import Estimate, TwoLayerGradient, algorithm_1

__all__ = [
    "METHOD",
    "Erratum",
    "Estimate",
    "Options",
    "TwoLayerGradient",
    "algorithm_1",
    "algorithm_2",
    "crafted_parameters",
]
