"""How finely the numbers of an observation were rounded: a gradient of float32 stays one when it is stored in float64."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.observations import Observation

Float = NDArray[np.float64]

UNITS = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float32": 2.0**-23, "float64": EPSILON}
"""Distance from 1 to the next number of each format."""

_FEWEST = 8
"""So few nonzero numbers may be short by chance: 0.5, 1, 3."""


def number_format(observation: Observation) -> str:
    """Find the coarsest format that holds every observed number.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    {"float16", "bfloat16", "float32", "float64"}
        ``"float64"`` also if there are fewer than eight numbers that are not zero, which prove nothing. A number computed
        in float64 is one of float32 with probability 2⁻²⁹.
    """
    numbers = np.concatenate([piece.reshape(-1) for piece in observation.vector.values()] or [np.zeros(0)])
    numbers = numbers[numbers != 0]
    if numbers.size < _FEWEST:
        return "float64"
    with np.errstate(over="ignore", under="ignore"):
        half, single = numbers.astype(np.float16), numbers.astype(np.float32)
    if not np.array_equal(single.astype(np.float64), numbers):
        return "float64"
    # A bfloat16 is a float32 whose lower half is zero; most of them are numbers of float16 as well.
    if not np.any(single.view(np.uint32) & 0xFFFF):
        return "bfloat16"
    return "float16" if np.array_equal(half.astype(np.float64), numbers) else "float32"


def precision(observation: Observation) -> float:
    """Unit of rounding of the observed numbers.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    float
        The distance from 1 to the next number of the format that `number_format` finds.
    """
    return UNITS[number_format(observation)]
