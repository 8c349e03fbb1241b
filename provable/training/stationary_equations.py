r"""The equations of a stationary point with its kinks and its support vectors, and Newton's method for them.

Notes
-----
Given slopes D, a set Z of kinks and, without weight decay, a set S of support vectors, the unknowns are θ, the multipliers
τ of the kinks and, without weight decay, the multipliers λ of the support vectors. The equations are

.. math:: \theta = \sum_i c_i \nabla f_i + \sum_Z \tau_{lki} \nabla z_{lki}, \qquad z_{lki} = 0 \text{ on } Z,

with :math:`c_i = -\ell'_i / w` for the weight decay w, and for the max-margin problem :math:`c_i = \lambda_i y_i` together
with :math:`y_i f_i = 1` on S. Both Jacobians are symmetric and indefinite, and they are singular wherever several units have
one direction, for these can share their norm in any way. MINRES takes the shortest of the steps that solve.

References
----------
C. Paige, M. Saunders, Solution of sparse indefinite systems of linear equations, SIAM J. Numer. Anal. 12, 1975, for MINRES.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.training.fixed_pattern import Backward, FixedPattern, Pass, Pattern
from provable.training.separable_losses import bends, slopes

Mask = NDArray[np.bool_]

MOST_NEWTON_STEPS = 25
"""Newton steps for one choice of kinks."""

PATIENCE = 8
"""After so many steps the residual has to be a third of what it was."""

SHORTEST_STEP = 2.0**-10
"""Steps that have to be shortened more than this are given up."""


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be stationary.

    Attributes
    ----------
    chain : FixedPattern
        The network with its samples.
    labels : ndarray
        Their labels.
    loss : str
        The loss.
    weight_decay : float
        w; zero for the max-margin problem.
    """

    chain: FixedPattern
    labels: NDArray[Any]
    loss: str
    weight_decay: float


@dataclass(frozen=True, eq=False)
class Candidate:
    """A point with its multipliers, and what is taken for its kinks and support vectors.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        θ.
    multipliers : ndarray of shape (n,)
        λ of the max-margin problem; not used with weight decay.
    support : ndarray of bool, shape (n,)
        Where λ may be other than zero.
    pattern : dict of int to ndarray of shape (n, units)
        D by layer.
    kinks : dict of int to ndarray of bool, shape (n, units)
        Z by layer.
    kink_multipliers : dict of int to ndarray of shape (n, units)
        τ by layer, zero outside Z.
    """

    theta: Float
    multipliers: Float
    support: Mask
    pattern: Pattern
    kinks: dict[int, Mask]
    kink_multipliers: dict[int, Float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The equations at a candidate.

    Attributes
    ----------
    forward : Pass
        The network.
    backward : Backward
        What is passed back from c and τ.
    coefficients : ndarray of shape (n, C)
        c.
    equations : ndarray
        Stationarity, margins and kinks, one after the other.
    """

    forward: Pass
    backward: Backward
    coefficients: Float
    equations: Float

    @property
    def stationarity(self) -> Float:
        """θ minus what explains it.

        Returns
        -------
        ndarray of shape (P,)
            The first P equations.
        """
        return np.asarray(self.equations[: len(self.backward.gradient)])


def coefficients(problem: Problem, outputs: Float, multipliers: Float) -> Float:
    """The coefficients c of the samples' gradients.

    Parameters
    ----------
    problem : Problem
        What is to be stationary.
    outputs : ndarray of shape (n, C)
        f.
    multipliers : ndarray of shape (n,)
        λ.

    Returns
    -------
    ndarray of shape (n, C)
        -ℓ'/w, or λ y for the max-margin problem.
    """
    if problem.weight_decay:
        return np.asarray(-slopes(problem.loss, outputs, problem.labels) / problem.weight_decay)
    return np.asarray(multipliers * problem.labels)[:, None]


def evaluate(problem: Problem, candidate: Candidate) -> Evaluation:
    """Evaluate the equations.

    Parameters
    ----------
    problem : Problem
        What is to be stationary.
    candidate : Candidate
        Where.

    Returns
    -------
    Evaluation
        The equations and what they are made of.
    """
    there = problem.chain.forward(candidate.theta, candidate.pattern)
    weights = coefficients(problem, there.outputs, candidate.multipliers)
    back = there.backward(weights, candidate.kink_multipliers)
    rows = [candidate.theta - back.gradient]
    if not problem.weight_decay:
        rows.append(1.0 - (problem.labels * there.outputs[:, 0])[candidate.support])
    rows += [-there.received[index][mask] for index, mask in candidate.kinks.items()]
    return Evaluation(there, back, weights, np.concatenate(rows))


def newton(problem: Problem, candidate: Candidate, *, tolerance: float = 1e-14) -> Candidate:
    """Solve the equations at fixed slopes, kinks and support vectors, as far as Newton's method gets.

    Parameters
    ----------
    problem : Problem
        What is to be stationary.
    candidate : Candidate
        Where to begin.
    tolerance : float, optional
        Norm of the equations relative to that of θ at which to stop.

    Returns
    -------
    Candidate
        The last point at which the norm of the equations fell.
    """
    current, there = candidate, evaluate(problem, candidate)
    norm = first = float(np.linalg.norm(there.equations))
    for step in range(MOST_NEWTON_STEPS):
        size = float(np.linalg.norm(current.theta))
        if norm <= tolerance * size or (step >= PATIENCE and norm > 0.3 * first):
            break
        # far away directions need not be exact; near the end the error has to fall with the square of the residual
        exact = min(1e-3, max(1e-10, 0.01 * norm / size)) if size else 1e-10
        direction = _direction(problem, current, there, exact)
        length = 1.0
        while True:
            moved = _moved(problem, current, length * direction)
            with np.errstate(over="ignore", invalid="ignore"):  # a step that leads too far is shortened
                then = evaluate(problem, moved)
                reached = float(np.linalg.norm(then.equations))
            if reached < (1 - 1e-4 * length) * norm or length <= SHORTEST_STEP:
                break
            length /= 2
        if not reached < norm:
            break
        current, there, norm = moved, then, reached
    return current


def _moved(problem: Problem, candidate: Candidate, step: Float) -> Candidate:
    size = len(candidate.theta)
    theta, rest = candidate.theta + step[:size], step[size:]
    multipliers = candidate.multipliers.copy()
    if not problem.weight_decay:
        count = np.count_nonzero(candidate.support)
        multipliers[candidate.support] += rest[:count]
        rest = rest[count:]
    changes = spread(candidate.kinks, rest)
    taus = {index: tau + changes[index] for index, tau in candidate.kink_multipliers.items()}
    return replace(candidate, theta=theta, multipliers=multipliers, kink_multipliers=taus)


def _direction(problem: Problem, candidate: Candidate, there: Evaluation, exact: float) -> Float:
    from scipy.sparse.linalg import LinearOperator, minres

    size, count = len(candidate.theta), np.count_nonzero(candidate.support)
    decay, labels = problem.weight_decay, problem.labels
    curvature = bends(problem.loss, there.forward.outputs, labels) / decay if decay else None

    def product(vector: Float) -> Float:
        vector = vector.reshape(-1)
        step, rest = vector[:size], vector[size:]
        received, outputs = there.forward.along(step)
        cotangent = np.zeros_like(outputs)
        rows: list[Float] = []
        if curvature is not None:
            cotangent -= np.einsum("nij,nj->ni", curvature, outputs)
        else:
            cotangent[candidate.support, 0] = rest[:count] * labels[candidate.support]
            rows.append(-(labels * outputs[:, 0])[candidate.support])
            rest = rest[count:]
        explained = there.backward.along(step, received, cotangent, spread(candidate.kinks, rest))
        rows += [-received[index][mask] for index, mask in candidate.kinks.items()]
        return np.concatenate([step - explained, *rows])

    length = len(there.equations)
    operator = LinearOperator((length, length), matvec=product, dtype=np.float64)
    found, _ = minres(operator, -there.equations, rtol=exact, maxiter=3000)
    return np.asarray(found, dtype=np.float64)


def spread(kinks: dict[int, Mask], values: Float) -> dict[int, Float]:
    """Put numbers, one for each kink, where the kinks are.

    Parameters
    ----------
    kinks : dict of int to ndarray of bool
        The kinks by layer.
    values : ndarray of shape (number of kinks,)
        The numbers, layer by layer in row-major order.

    Returns
    -------
    dict of int to ndarray
        The numbers by layer, zero elsewhere.
    """
    result, start = {}, 0
    for index, mask in kinks.items():
        stop = start + int(np.count_nonzero(mask))
        result[index] = np.zeros(mask.shape)
        result[index][mask] = values[start:stop]
        start = stop
    return result
