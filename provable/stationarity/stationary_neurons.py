r"""The neurons that a two-layer network with a polynomial activation can have at a stationary point with given data.

With θ = Σ_i c_i ∇_θ f(x_i; θ) and f(x) = Σ_k v_k φ(w_k·z), z = x or (x, 1), stationarity is a matter of each neuron alone,

.. math:: v = P(w), \qquad w = v \nabla P(w), \qquad P(w) = \sum_i c_i\, \varphi(w \cdot z_i),

so any set of solutions (v, w) makes a stationary network. For weight decay ½ω‖θ‖² and the squared loss the labels of the
samples are then y_i = f(x_i) + ω c_i, whatever ω > 0 is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Polynomial
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.measures import Measure

Float = NDArray[np.float64]

STEPS = 80
"""Steps of Newton's method from one start at most."""

SAME = 1e-7
"""Neurons that differ by less than this, relative to their norm, are one that was found twice."""


def stationary_neurons(
    measure: Measure,
    activation: Polynomial,
    *,
    biased: bool = False,
    starts: int = 400,
    rng: int | np.random.Generator | None = None,
) -> tuple[Float, Float]:
    """Search the neurons of stationary networks by Newton's method from random starts.

    Parameters
    ----------
    measure : Measure
        The samples (n, d) with their coefficients c_i, one each.
    activation : Polynomial
        φ.
    biased : bool, optional
        Whether the first layer has a bias, the last entry of a neuron.
    starts : int, optional
        How many starts.
    rng : int or numpy.random.Generator, optional
        Draws the starts.

    Returns
    -------
    outer : array of shape (k,)
        The v, none zero.
    inner : array of shape (k, d) or (k, d + 1)
        The w. With (v, w) an odd φ has (-v, -w) and an even one (v, -w), the same function of x; both may be listed. Nothing
        guarantees that all solutions are found.

    Raises
    ------
    InputError
        If the samples are no vectors or have several coefficients each.
    """
    points, coefficients = np.asarray(measure.points), np.asarray(measure.coefficients)
    if points.ndim != 2 or coefficients.size != len(points) or points.dtype != np.float64:
        raise InputError(
            f"measure: found points of shape {points.shape} and coefficients of shape {coefficients.shape}; (n, d) and one "
            "coefficient each, in float64, are accepted"
        )
    generator, weights = np.random.default_rng(rng), coefficients.reshape(-1)
    samples = np.column_stack([points, np.ones(len(points))]) if biased else points
    # all neurons are in the span of the samples
    left, singular, right = np.linalg.svd(samples, full_matrices=False)
    rank = int(np.count_nonzero(singular > max(samples.shape) * EPSILON * singular[0]))
    inside, basis = left[:, :rank] * singular[:rank], right[:rank]
    found: list[Float] = []
    for neuron in _newton(inside, weights, activation, starts, generator):
        if not any(np.linalg.norm(neuron - other) <= SAME * np.linalg.norm(other) for other in found):
            found.append(neuron)
    neurons = np.array(found).reshape(-1, 1 + rank)
    return neurons[:, 0], neurons[:, 1:] @ basis


def _newton(
    samples: Float, weights: Float, activation: Polynomial, starts: int, generator: np.random.Generator
) -> Float:
    """Solutions (v, w) with w ≠ 0, up to rounding, from the starts that end at one: (s, 1 + r)."""
    value = np.polynomial.Polynomial(activation.coefficients)
    slope, curvature = value.deriv(), value.deriv(2)
    size = samples.shape[1]
    # starts of all sizes, on the scale at which the samples have numbers of order one
    neurons = generator.standard_normal((starts, 1 + size))
    neurons[:, 1:] *= np.exp(generator.standard_normal((starts, 1))) / np.linalg.norm(samples, axis=1).mean()
    previous = np.full(starts, np.inf)
    done: list[Float] = []
    for _ in range(STEPS):
        outer, inner = neurons[:, 0], neurons[:, 1:]
        with np.errstate(all="ignore"):
            reached = inner @ samples.T
            gradient = (weights * slope(reached)) @ samples
            jacobian = np.tile(np.eye(1 + size), (len(neurons), 1, 1))
            jacobian[:, 0, 1:] = jacobian[:, 1:, 0] = -gradient
            bent = outer[:, None] * weights * curvature(reached)
            jacobian[:, 1:, 1:] -= np.einsum("si,ij,ik->sjk", bent, samples, samples)
            misfit = np.column_stack([outer - value(reached) @ weights, inner - outer[:, None] * gradient])
            # a step at an exactly singular derivative, which NumPy refuses for all starts at once, is not to be had
            usable = np.isfinite(misfit).all(axis=1) & (np.abs(np.linalg.det(jacobian)) > 0)
            usable &= np.isfinite(jacobian).all(axis=(1, 2))
            neurons, previous = neurons[usable], previous[usable]
            step = np.linalg.solve(jacobian[usable], -misfit[usable, :, None])[:, :, 0]
        length, norm = np.linalg.norm(step, axis=1), np.linalg.norm(neurons, axis=1)
        longest = np.maximum(norm / 2, np.finfo(np.float64).tiny)
        neurons = neurons + step * (longest / np.maximum(length, longest))[:, None]
        # quadratic convergence has ended when small steps shrink no more
        ended = (length <= 1e-12 * norm) & (length >= previous / 4)
        done.append(neurons[ended & (norm > SAME)])
        neurons, previous = neurons[~ended], length[~ended]
        if not len(neurons):
            break
    return np.concatenate(done)
