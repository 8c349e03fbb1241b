"""The recursion over the layers of an infinitely wide dense network: values, and derivatives with respect to an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.errors import InputError
from provable.kernels.arc_cosine import PiecewiseLinear
from provable.kernels.covariances import Covariance
from provable.kernels.dual_activations import Dual, DualActivation, FirstPartials, SecondPartials

FARTHEST = 1e50
"""Largest norm of a point in float64, and one over the smallest: third powers of variances stay in range."""

FARTHEST_HOMOGENEOUS = 1e150
"""The same for values of piecewise linear activations, which need no power of a variance beyond the first."""


@dataclass(frozen=True)
class Recursion:
    """Constants of the recursion, in the arithmetic of the points.

    Attributes
    ----------
    dual : DualActivation
        Expectations over the activation of the hidden layers.
    depth : int
        Number of hidden layers.
    input_variance, weight_variance, bias_variance : number
        S¹ = input_variance·x·z + bias_variance, and S ← weight_variance·K + bias_variance at each hidden layer.
    tangent : bool
        Whether the tangent kernel is wanted, not the last S.
    input_gain, gain, bias_gain : number
        Θ¹ = input_gain·x·z + bias_gain, and Θ ← gain·K + bias_gain + weight_variance·Θ·K̇ at each hidden layer: what the
        trained weights of the first layer, those of the later layers, and the trained biases contribute.
    """

    dual: DualActivation
    depth: int
    input_variance: Any
    weight_variance: Any
    bias_variance: Any
    tangent: bool
    input_gain: Any
    gain: Any
    bias_gain: Any

    def require_range(self, points: Array, what: str, *, derivatives: bool = False) -> None:
        """Refuse points whose kernel would leave the range of float64 on the way.

        Parameters
        ----------
        points : ndarray of shape (n, d)
            Finite points; balls have no such range.
        what : str
            Their name, for the message.
        derivatives : bool, optional
            Whether derivatives are wanted.

        Raises
        ------
        InputError
            If a norm is too large, or too small and not zero.
        """
        if arithmetic.kind(points) != "float64":
            return
        homogeneous = isinstance(self.dual, PiecewiseLinear) and not derivatives
        most = FARTHEST_HOMOGENEOUS if homogeneous else FARTHEST
        with np.errstate(over="ignore", under="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", points, points))
        (outside,) = np.nonzero(points.any(axis=1) & ~((norms >= 1 / most) & (norms <= most)))
        if outside.size:
            raise InputError(
                f"{what}: found the norm {norms[outside[0]]:.3g} at index {outside[0]}; zero and norms from "
                f"{1 / most:.0e} to {most:.0e} are accepted"
            )

    def require_finite(self, values: Array) -> None:
        """Refuse kernel values that have left the range of float64.

        Parameters
        ----------
        values : ndarray
            Kernel values.

        Raises
        ------
        InputError
            If one is not finite.
        """
        if values.dtype == np.float64 and not np.isfinite(values).all():
            raise InputError(
                f"weight_variance: found {self.weight_variance:.6g} with {self.depth} hidden layers, with which the kernel "
                "leaves the range of float64; smaller variances, fewer layers or smaller points are accepted"
            )

    def values(self, inputs: Covariance) -> Array:
        """Evaluate the kernel.

        Parameters
        ----------
        inputs : Covariance
            Inner products of the inputs.

        Returns
        -------
        ndarray of shape (n, m)
            The last Θ or S.
        """
        covariance = inputs.affine(self.input_variance, self.bias_variance)
        theta = self.input_gain * inputs.value + self.bias_gain
        for _ in range(self.depth):
            dual = self.dual(covariance)
            covariance = dual.covariance.affine(self.weight_variance, self.bias_variance)
            if self.tangent:
                theta = self._tangent(dual, theta)
        return theta if self.tangent else covariance.value

    def _tangent(self, dual: Dual, theta: Array) -> Array:
        value: Array = self.gain * dual.covariance.value + self.bias_gain + self.weight_variance * theta * dual.slopes
        return value

    def expansion(self, inputs: Covariance, order: int) -> Expansion:
        """Expand the kernel in t = x·z and r = ‖x‖², with ‖z‖ fixed.

        Parameters
        ----------
        inputs : Covariance
            Inner products of the inputs, float64; x on the left.
        order : {1, 2}
            Of the highest derivatives.

        Returns
        -------
        Expansion
            The kernel's values and derivatives.
        """
        covariance = inputs.affine(self.input_variance, self.bias_variance)
        pairs = Expansion.of_inner_product(inputs.value, order)
        variance = Expansion.of_square(inputs.left[:, None], order).affine(self.input_variance, self.bias_variance)
        value = pairs.affine(self.input_variance, self.bias_variance)
        theta = pairs.affine(self.input_gain, self.bias_gain)
        for _ in range(self.depth):
            dual = self.dual(covariance)
            p, q, S, gap = covariance.left[:, None], covariance.right[None, :], covariance.value, covariance.gap
            first = self.dual.first_partials(p, q, S, gap)
            own = self.dual.first_partials(p, p, p, 0 * p)
            second = self.dual.second_partials(p, q, S, gap) if order == 2 else None
            own_second = self.dual.second_partials(p, p, p, 0 * p) if order == 2 else None
            activated = _of_value(dual.covariance.value, value, variance, first, second)
            slopes = _of_slopes(dual.slopes, value, variance, first, second)
            variance = _of_variance(dual.covariance.left[:, None], variance, own, own_second)
            variance = variance.affine(self.weight_variance, self.bias_variance)
            value = activated.affine(self.weight_variance, self.bias_variance)
            covariance = dual.covariance.affine(self.weight_variance, self.bias_variance)
            if self.tangent:
                carried = theta.times(slopes).affine(self.weight_variance, self.bias_gain)
                theta = activated.affine(self.gain, 0.0).plus(carried)
        return theta if self.tangent else value


@dataclass(frozen=True, eq=False)
class Expansion:
    """A function of t and r with its derivatives up to order one or two.

    Attributes
    ----------
    numbers : ndarray of shape (3, n, m) or (6, n, m)
        The value, its derivatives by t and r, and for order two those by tt, tr and rr.
    """

    numbers: Float

    @classmethod
    def of_inner_product(cls, t: Float, order: int) -> Expansion:
        """The function t.

        Parameters
        ----------
        t : ndarray of shape (n, m)
            Its values.
        order : {1, 2}
            Of the highest derivatives.

        Returns
        -------
        Expansion
            Derivative 1 by t.
        """
        return cls._of_variable(t, 1, order)

    @classmethod
    def of_square(cls, r: Float, order: int) -> Expansion:
        """The function r.

        Parameters
        ----------
        r : ndarray of shape (n, m)
            Its values.
        order : {1, 2}
            Of the highest derivatives.

        Returns
        -------
        Expansion
            Derivative 1 by r.
        """
        return cls._of_variable(r, 2, order)

    @classmethod
    def _of_variable(cls, values: Float, place: int, order: int) -> Expansion:
        numbers = np.zeros((3 * order, *values.shape))
        numbers[0], numbers[place] = values, 1.0
        return cls(numbers)

    def affine(self, factor: float, offset: float) -> Expansion:
        """Multiply by a constant and add another.

        Parameters
        ----------
        factor, offset : float
            The constants.

        Returns
        -------
        Expansion
            factor·f + offset.
        """
        numbers = factor * self.numbers
        numbers[0] += offset
        return Expansion(numbers)

    def plus(self, other: Expansion) -> Expansion:
        """Add two functions.

        Parameters
        ----------
        other : Expansion
            Of the same order.

        Returns
        -------
        Expansion
            f + g.
        """
        return Expansion(self.numbers + other.numbers)

    def times(self, other: Expansion) -> Expansion:
        """Multiply two functions.

        Parameters
        ----------
        other : Expansion
            Of the same order.

        Returns
        -------
        Expansion
            f·g, by Leibniz's rule.
        """
        f, g = self.numbers, other.numbers
        numbers = f * g[0] + f[0] * g
        numbers[0] = f[0] * g[0]
        if len(f) == 6:
            numbers[3] += 2 * f[1] * g[1]
            numbers[4] += f[1] * g[2] + f[2] * g[1]
            numbers[5] += 2 * f[2] * g[2]
        return Expansion(numbers)


def _chain(
    values: Float, inner: tuple[Expansion, Expansion], first: tuple[Any, Any], second: tuple[Any, ...]
) -> Expansion:
    """F(S, p) from its values, (F_S, F_p) and (F_SS, F_Sp, F_pp), where p depends on r alone."""
    S, p = (part.numbers for part in inner)
    numbers = np.empty((len(S), *values.shape))
    numbers[0] = values
    numbers[1:] = first[0] * S[1:] + first[1] * p[1:]
    if second:
        numbers[3] += second[0] * S[1] * S[1]
        numbers[4] += second[0] * S[1] * S[2] + second[1] * S[1] * p[2]
        numbers[5] += second[0] * S[2] * S[2] + 2 * second[1] * S[2] * p[2] + second[2] * p[2] * p[2]
    return Expansion(numbers)


def _of_value(
    values: Float, S: Expansion, p: Expansion, first: FirstPartials, second: SecondPartials | None
) -> Expansion:
    higher = () if second is None else (first.slopes_s, first.slopes_p, second.value_pp)
    return _chain(values, (S, p), (first.slopes, first.value_p), higher)


def _of_slopes(
    values: Float, S: Expansion, p: Expansion, first: FirstPartials, second: SecondPartials | None
) -> Expansion:
    higher = () if second is None else (second.slopes_ss, second.slopes_sp, second.slopes_pp)
    return _chain(values, (S, p), (first.slopes_s, first.slopes_p), higher)


def _of_variance(values: Float, p: Expansion, first: FirstPartials, second: SecondPartials | None) -> Expansion:
    """E[σ(a)²] as a function of p: the derivatives of K along S = p = q."""
    higher: tuple[Any, ...] = ()
    if second is not None:
        higher = (1.5 * first.slopes_s + 4 * first.slopes_p + 2 * second.value_pp, 0.0, 0.0)
    return _chain(values, (p, p), (first.slopes + 2 * first.value_p, 0.0), higher)
