r"""Full-batch optimisers on one flat vector of numbers, which they change in place.

Notes
-----
With the gradient :math:`g = \nabla L + w\theta` (w the weight decay, which adds :math:`\tfrac{w}{2}\|\theta\|^2` to the
loss):

========  =============================================================================================================
descent   :math:`v \leftarrow \rho v - \eta g`, :math:`\theta \leftarrow \theta + v`; Nesterov takes g at θ + ρv
Adam      :math:`m \leftarrow \beta_1 m + (1-\beta_1) g`, :math:`s \leftarrow \beta_2 s + (1-\beta_2) g^2`,
          :math:`\theta \leftarrow \theta - \eta\,\hat m/(\sqrt{\hat s} + \epsilon)`, :math:`\hat m = m/(1-\beta_1^t)`,
          :math:`\hat s = s/(1-\beta_2^t)`
========  =============================================================================================================

Descent is linear in the gradients: whatever subspace they and θ_0 span, it stays there. Adam divides every coordinate
by a number of its own, and does not.

References
----------
D. Kingma, J. Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from provable.arithmetic import Float
from provable.errors import InputError


class Descending(Protocol):
    """An optimiser at work: its memory of former gradients."""

    def look_ahead(self, theta: Float) -> Float:
        """Say where the next gradient is to be taken.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            Where the parameters are.

        Returns
        -------
        ndarray of shape (P,)
            `theta` itself, or another point.
        """
        ...

    def step(self, theta: Float, gradient: Float) -> None:
        """Take one step, in place.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            The parameters, which change.
        gradient : ndarray of shape (P,)
            Gradient of the loss where `look_ahead` said; it is used up.
        """
        ...


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent, plain, with heavy-ball or with Nesterov's momentum.

    Parameters
    ----------
    learning_rate : float
        η > 0.
    momentum : float, optional
        ρ in [0, 1).
    nesterov : bool, optional
        Whether the gradient is taken where the velocity leads.
    weight_decay : float, optional
        w >= 0, toward zero.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("learning_rate", self.learning_rate, above=0.0)
        _check("momentum", self.momentum, below=1.0)
        _check("weight_decay", self.weight_decay)

    def start(self, size: int) -> Descending:
        """Begin at rest.

        Parameters
        ----------
        size : int
            Number of parameters P.

        Returns
        -------
        Descending
            The optimiser at work.
        """
        return _Descent(self, np.zeros(size), np.empty(size))


@dataclass(frozen=True)
class Adam:
    """Adam with the bias corrections of its authors; weight decay is added to the gradient.

    Parameters
    ----------
    learning_rate : float, optional
        η > 0.
    decay_rates : tuple of two floats, optional
        β₁ and β₂ in [0, 1).
    epsilon : float, optional
        What is added to the root of the second moment, positive.
    weight_decay : float, optional
        w >= 0, toward zero.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    learning_rate: float = 1e-3
    decay_rates: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check("learning_rate", self.learning_rate, above=0.0)
        if len(self.decay_rates) != 2:
            raise InputError(f"decay_rates: found {len(self.decay_rates)} numbers; two are accepted")
        for rate in self.decay_rates:
            _check("decay_rates", rate, below=1.0)
        _check("epsilon", self.epsilon, above=0.0)
        _check("weight_decay", self.weight_decay)

    def start(self, size: int) -> Descending:
        """Begin with moments zero.

        Parameters
        ----------
        size : int
            Number of parameters P.

        Returns
        -------
        Descending
            The optimiser at work.
        """
        return _Adaptive(self, np.zeros(size), np.zeros(size), np.empty(size))


Optimiser = GradientDescent | Adam
"""The optimisers there are."""


@dataclass
class _Descent:
    settings: GradientDescent
    velocity: Float
    ahead: Float

    def look_ahead(self, theta: Float) -> Float:
        if not self.settings.nesterov:
            return theta
        np.multiply(self.velocity, self.settings.momentum, out=self.ahead)
        self.ahead += theta
        return self.ahead

    def step(self, theta: Float, gradient: Float) -> None:
        own = self.settings
        if own.weight_decay:
            gradient += own.weight_decay * self.look_ahead(theta)
        gradient *= -own.learning_rate
        if own.momentum == 0.0:
            theta += gradient
            return
        self.velocity *= own.momentum
        self.velocity += gradient
        theta += self.velocity


@dataclass
class _Adaptive:
    settings: Adam
    first: Float
    second: Float
    scratch: Float
    steps: int = field(default=0)

    def look_ahead(self, theta: Float) -> Float:
        return theta

    def step(self, theta: Float, gradient: Float) -> None:
        own, scratch = self.settings, self.scratch
        self.steps += 1
        one, two = own.decay_rates
        if own.weight_decay:
            gradient += own.weight_decay * theta
        np.multiply(gradient, 1.0 - one, out=scratch)
        self.first *= one
        self.first += scratch
        np.multiply(gradient, gradient, out=scratch)
        scratch *= 1.0 - two
        self.second *= two
        self.second += scratch
        np.divide(self.second, -math.expm1(self.steps * math.log(two)) if two else 1.0, out=scratch)
        np.sqrt(scratch, out=scratch)
        scratch += own.epsilon
        np.divide(self.first, scratch, out=scratch)
        scratch *= own.learning_rate / (-math.expm1(self.steps * math.log(one)) if one else 1.0)
        theta -= scratch


def _check(name: str, value: Any, *, above: float | None = None, below: float = math.inf) -> None:
    real = isinstance(value, int | float | np.floating) and not isinstance(value, bool) and math.isfinite(value)
    low = 0.0 if above is None else above
    if not real or value < low or (above is not None and value == above) or value >= below:
        accepted = "a positive number" if above is not None else "a nonnegative number"
        if below < math.inf:
            accepted = f"a number from 0 to below {below:g}"
        raise InputError(f"{name}: found {str(value)[:40]!r}; {accepted} is accepted")
