"""What a recovery from the trained function found, and how far to trust it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError
from provable.measures import Measure

STATUSES = ("consistent", "partial", "failed")
"""The words of ``provable-recovery/1`` that numerical evidence can earn."""


@dataclass(frozen=True, eq=False)
class FunctionRecovery:
    r"""Points and coefficients recovered from a trained function.

    Attributes
    ----------
    measure : Measure
        The points (n, dimension), a fixed bias coordinate included, with their coefficients α; unit points if
        ``"positive-scaling"`` is in the fibre.
    decided : ndarray of bool, shape (n,)
        Which atoms the function demands: without the atom, and with all other coefficients free, the loss would be above what
        is left unexplained.
    deletion_costs : ndarray of shape (n,)
        α_j² P_j² with P_j² = 1/[K⁻¹]_jj, the loss after deleting an atom; 0 where K is singular.
    residual : float
        Largest difference of the two functions at points that were not used, over the largest value there.
    tolerance : float
        The residual that rounding explains.
    loss : float or None
        ‖h - ĥ‖²_H, if ‖h‖²_H was given; never reported below `loss_floor`.
    loss_floor : float
        What rounding adds to the loss, since three terms of the size of ‖h‖²_H cancel.
    count : int or None
        The number of independent squares p_j p_jᵀ that the rank of Hessian blocks shows; None if no gap shows one. There are
        more points if squares depend on each other, as for points on one line through 0 or many in a small subspace.
    gap : float
        The ratio of the singular values on both sides of that rank.
    fibre : tuple of str
        The symmetries left open: ``"permutation"``, ``"joint-sign"``, ``"positive-scaling"``, and ``"antipodal:k"`` if
        the signs of k points are a guess.
    status : {"consistent", "partial", "failed"}
        ``consistent``: the residual is at rounding level and every atom is decided. ``partial``: some atoms explain
        the function in part. ``failed``: nothing acceptable.
    reason : str
        Why the status is not better; empty if there is nothing to say.
    evaluations : int
        Points at which the function or its gradient was asked.

    Raises
    ------
    InputError
        If the status is unknown or a failure has no reason.
    """

    measure: Measure
    decided: NDArray[np.bool_]
    deletion_costs: NDArray[np.float64]
    residual: float
    tolerance: float
    loss: float | None
    loss_floor: float
    count: int | None
    gap: float
    fibre: tuple[str, ...]
    status: str
    reason: str
    evaluations: int

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise InputError(f"status: found {self.status!r:.60}; {', '.join(STATUSES)} are accepted")
        if self.status != "consistent" and not self.reason:
            raise InputError(f"reason: is missing although the status is {self.status}")
        for name, kind in (("decided", np.bool_), ("deletion_costs", np.float64)):
            array = np.array(getattr(self, name), dtype=kind)
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def to_json(self) -> str:
        """Give everything but the arrays.

        Returns
        -------
        str
            JSON; numbers that are not finite are null.
        """
        numbers = {
            name: (value if value is not None and math.isfinite(value) else None)
            for name, value in (
                ("residual", self.residual),
                ("tolerance", self.tolerance),
                ("loss", self.loss),
                ("loss_floor", self.loss_floor),
                ("gap", self.gap),
            )
        }
        document = {
            "status": self.status,
            "reason": self.reason or None,
            "atoms": self.measure.size,
            "decided": int(self.decided.sum()),
            "count": self.count,
            "fibre": list(self.fibre),
            "evaluations": self.evaluations,
            **numbers,
        }
        return json.dumps(document, indent=2, allow_nan=False)
