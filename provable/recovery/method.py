"""What a recovery algorithm is to the rest of the package."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from provable.observations import Observation
from provable.recovery.result import Recovery


@dataclasses.dataclass(frozen=True)
class Method:
    """One algorithm.

    Parameters
    ----------
    name : str
        What ``--method`` calls it.
    supports : callable
        ``supports(observation)`` is None if the algorithm applies, otherwise the reason why not, in one sentence.
    recover : callable
        ``recover(observation, rng)`` gives the `Recovery`; it never returns ``certified`` or ``consistent`` for an answer
        that its own acceptance test rejects.
    automatic : bool
        Whether ``auto`` may take it; a published baseline that a later method surpasses is run by name only.
    """

    name: str
    supports: Callable[[Observation], str | None]
    recover: Callable[[Observation, np.random.Generator], Recovery]
    automatic: bool = True
