r"""Duals of analytic activations without a closed form, by their Hermite series.

For Z, W standard normal with correlation u, E[f(Z)g(W)] = Σ_k c_k(f) c_k(g) u^k with c_k(f) = E[f(Z) h_k(Z)] and the
orthonormal Hermite polynomials h_k (Mehler). A pre-activation of variance p is √p Z, so that every variance has coefficients
of its own. By the Cauchy-Schwarz inequality, cutting the series after k = n costs at most |u|^{n+1} √(R(f)R(g)) with the
remainders R(f) = E[(f - Σ_{k≤n} c_k(f) h_k)²]: the error is known from what is computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures.activations import Activation, Sigmoid, SiLU, Softplus, Tanh
from provable.arithmetic import EPSILON, Float
from provable.errors import ArithmeticUnsupported, UnsupportedError
from provable.kernels.covariances import Covariance, of_values
from provable.kernels.dual_activations import Dual, FirstPartials, SecondPartials
from provable.networks.activations import HIGHEST_ORDER, derivative

ANALYTIC: tuple[type[Activation], ...] = (Tanh, Sigmoid, Softplus, SiLU)
"""Activations that are analytic in a strip around the real axis, so that c_k falls like exp(-√k·strip/√p)."""

DEGREES = (32, 64, 128, 256, 512, 1024)
"""Degrees that are tried one after the other."""

TRUNCATION = EPSILON
"""Bound on the cut-off part relative to √(E f² E g²)."""

HOPELESS = 1e-8
"""A degree that leaves out that much by the asymptotic law is not tried."""

LARGEST_VARIANCE = 1e6
"""Beyond, the quadrature would need more than 2·10⁵ nodes for every point."""

END = 13.5
"""Beyond, the square root of the normal density and with it every integrand is below a rounding error."""


@dataclass(frozen=True)
class HermiteSeries:
    """The dual of an analytic activation, in float64.

    Parameters
    ----------
    activation : Activation
        Tanh, sigmoid, softplus or SiLU.
    """

    activation: Activation

    @property
    def differentiable_at_zero(self) -> bool:
        """Whether K is differentiable in an input where its variance p vanishes: yes."""
        return True

    def __call__(self, covariance: Covariance) -> Dual:
        """Take the expectations.

        Parameters
        ----------
        covariance : Covariance
            Of the pre-activations.

        Returns
        -------
        Dual
            K and K̇ within a few units of rounding of √(K(p, p)K(q, q)) and √(K̇(p, p)K̇(q, q)), truncation included.

        Raises
        ------
        ArithmeticUnsupported
            For balls.
        UnsupportedError
            If the series converges too slowly.
        """
        if arithmetic.kind(covariance.below_one) != "float64":
            raise ArithmeticUnsupported(
                f"the kernel of {self.activation.type} is a truncated series; float64 is accepted, and balls for "
                "activations with a closed form"
            )
        p, q = covariance.left, covariance.right
        means = _Expectations.of(
            self.activation, (0, 1), p[:, None], q[None, :], covariance.correlation, covariance.gap == 0
        )
        left, right = means.left[0].squares[:, 0], means.right[0].squares[0]
        return Dual(of_values(means(0, 0), left, right, covariance.same), means(1, 1))

    def first_partials(self, p: Float, q: Float, value: Float, gap: Float) -> FirstPartials:
        """Differentiate the expectations.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        FirstPartials
            Each is the expectation of a product of two derivatives of the activation.
        """
        means = _Expectations.of(self.activation, (0, 1, 2, 3), p, q, _correlation(p, q, value), gap == 0)
        return FirstPartials(
            slopes=means(1, 1), value_p=means(2, 0) / 2, slopes_s=means(2, 2), slopes_p=means(3, 1) / 2
        )

    def second_partials(self, p: Float, q: Float, value: Float, gap: Float) -> SecondPartials:
        """Differentiate the expectations twice.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        SecondPartials
            Each is the expectation of a product of two derivatives of the activation.
        """
        means = _Expectations.of(self.activation, (0, 1, 2, 3, 4, 5), p, q, _correlation(p, q, value), gap == 0)
        return SecondPartials(
            value_pp=means(4, 0) / 4, slopes_ss=means(3, 3), slopes_sp=means(4, 2) / 2, slopes_pp=means(5, 1) / 4
        )


def _correlation(p: Float, q: Float, value: Float) -> Float:
    scale = np.sqrt(p) * np.sqrt(q)
    u = np.divide(value, scale, out=np.zeros(np.broadcast_shapes(value.shape, scale.shape)), where=scale > 0)
    clipped: Float = np.clip(u, -1.0, 1.0)
    return clipped


@dataclass(frozen=True, eq=False)
class _Expansion:
    """A derivative σ⁽ⁱ⁾(√p Z) for an array of variances p.

    `coefficients` (degree + 1, *shape), mean squares `squares`, and for every n the largest R/E f², `missing` (degree + 1,).
    """

    coefficients: Float
    squares: Float
    missing: Float


@dataclass(frozen=True, eq=False)
class _Expectations:
    """E[σ⁽ⁱ⁾(a)σ⁽ʲ⁾(b)] for arrays of pairs (a, b), from the expansions of every order on both sides.

    Pairs that are multiples of one Gaussian are integrated, without a series.
    """

    activation: Activation
    left: dict[int, _Expansion]
    right: dict[int, _Expansion]
    correlation: Float
    degree: int
    multiples: tuple[NDArray[np.bool_], Float, Float]  # which pairs, and the factors √p and ±√q of each

    @classmethod
    def of(
        cls, activation: Activation, orders: tuple[int, ...], p: Float, q: Float, u: Float, multiples: NDArray[np.bool_]
    ) -> _Expectations:
        shape = np.broadcast_shapes(p.shape, q.shape, u.shape)
        multiples = np.broadcast_to(multiples, shape)
        # either sign will do where one of the variances is zero
        signs = np.where(u < 0, -1.0, 1.0)
        factors = tuple(np.broadcast_to(part, shape)[multiples] for part in (np.sqrt(p), signs * np.sqrt(q)))
        u = np.where(multiples, 0.0, u)
        reach = float(np.abs(u).max(initial=0.0))
        largest = max(float(p.max(initial=0.0)), float(q.max(initial=0.0)))
        if largest > LARGEST_VARIANCE:
            raise UnsupportedError(
                f"{activation.type}: found pre-activations of variance {largest:.3g}; its expectations are integrated up to "
                f"{LARGEST_VARIANCE:.0e}: smaller inputs, weight or bias variances are accepted"
            )
        decay = 2 * _half_strip(activation) / math.sqrt(largest) if largest > 0 else math.inf
        for degree in DEGREES:
            if math.exp(-decay * math.sqrt(degree)) * reach**degree > HOPELESS and degree < DEGREES[-1]:
                continue
            left, right = (_expanded(activation, orders, variances, degree) for variances in (p, q))
            missing = np.max([side[order].missing for side in (left, right) for order in orders], axis=0)
            missing = missing * reach ** np.arange(1, degree + 2)
            if missing[-1] <= TRUNCATION:
                kept = int(np.argmax(missing <= TRUNCATION))
                return cls(activation, left, right, u, kept, (multiples, factors[0], factors[1]))
        raise UnsupportedError(
            f"{activation.type}: with pre-activations of variance {largest:.3g}, degree {DEGREES[-1]} of the Hermite series "
            f"leaves out {missing[-1]:.1g} of a kernel value; smaller inputs, weight or bias variances are accepted"
        )

    def __call__(self, first: int, second: int) -> Float:
        left, right = self.left[first].coefficients, self.right[second].coefficients
        total: Float = left[self.degree] * right[self.degree] + np.zeros(self.correlation.shape)
        for k in reversed(range(self.degree)):
            total *= self.correlation
            total += left[k] * right[k]
        which, *factors = self.multiples
        nodes, root, step = _rule(self.activation, max(factor.max(initial=0.0) for factor in np.abs(factors)), 0)
        values = [
            _derivative(self.activation, nodes[:, None] * factor, order) * root[:, None]
            for factor, order in zip(factors, (first, second), strict=True)
        ]
        total[which] = step * (values[0] * values[1]).sum(axis=0)
        return total


def _half_strip(activation: Activation) -> float:
    """Height of the strip around the real axis in which the activation is analytic."""
    return math.pi / 2 if isinstance(activation, Tanh) else math.pi


def _rule(activation: Activation, scale: float, degree: int) -> tuple[Float, Float, float]:
    """Nodes, the square root of the normal density there, and the step of the trapezoidal rule, which converges spectrally.

    Aliasing sets in at the frequency 2π/step. The functions of scale·Z have spectra like exp(-strip·frequency/scale), the
    Hermite functions end at √degree with an Airy tail, and the normal density reaches 8.
    """
    step = 2 * math.pi / (math.sqrt(2 * degree) + 8 + 60 * scale / _half_strip(activation))
    count = math.ceil(END / step)
    nodes: Float = step * np.arange(-count, count + 1, dtype=np.float64)
    root: Float = np.exp(-nodes * nodes / 4) / (2 * math.pi) ** 0.25
    return nodes, root, step


def _expanded(activation: Activation, orders: tuple[int, ...], variances: Float, degree: int) -> dict[int, _Expansion]:
    """Expand in Hermite functions."""
    scales = np.sqrt(variances).reshape(-1)
    nodes, root, step = _rule(activation, float(scales.max(initial=0.0)), degree)
    functions = np.empty((degree + 1, len(nodes)))
    functions[0], functions[1] = root, nodes * root
    for k in range(1, degree):
        functions[k + 1] = (nodes * functions[k] - math.sqrt(k) * functions[k - 1]) / math.sqrt(k + 1)
    result = {}
    for order in orders:
        values = _derivative(activation, nodes[:, None] * scales, order) * root[:, None]
        coefficients = step * (functions @ values)
        squares = step * (values * values).sum(axis=0)
        # a sum of squares: the difference of E f² and Σ c_k² would show nothing below rounding
        beyond = step * ((values - functions.T @ coefficients) ** 2).sum(axis=0)
        cut = np.cumsum(coefficients[:0:-1] ** 2, axis=0)[::-1]
        rest = np.concatenate([cut, np.zeros((1, len(scales)))]) + beyond
        share = np.divide(rest, squares, out=np.zeros(rest.shape), where=squares > 0)
        result[order] = _Expansion(
            coefficients.reshape(-1, *variances.shape),
            squares.reshape(variances.shape),
            share.max(axis=1, initial=0.0),
        )
    return result


def _derivative(activation: Activation, z: Float, order: int) -> Float:
    if order <= HIGHEST_ORDER:
        return derivative(activation, z, order)
    if isinstance(activation, Tanh):
        # tanh(z) = 2/(1 + exp(-2z)) - 1
        return 64 * _fifth_of_logistic(2 * z)
    if isinstance(activation, Sigmoid):
        return _fifth_of_logistic(z)
    fourth: Float = derivative(Sigmoid(), z, 4)
    return z * _fifth_of_logistic(z) + 5 * fourth if isinstance(activation, SiLU) else fourth


def _fifth_of_logistic(z: Float) -> Float:
    slope: Float = derivative(Sigmoid(), z, 1)
    return slope * (1 - 30 * slope + 120 * slope * slope)
