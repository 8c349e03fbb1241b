"""Two-layer polynomial networks at stationary points: exact ones with chosen data, and trained ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture, Linear, Polynomial
from provable.measures import Measure
from provable.networks import Parameters
from provable.observations import Observation
from provable.stationarity.stationary_neurons import stationary_neurons

Float = NDArray[np.float64]


def network(
    outer: Float,
    inner: Float,
    activation: Polynomial,
    *,
    biased: bool,
    batch_size: int | None,
    mass: float | None = None,
) -> Observation:
    """The stationary point with those neurons; with a bias of the last layer if `mass` is given."""
    width, size = len(outer), inner.shape[1] - biased
    layers = (Linear(width, bias=biased), activation, Linear(1, bias=mass is not None))
    architecture = Architecture("polynomial", (size,), layers, "squared")
    pieces = {"0/weight": inner[:, :size], "2/weight": outer[None]}
    if biased:
        pieces["0/bias"] = inner[:, size]
    if mass is not None:
        pieces["2/bias"] = np.array([mass])
    parameters = Parameters(architecture, {key: np.ascontiguousarray(piece) for key, piece in pieces.items()})
    return Observation("stationary-point", architecture, parameters, batch_size=batch_size)


def samples(rng: np.random.Generator, count: int, dimension: int, spread: float = 0.1, size: float = 1.0) -> Measure:
    """Nearly orthogonal samples of about that size with coefficients of either sign."""
    frame = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0][:count]
    points = size * (frame + spread * rng.standard_normal((count, dimension)))
    return Measure(points, (rng.choice([-1.0, 1.0], count) * rng.uniform(1, 2, count))[:, None])


def exact_network(
    measure: Measure, activation: Polynomial, rng: np.random.Generator, *, biased: bool = False, **options: bool
) -> Observation:
    """A stationary point with these data and all neurons that a search finds."""
    outer, inner = stationary_neurons(measure, activation, biased=biased, starts=100 * 2**measure.size, rng=rng)
    if not len(outer):  # a dead neuron, of which nothing follows
        outer, inner = np.zeros(1), np.zeros((1, inner.shape[1]))
    mass = float(measure.coefficients.sum()) if options.get("mass") else None
    return network(outer, inner, activation, biased=biased, batch_size=measure.size, mass=mass)


def trained_network(
    points: Float,
    labels: Float,
    activation: Polynomial,
    rng: np.random.Generator,
    *,
    width: int,
    biased: bool,
    loss: str,
    decay: float = 0.01,
    descent: int = 1500,
) -> tuple[Observation, Measure] | None:
    """Minimise Σ ℓ + ½ decay ‖θ‖² by gradient descent with momentum, then find a zero of the gradient by Newton's method.

    Without steps of descent Newton's method, damped, reaches saddle points as well. Returns the stationary point and the
    measure on the samples that explains it, or None if the gradient does not come down to rounding.
    """
    inputs = np.column_stack([points, np.ones(len(points))]) if biased else points
    objective = _Objective(inputs, labels, activation, width, decay, loss)
    theta = 0.7 * rng.standard_normal(width * (1 + inputs.shape[1]))
    momentum = np.zeros_like(theta)
    for _ in range(descent):
        gradient = objective(theta, False)[0]
        momentum = 0.9 * momentum + gradient * min(1.0, 1.0 / float(np.linalg.norm(gradient)))
        theta = theta - 0.02 * momentum
    found = _zero(objective, theta, decay)
    if found is None:
        return None
    neurons = found.reshape(width, -1)
    coefficients = -objective(found, False)[1] / decay
    observation = network(neurons[:, 0], neurons[:, 1:], activation, biased=biased, batch_size=len(points))
    return observation, Measure(points, coefficients[:, None])


class _Objective:
    def __init__(
        self, inputs: Float, labels: Float, activation: Polynomial, width: int, decay: float, loss: str
    ) -> None:
        self.inputs, self.labels, self.width, self.decay, self.loss = inputs, labels, width, decay, loss
        value = np.polynomial.Polynomial(activation.coefficients)
        self.activation: tuple[Callable[[Float], Float], ...] = value, value.deriv(), value.deriv(2)

    def __call__(self, theta: Float, second: bool) -> tuple[Float, Float, Float]:
        """Gradient, derivatives of the loss by the outputs, and Hessian (or nothing)."""
        neurons = theta.reshape(self.width, -1)
        outer, pre = neurons[:, 0], self.inputs @ neurons[:, 1:].T
        hidden, slope, bent = (function(pre) for function in self.activation)
        outputs = hidden @ outer
        if self.loss == "squared":
            first, curvature = outputs - self.labels, np.ones_like(outputs)
        else:
            off = np.exp(-np.logaddexp(0.0, self.labels * outputs))
            first, curvature = -self.labels * off, off * (1 - off)
        parts = [hidden[:, :, None], (slope * outer)[:, :, None] * self.inputs[:, None, :]]
        jacobian = np.concatenate(parts, axis=2).reshape(len(outputs), -1)
        gradient = jacobian.T @ first + self.decay * theta
        if not second:
            return gradient, first, np.empty((0, 0))
        hessian = jacobian.T @ (curvature[:, None] * jacobian) + self.decay * np.eye(len(theta))
        step = neurons.shape[1]
        for unit in range(self.width):
            place = slice(unit * step + 1, (unit + 1) * step)
            mixed = (first * slope[:, unit]) @ self.inputs
            hessian[unit * step, place] += mixed
            hessian[place, unit * step] += mixed
            hessian[place, place] += (self.inputs.T * (first * outer[unit] * bent[:, unit])) @ self.inputs
        return gradient, first, hessian


def _zero(objective: _Objective, theta: Float, decay: float) -> Float | None:
    """Levenberg-Marquardt on the gradient."""
    damping, (gradient, _, hessian) = 1e-3, objective(theta, True)
    for _ in range(400):
        size = float(np.linalg.norm(gradient))
        # relative to the terms of which the gradient is the difference
        if size <= 1e-14 * decay * float(np.linalg.norm(theta)):
            break
        step = np.linalg.solve(hessian.T @ hessian + damping * size * np.eye(len(theta)), -hessian.T @ gradient)
        there = objective(theta + step, True)
        if float(np.linalg.norm(there[0])) < size:
            theta, (gradient, _, hessian), damping = theta + step, there, max(damping / 5, 1e-14)
        elif damping > 1e10 or float(np.linalg.norm(step)) < 1e-16 * float(np.linalg.norm(theta)):
            break
        else:
            damping *= 4
    small = float(np.linalg.norm(gradient)) <= 1e-12 * decay * float(np.linalg.norm(theta))
    return theta if small and np.linalg.norm(theta) > 1e-3 else None
