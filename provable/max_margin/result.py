"""The network of largest margin with everything that shows that it is one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.max_margin.clarke_weights import KKTResidual
from provable.max_margin.optimality import Bracket
from provable.networks import Parameters


@dataclass(frozen=True, eq=False)
class MaxMarginNetwork:
    """A two-layer ReLU network with the smallest ½‖θ‖² among those with y_i f(x_i) ≥ 1, of any width.

    Parameters
    ----------
    architecture : Architecture
        Linear, ReLU, linear without bias, with the logistic loss.
    parameters : Parameters
        θ, float64; ‖w_k‖ = |v_k| for every hidden neuron.
    points : ndarray of shape (n, d)
        The samples.
    labels : ndarray of shape (n,)
        ±1.
    multipliers : ndarray of shape (n,)
        λ ≥ 0, zero off the support vectors.
    clarke_weights : ndarray of shape (n, K)
        Slopes s_ik of the ReLU: 1 or 0, and in [0, 1] at kinks.
    margins : ndarray of shape (n,)
        y_i f(x_i).
    residual : KKTResidual
        Of the KKT conditions with these multipliers and weights; numerical.
    bracket : Bracket
        Exact bounds of the optimum, and the tree behind the lower one.
    """

    architecture: Architecture
    parameters: Parameters
    points: Float
    labels: Float
    multipliers: Float
    clarke_weights: Float
    margins: Float
    residual: KKTResidual
    bracket: Bracket = field(repr=False)

    @property
    def objective(self) -> float:
        """Half the squared norm of the parameters.

        Returns
        -------
        float
            ½‖θ‖².
        """
        vector = self.parameters.vector()
        return float(vector @ vector) / 2

    @property
    def dual_bound(self) -> Fraction:
        """A proved lower bound of ½‖θ‖² over all two-layer ReLU networks with margins of at least 1.

        Returns
        -------
        Fraction
            Exact.
        """
        return self.bracket.lower

    @property
    def gap(self) -> Fraction | None:
        """How far ½‖θ‖² of the exactly feasible network in `bracket` is from the optimum at most.

        Returns
        -------
        Fraction or None
            Upper minus lower bound of the optimum, exact; None if no feasible network was found.
        """
        return None if self.bracket.upper is None else self.bracket.upper - self.bracket.lower

    @property
    def is_proved(self) -> bool:
        """Whether exact bounds enclose the optimum to a relative 1e-9.

        Returns
        -------
        bool
            True if there is a feasible network and `gap` is at most 1e-9 of `dual_bound`.
        """
        gap = self.gap
        return gap is not None and gap * 10**9 <= self.dual_bound

    @property
    def neurons(self) -> int:
        """Number of hidden neurons, all of different direction or sign.

        Returns
        -------
        int
            K.
        """
        return int(self.clarke_weights.shape[1])

    @property
    def kinks(self) -> int:
        """Number of pairs of a support vector and a neuron whose kink passes through it.

        Returns
        -------
        int
            Counted where the Clarke weight is neither 0 nor 1, so a lower bound.
        """
        return int(((self.clarke_weights > 0) & (self.clarke_weights < 1)).sum())

    @property
    def support(self) -> int:
        """Number of support vectors.

        Returns
        -------
        int
            Samples with a positive multiplier.
        """
        return int((self.multipliers > 0).sum())

    def to_json(self) -> str:
        """Write what was found, without the trees.

        Returns
        -------
        str
            A JSON object.
        """
        document: dict[str, Any] = {
            "architecture": json.loads(self.architecture.to_json()),
            "parameters": {name: array.tolist() for name, array in self.parameters.items()},
            "points": self.points.tolist(),
            "labels": self.labels.tolist(),
            "multipliers": self.multipliers.tolist(),
            "clarke_weights": self.clarke_weights.tolist(),
            "margins": self.margins.tolist(),
            "objective": self.objective,
            "residual": self.residual.largest,
            "dual_bound": float(self.dual_bound),
            "gap": None if self.gap is None else float(self.gap),
            "is_proved": self.is_proved,
        }
        return json.dumps(document, sort_keys=True)
