r"""Two layers at once: what a deficient layer leaves open is closed by the layer in front of it.

Let the system of layer i + 1 determine its input only up to a null space with orthonormal basis N. That input is
s(W x + b) for the input x of layer i, so with the projector P = I - N Nᵀ

.. math:: P\,\bigl(s(W x + b) - x^\circ\bigr) = 0, \qquad K\bigl(s'(W x + b) \odot g\bigr)\, x = \mathrm{vec}\, G,

where x° is any solution of the deficient system, G the weight gradient of layer i, and g = ∂L/∂(its output after s), which
is known: it needs the sensitivity of layer i + 1 only. If layer i has more outputs than inputs, its surplus makes up for
N: these are what R-GAP's rank analysis calls virtual constraints, and what its linear recursion cannot use.

The equations are solved by damped Gauss-Newton steps with K's argument frozen in the derivative. K jumps where a piecewise
linear s has a kink, P s(W x + b) does not; so K counts little at first, and fully only in the final test.

References
----------
J. Zhu and M. Blaschko, R-GAP: Recursive gradient attack on privacy, ICLR 2021 (the equations in their rank analysis; the
method of solution is ours).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray

from provable.architectures import Activation
from provable.networks.activations import derivative, value
from provable.recovery.layerwise.least_squares import (
    LARGEST_GRAM_MATRIX,
    WELL_CONDITIONED,
    Solution,
    inverse_iteration,
    power_iteration,
)

Float = NDArray[np.float64]

SHARES = (0.01, 0.1)
"""Weights of the gradient equations, tried one after the other."""

MOST_STEPS = 40
"""Gauss-Newton steps for each weight."""

SOLVED = 1e-9
"""Relative misfit below which the equations count as solved; a wrong sign of a unit leaves far more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Opening:
    """What a deficient layer leaves open, and the activations between it and the layer in front.

    Parameters
    ----------
    values : array of shape (n,)
        Its input of least norm, x°.
    null, rows : array of shape (n, m) and (n, r), or None
        Orthonormal bases of the null space N and of the row space of its system; one of them is enough.
    used : array of bool, shape (n,)
        Entries that its system sees at all.
    gradient : array of shape (n,)
        g = ∂L/∂input.
    activations : tuple of Activation
        In the order of the network.
    """

    values: Float
    null: Float | None
    rows: Float | None
    used: NDArray[np.bool_]
    gradient: Float
    activations: tuple[Activation, ...] = ()

    def behind(self, activation: Activation) -> Opening:
        """Put an activation in front.

        Parameters
        ----------
        activation : Activation
            The next one towards the input.

        Returns
        -------
        Opening
            With it as the first activation.
        """
        return dataclasses.replace(self, activations=(activation, *self.activations))

    def through(self, outputs: Float) -> tuple[Float, Float]:
        """Apply the activations.

        Parameters
        ----------
        outputs : array of shape (n,)
            Pre-activations of the layer in front.

        Returns
        -------
        values, slopes : array of shape (n,)
            What they become, and the derivative.
        """
        slopes = np.ones(len(outputs))
        for activation in self.activations:
            slopes = slopes * np.asarray(derivative(activation, outputs))
            outputs = np.asarray(value(activation, outputs))
        return outputs, slopes

    def projected(self, difference: Float) -> Float:
        """Drop what is unseen or open.

        Parameters
        ----------
        difference : array of shape (n,)
            A vector.

        Returns
        -------
        array of shape (n,)
            P times it.
        """
        seen = np.where(self.used, difference, 0.0)
        if self.null is not None:
            return np.asarray(seen - self.null @ (self.null.T @ seen))
        assert self.rows is not None
        return np.asarray(self.rows @ (self.rows.T @ seen))

    @property
    def equations(self) -> int:
        """How many equations remain: the rank of P."""
        if self.null is not None:
            return int(np.count_nonzero(self.used) - self.null.shape[1])
        assert self.rows is not None
        return int(self.rows.shape[1])


@dataclasses.dataclass(frozen=True, eq=False)
class LayerInFront:
    """The layer whose input is sought.

    Parameters
    ----------
    forward : sparse array of shape (n, unknowns)
        W.
    bias : array of shape (n,)
        b, one number for each output.
    gradients : array of shape (m, channels)
        G as the rows of K̃ are; no rows if it was not observed.
    block : callable
        ``block(sensitivity)`` is K̃, (m, pixels), for a sensitivity of shape (n,).
    """

    forward: Any
    bias: Float
    gradients: Float
    block: Callable[[Float], Float]


@dataclasses.dataclass(frozen=True, eq=False)
class _Point:
    inputs: Float
    misfit: Float
    gradient_misfit: Float
    slopes: Float
    block: Float

    def cost(self, weight: float) -> float:
        return math.hypot(float(np.linalg.norm(self.misfit)), weight * float(np.linalg.norm(self.gradient_misfit)))


def solve_jointly(opening: Opening, layer: LayerInFront, start: Float) -> Solution | None:
    """Solve the layer in front together with what the deficient layer determines.

    Parameters
    ----------
    opening : Opening
        The deficient layer.
    layer : LayerInFront
        The layer in front of it.
    start : array of shape (n,)
        Pre-activations to start from; only a guess.

    Returns
    -------
    Solution or None
        The input of the layer in front, determined wherever an equation sees it; None if there are too few equations, or
        no solution of them was found.
    """
    # Pixels that none of the equations sees stay out: they are open, and do no harm.
    channels = layer.gradients.shape[1]
    seen = np.asarray(abs(layer.forward[np.flatnonzero(opening.used)]).sum(axis=0)).reshape(channels, -1).any(axis=0)
    columns = np.flatnonzero(np.tile(seen, channels))
    if not len(columns) or len(columns) > min(opening.equations + layer.gradients.size, LARGEST_GRAM_MATRIX):
        return None
    reduced = dataclasses.replace(
        layer,
        forward=scipy.sparse.csr_array(layer.forward[:, columns]),
        block=lambda sensitivity: layer.block(sensitivity)[:, seen],
    )
    first = scipy.sparse.linalg.lsmr(reduced.forward, start - layer.bias, maxiter=200)[0]
    for share in SHARES:
        point, balance = _gauss_newton(opening, reduced, first, share)
        if (found := _accepted(opening, reduced, point, balance)) is not None:
            values, determined = np.zeros(layer.forward.shape[1]), np.zeros(layer.forward.shape[1], dtype=np.bool_)
            values[columns], determined[columns] = found.values, True
            return dataclasses.replace(found, values=values, determined=determined)
    return None


def _evaluated(opening: Opening, layer: LayerInFront, inputs: Float) -> _Point:
    outputs, slopes = opening.through(layer.forward @ inputs + layer.bias)
    block = layer.block(slopes * opening.gradient)
    images = inputs.reshape(layer.gradients.shape[1], -1)
    misfit = opening.projected(outputs - opening.values)
    return _Point(inputs, misfit, block @ images.T - layer.gradients, slopes, block)


def _gauss_newton(opening: Opening, layer: LayerInFront, first: Float, share: float) -> tuple[_Point, float]:
    """Damped steps; the point reached and the factor that balances gradient equations with the others."""
    point = _evaluated(opening, layer, first)
    largest = float(np.max(np.abs(point.block), initial=0.0))
    balance = float(np.max(np.abs(layer.forward.data))) / largest if largest else 1.0
    size = float(np.linalg.norm(opening.projected(opening.values)))
    weight, damping = share * balance, 1e-3
    for _ in range(MOST_STEPS):
        gram, right = _normal_equations(opening, layer, point, weight)
        gram[np.diag_indices_from(gram)] += damping * float(np.mean(np.diag(gram)))
        try:
            factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            damping *= 100
            continue
        moved = _evaluated(opening, layer, point.inputs - scipy.linalg.cho_solve(factor, right, check_finite=False))
        before, after = point.cost(weight), moved.cost(weight)
        if after < before:
            point, damping = moved, max(damping / 10, 1e-13)
        else:
            damping *= 10
        # The frozen argument of K makes convergence linear, so steps go on until they no longer help.
        if (before <= SOLVED * size and not after < before / 2) or not damping < 1e6:
            break
    return point, balance


def _normal_equations(opening: Opening, layer: LayerInFront, point: _Point, weight: float) -> tuple[Float, Float]:
    """JᵀJ and Jᵀ(misfit), with PᵀP = P = I - N Nᵀ on the used entries."""
    slopes = np.where(opening.used, point.slopes, 0.0)
    matrix = scipy.sparse.csr_array(scipy.sparse.diags_array(slopes) @ layer.forward)
    basis = opening.rows if opening.null is None else opening.null
    assert basis is not None
    part: Float = np.asarray((matrix.T @ basis).T)
    gram: Float = part.T @ part
    if opening.null is not None:
        gram = (matrix.T @ matrix).toarray() - gram
    square = weight**2 * (point.block.T @ point.block)
    pixels = point.block.shape[1]
    for start in range(0, len(gram), pixels):
        gram[start : start + pixels, start : start + pixels] += square
    right = matrix.T @ point.misfit + weight**2 * (point.gradient_misfit.T @ point.block).ravel()
    return gram, right


def _accepted(opening: Opening, layer: LayerInFront, point: _Point, balance: float) -> Solution | None:
    size = math.hypot(
        float(np.linalg.norm(opening.projected(opening.values))), balance * float(np.linalg.norm(layer.gradients))
    )
    misfit = point.cost(balance) / size if size else math.inf
    if not misfit <= SOLVED:
        return None
    gram, _ = _normal_equations(opening, layer, point, balance)
    largest = power_iteration(gram)
    try:
        factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    smallest = inverse_iteration(factor)
    if not smallest > WELL_CONDITIONED**2 * largest:
        return None
    return Solution(
        values=point.inputs,
        rank=len(point.inputs),
        determined=np.ones(len(point.inputs), dtype=np.bool_),
        smallest=math.sqrt(smallest / largest),
        dropped=0.0,
        misfit=misfit,
    )
