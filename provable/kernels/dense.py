"""Tangent kernel and Gaussian-process kernel of infinitely wide dense networks, any depth, with or without random biases."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from provable import arithmetic
from provable.arithmetic import Array
from provable.errors import ArithmeticUnsupported, InputError
from provable.kernels import covariances, dual_activations
from provable.kernels.dual_activations import DualActivation
from provable.measures import as_numbers

DEEPEST = 1000
"""The largest number of hidden layers."""

ACTIVATIONS: Mapping[str, DualActivation] = MappingProxyType(
    {"relu": dual_activations.relu, "erf": dual_activations.erf}
)
"""Activations with a closed form, by their names in ``provable-architecture/1``."""


@dataclass(frozen=True)
class DenseKernel:
    """The kernel of an infinitely wide dense network; call it with two sets of points.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    activation : {"relu", "erf"}
        The activation of every hidden layer.
    weight_variance : float
        σ_w².
    bias_variance : float
        σ_b².
    tangent : bool
        Whether it is the tangent kernel, not the Gaussian-process kernel.

    Raises
    ------
    InputError
        If a number is out of range or the activation has no closed form here.

    Notes
    -----
    A network in the NTK parametrisation has layers √(σ_w²/fan-in)·Wh + σ_b·b with independent N(0, 1) entries of W and b, all
    of them trained. With d inputs, S¹ = σ_w² x·z/d + σ_b² and Θ¹ = S¹; for each hidden layer, with K = E[σ(a)σ(b)] and
    K̇ = E[σ'(a)σ'(b)] under the covariance S, S ← σ_w² K + σ_b² and Θ ← S + σ_w² Θ K̇ [1]_. The Gaussian-process kernel is the
    last S, the tangent kernel the last Θ.

    References
    ----------
    .. [1] A. Jacot, F. Gabriel, C. Hongler, Neural tangent kernel, NeurIPS 2018, Theorem 1 and Proposition 1.
    """

    depth: int
    activation: str
    weight_variance: float
    bias_variance: float
    tangent: bool

    def __post_init__(self) -> None:
        if isinstance(self.depth, bool) or not isinstance(self.depth, int) or not 0 <= self.depth <= DEEPEST:
            raise InputError(f"depth: found {self.depth!r:.60}; an integer from 0 to {DEEPEST} is accepted")
        if self.activation not in ACTIVATIONS:
            raise InputError(f"activation: found {self.activation!r:.60}; {', '.join(ACTIVATIONS)} are accepted")
        for name, lowest in (("weight_variance", "a positive"), ("bias_variance", "a nonnegative")):
            number = getattr(self, name)
            real = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
            if not real or number < 0 or (number == 0 and name == "weight_variance"):
                raise InputError(f"{name}: found {number!r:.60}; {lowest} finite number is accepted")

    def __call__(self, X: Any, Z: Any = None) -> Array:
        """Evaluate the kernel.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Points, float64 or an object array of balls.
        Z : array_like of shape (m, d), optional
            Other points in the same arithmetic; default the same.

        Returns
        -------
        ndarray of shape (n, m)
            Kernel values. The error in float64 is a small multiple of (depth + d)·2⁻⁵²·√(k(x, x) k(z, z)), for points at any
            distance; k(x, x) comes from the recursion of the variances alone.

        Raises
        ------
        InputError
            If the shapes do not fit, a number is not finite or the arithmetics differ.
        ArithmeticUnsupported
            For rationals and residues, in which the kernel has no value.
        """
        left = _points(X, "X")
        right = left if Z is None else _points(Z, "Z")
        if left.shape[1] != right.shape[1]:
            raise InputError(f"Z: found points of dimension {right.shape[1]}; {left.shape[1]} is accepted")
        if left.size and right.size and arithmetic.kind(left) != arithmetic.kind(right):
            raise InputError(
                f"Z: found {arithmetic.kind(right)} numbers with {arithmetic.kind(left)} numbers in X; "
                "numbers of one arithmetic are accepted"
            )
        weight, bias = (arithmetic.constant(value, left) for value in (self.weight_variance, self.bias_variance))
        covariance = covariances.of_inputs(left, right).affine(weight / left.shape[1], bias)
        theta = covariance.value
        for _ in range(self.depth):
            dual = ACTIVATIONS[self.activation](covariance)
            covariance = dual.covariance.affine(weight, bias)
            if self.tangent:
                theta = covariance.value + weight * theta * dual.slopes
        return theta if self.tangent else covariance.value


def _points(values: Any, what: str) -> Array:
    points = as_numbers(values, what)
    if points.ndim != 2 or points.shape[1] == 0:
        raise InputError(f"{what}: found shape {points.shape}; (n, d) with d at least 1 is accepted")
    if arithmetic.kind(points) in ("rational", "modular"):
        raise ArithmeticUnsupported(
            f"kernels have no values in {arithmetic.kind(points)} arithmetic; float64 and ball are accepted"
        )
    return points


def ntk(depth: int, activation: str, *, weight_variance: float = 2.0, bias_variance: float = 0.0) -> DenseKernel:
    """The tangent kernel of an infinitely wide dense network.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    activation : {"relu", "erf"}
        The activation of every hidden layer.
    weight_variance : float, optional
        σ_w²; 2 keeps the variance of ReLU layers constant.
    bias_variance : float, optional
        σ_b²; 0 means a network without biases.

    Returns
    -------
    DenseKernel
        A callable ``kernel(X, Z=None)``, (n, d) and (m, d) to (n, m).

    Notes
    -----
    One hidden ReLU layer without bias: k(x, z) = σ_w⁴/(2d)·‖x‖‖z‖·(uκ₀(u) + κ₁(u)) with u the cosine of the angle.
    """
    return DenseKernel(depth, activation, weight_variance, bias_variance, tangent=True)


def nngp(depth: int, activation: str, *, weight_variance: float = 2.0, bias_variance: float = 0.0) -> DenseKernel:
    """The covariance of the Gaussian process that an infinitely wide dense network is at initialisation.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    activation : {"relu", "erf"}
        The activation of every hidden layer.
    weight_variance : float, optional
        σ_w²; 2 keeps the variance of ReLU layers constant.
    bias_variance : float, optional
        σ_b²; 0 means a network without biases.

    Returns
    -------
    DenseKernel
        A callable ``kernel(X, Z=None)``, (n, d) and (m, d) to (n, m).
    """
    return DenseKernel(depth, activation, weight_variance, bias_variance, tangent=False)
