r"""Algorithm 1: the samples of a two-layer network from Hermite moments of one gradient.

Notes
-----
As printed: (1) second moment and its span V by the power method, (2) third moment projected into V, (3) its canonical
decomposition by random contractions and joint diagonalisation, (4) signs and weights after Zhong et al., (5) samples
:math:`\hat x_i = s_i V u_i` and labels. Where the Hermite coefficient of the order in question is zero, the next order takes
its place, contracted with a vector a (Remarks 3 and 4). Each known erratum is applied unless `Options.as_printed` names it.
The error is of order :math:`\sqrt{d/m}` whatever is done (Theorem 5.1): moments are averages over m random neurons.

References
----------
Z. Wang, J. Lee, Q. Lei, Reconstructing training data from model gradient, provably, AISTATS 2023, Algorithm 1;
K. Zhong, Z. Song, P. Jain, P. L. Bartlett, I. S. Dhillon, Recovery guarantees for one-hidden-layer neural networks, 2017,
Algorithms 3 and 4.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property

import numpy as np

from provable.architectures.activations import Activation
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.networks.activations import value
from provable.networks.hermite_coefficients import hermite_coefficient
from provable.recovery.acceptance import power_of_two
from provable.recovery.batch.wang2023.errata import Erratum, Options
from provable.recovery.batch.wang2023.moments import Moments, weights_of_powers
from provable.recovery.batch.wang2023.subspace import leading_subspace
from provable.tensors import simultaneous_diagonalisation

FORMED_UP_TO = 100
"""With up to that many dimensions per sample the matrix of the span is formed, which costs as much as d / 2B iterations."""


@dataclasses.dataclass(frozen=True, eq=False)
class TwoLayerGradient:
    r"""A network :math:`f(x) = \sum_j a_j \sigma(w_j \cdot x) + b` and the gradient that was observed of it.

    Parameters
    ----------
    weights : ndarray of shape (m, d)
        Rows w_j, with standard normal entries.
    output_weights : ndarray of shape (m,)
        a, in the paper 1/m everywhere.
    activation : Activation
        σ.
    output_weight_gradient : ndarray of shape (m,), optional
        :math:`\partial L/\partial a_j = \sum_i r_i \sigma(w_j \cdot x_i)`.
    first_layer_gradient : ndarray of shape (m, d), optional
        Rows :math:`\partial L/\partial w_j = \sum_i r_i a_j \sigma'(w_j \cdot x_i) x_i`.
    output_bias : float, optional
        b, in the paper M.
    norm : float, optional
        s, the norm of the samples. In the paper 1.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """

    weights: Float
    output_weights: Float
    activation: Activation
    output_weight_gradient: Float | None = None
    first_layer_gradient: Float | None = None
    output_bias: float = 0.0
    norm: float = 1.0

    def __post_init__(self) -> None:
        if self.weights.ndim != 2:
            raise InputError(f"weights: found shape {self.weights.shape}; (m, d) is accepted")
        count = len(self.weights)
        wanted = {
            "output_weights": (count,),
            "output_weight_gradient": (count,),
            "first_layer_gradient": self.weights.shape,
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise InputError(f"{name}: found shape {array.shape}; {shape} is accepted")

    def outputs(self, points: Float) -> Float:
        """Evaluate the network.

        Parameters
        ----------
        points : ndarray of shape (B, d)
            Samples.

        Returns
        -------
        ndarray of shape (B,)
            f.
        """
        return np.asarray(value(self.activation, points @ self.weights.T) @ self.output_weights + self.output_bias)

    def moments(self, observed: str) -> Moments:
        """Give the Hermite moments of a gradient.

        Parameters
        ----------
        observed : {"output weights", "first layer"}
            Which one.

        Returns
        -------
        Moments
            For samples of norm `norm`.

        Raises
        ------
        UnsupportedError
            If it was not observed, or an output weight is zero.
        """
        if observed == "output weights":
            if self.output_weight_gradient is None:
                raise UnsupportedError("observed: the gradient of the output weights was not observed")
            return Moments(self.weights, self.output_weight_gradient)
        if self.first_layer_gradient is None:
            raise UnsupportedError("observed: the gradient of the first layer was not observed")
        if not np.all(self.output_weights):
            raise UnsupportedError("output_weights: found a zero, behind which the gradient of a neuron says nothing")
        return Moments(self.weights, self.first_layer_gradient / self.output_weights[:, None])

    @cached_property
    def coefficients(self) -> Float:
        """Hermite coefficients c₀ … c₄ of σ at the norm of the samples, exactly zero where parity makes them so.

        Returns
        -------
        ndarray of shape (5,)
            E σ(sZ) He_k(Z).
        """
        return np.array([float(hermite_coefficient(self.activation, order, self.norm)) for order in range(5)])


@dataclasses.dataclass(frozen=True, eq=False)
class Estimate:
    """What Algorithm 1 or 2 returns.

    Attributes
    ----------
    points : ndarray of shape (B, d)
        x̂_i.
    residuals : ndarray of shape (B,)
        r̂_i, the coefficients of the samples in the gradient; not finite where a weight cannot be read.
    labels : ndarray of shape (B,)
        ŷ_i.
    weights : ndarray of shape (B,)
        λ̂_i, those of the decomposed tensor.
    subspace : ndarray of shape (d, B)
        V, the estimated span.
    orders : tuple of int
        Orders of the moments that the span and the samples were read from.
    symmetries : tuple of str
        Which symmetries of the gradient the estimate leaves open besides the order: ``"joint-sign"`` or none.
    """

    points: Float
    residuals: Float
    labels: Float
    weights: Float
    subspace: Float
    orders: tuple[int, int]
    symmetries: tuple[str, ...]


def algorithm_1(
    gradient: TwoLayerGradient,
    samples: int,
    *,
    options: Options | None = None,
    direction: Float | None = None,
    rng: int | np.random.Generator | None = None,
) -> Estimate:
    """Estimate the samples behind the gradient of a two-layer network.

    Parameters
    ----------
    gradient : TwoLayerGradient
        The network and what was observed.
    samples : int
        B, at most d.
    options : Options, optional
        Which gradient the moments are made of and which steps are run as printed; by default ∂L/∂a and none.
    direction : ndarray of shape (d,), optional
        The vector a of Remarks 3 and 4; by default the normalised first moment, or a random unit vector if
        `Erratum.CONTRACTION` is run as printed.
    rng : int or Generator, optional
        Seed or generator of the starts, of a where it is a random unit vector, and of the contractions.

    Returns
    -------
    Estimate
        Points of the norm `TwoLayerGradient.norm`, residuals and labels.

    Raises
    ------
    InputError
        If B is not between 1 and d, or a is not a vector of d finite numbers that is not zero.
    UnsupportedError
        If moments of order 2 and 3, of 3 and 4 or of 1 and 3 carry nothing of the activation, the gradient is zero or not
        there, or the tensor has fewer than B independent terms.
    """
    chosen = options or Options()
    dimension = gradient.weights.shape[1]
    if isinstance(samples, bool) or not isinstance(samples, int | np.integer) or not 1 <= samples <= dimension:
        raise InputError(
            f"samples: found {samples!r:.60}; an integer from 1 to {dimension} is accepted, because the "
            "samples have to be independent"
        )
    generator = np.random.default_rng(rng)
    coefficients = gradient.coefficients
    name = gradient.activation.type
    if not (coefficients[2] or coefficients[3]):
        raise UnsupportedError(f"{name}: moments of order 2 and 3 vanish, so the span of the samples cannot be read")
    if not (coefficients[3] or coefficients[4]):
        raise UnsupportedError(f"{name}: moments of order 3 and 4 vanish, so only the span of the samples can be read")
    if not (coefficients[1] or coefficients[3]):
        raise UnsupportedError(f"{name}: moments of order 1 and 3 vanish, so x and -x have the same gradient")
    moments = gradient.moments(chosen.observed)
    if not np.any(moments.values):
        raise UnsupportedError("every entry of the gradient is zero, so no sample is visible")
    power = power_of_two(moments.values)  # keeps squares of very small and very large gradients finite
    moments = Moments(moments.weights, np.ldexp(moments.values, -power))
    first = moments.first()
    along = _direction(first, chosen, direction, generator)
    span_order, order = (2 if coefficients[2] else 3), (3 if coefficients[3] else 4)

    def span_moment(vectors: Float) -> Float:
        return moments.times(vectors) if span_order == 2 else moments.times(vectors, along)

    if dimension <= FORMED_UP_TO * samples:
        matrix = span_moment(np.eye(dimension))
        basis = leading_subspace(lambda vectors: matrix @ vectors, dimension, int(samples), generator)
    else:
        basis = leading_subspace(span_moment, dimension, int(samples), generator)
    contracted = order == 4 and chosen.printed(Erratum.CONTRACTION)
    tensor = moments.fourth_contracted(basis, along) if contracted else moments.inside(basis, order)
    if chosen.printed(Erratum.AVERAGE):
        tensor = tensor * len(gradient.weights)
    vectors, known = _signed(
        _directions(tensor, chosen, generator), moments, basis, first, coefficients, chosen, generator
    )
    weights = np.ldexp(weights_of_powers(tensor, vectors), power)
    points = gradient.norm * (basis @ vectors).T
    residuals = weights / coefficients[order]
    if contracted and not chosen.printed(Erratum.CONTRACTED_WEIGHT):
        residuals = residuals / (along @ basis @ vectors)
    labels = gradient.outputs(points) - residuals
    if chosen.printed(Erratum.LABEL):
        labels = weights - coefficients[0]
    symmetries = () if known or chosen.printed(Erratum.SIGN) else ("joint-sign",)
    return Estimate(points, residuals, labels, weights, basis, (span_order, order), symmetries)


def _direction(first: Float, options: Options, given: Float | None, rng: np.random.Generator) -> Float:
    """The unit vector a of Remarks 3 and 4."""
    vector = rng.standard_normal(first.shape) if options.printed(Erratum.CONTRACTION) else first
    if given is not None:
        if given.shape != first.shape or not np.all(np.isfinite(given)) or not np.any(given):
            raise InputError(
                f"direction: found an array of shape {given.shape}; {len(first)} numbers, not all zero, are accepted"
            )
        vector = given
    size = float(np.linalg.norm(vector))
    return np.asarray(vector / size) if size > 0 else np.eye(len(first))[0]


def _directions(tensor: Float, options: Options, rng: np.random.Generator) -> Float:
    """Unit vectors u_i, up to sign, with T = Σ λ_i u_i^{⊗p}."""
    return np.asarray(
        simultaneous_diagonalisation(tensor, len(tensor), projections=options.contractions, rng=rng).factors[0]
    )


def _signed(
    vectors: Float,
    moments: Moments,
    basis: Float,
    first: Float,
    coefficients: Float,
    options: Options,
    rng: np.random.Generator,
) -> tuple[Float, bool]:
    """Orient the u_i after Zhong et al., Algorithm 4; False where no moment of even order tells the signs of the r_i.

    An even order gives the signs of the residuals, M = Σ ρ_i u_i u_iᵀ with ρ_i = r_i c_p (α·u_i)^{p-2}; then an odd order
    gives those of the samples, M = Σ z_i u_i with z_i = ± r_i c_p (α·u_i)^{p-1}.
    """
    probe = rng.standard_normal(basis.shape[1])
    even = next((order for order in (2, 4) if coefficients[order]), None)
    odd = 1 if coefficients[1] else 3
    residual_signs = np.ones(basis.shape[1])
    if even is not None and not options.positive_residuals:
        matrix = moments.inside(basis, 2) if even == 2 else moments.inside(basis, 4) @ probe @ probe
        residual_signs = np.sign(weights_of_powers(np.asarray(matrix), vectors) * coefficients[even])
    vector = basis.T @ first if odd == 1 else moments.inside(basis, 3) @ probe @ probe
    signs = np.sign(weights_of_powers(np.asarray(vector), vectors) * coefficients[odd] * residual_signs)
    return vectors * np.where(signs < 0, -1.0, 1.0), even is not None or options.positive_residuals
