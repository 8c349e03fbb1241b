r"""Newton's method for the KKT equations of a two-layer ReLU network whose active constraints are known.

Notes
-----
With u_k = |v_k| w_k, signs σ_k, D_ik = 1 on samples with a positive pre-activation, Z_k the samples on the kink of neuron k
and S the support samples, the equations

.. math:: u_k / \|u_k\| = σ_k \sum_{i \in S} λ_i y_i D_{ik} \tilde x_i + \sum_{i \in Z_k} τ_{ik} \tilde x_i, \quad
          u_k·\tilde x_i = 0 \ (i \in Z_k), \quad y_i f(x_i) = 1 \ (i \in S)

are as many as the unknowns u, λ, τ. Where they are dependent (duplicates, several optima), the step of least length is taken;
it converges quadratically as well, to one of the solutions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float

_STEPS = 30

_CORRECTIONS = 8
"""Active sets that are tried from one start."""

_CONTRADICTION = 1e-9
"""What solutions of the equations may violate inequalities by."""

_DIVERGED = 1e60
"""Largest unknown at which Newton's method goes on; far from overflow in products of some of them."""

_IDLE = 3
"""Steps without a smaller residual before Newton's method stops."""


@dataclass(frozen=True, eq=False)
class ActiveSet:
    """Which constraints hold with equality.

    Attributes
    ----------
    active : ndarray of bool (n, K)
        Samples with a positive pre-activation at neuron k.
    kinks : ndarray of bool (n, K)
        Samples on the kink of neuron k.
    support : ndarray of bool (n,)
        Samples with margin 1.
    """

    active: NDArray[np.bool_]
    kinks: NDArray[np.bool_]
    support: NDArray[np.bool_]

    @classmethod
    def near(cls, inputs: Float, neurons: Float, support: NDArray[np.bool_], tolerance: float) -> ActiveSet:
        """Read the active set off an approximate solution.

        Parameters
        ----------
        inputs : ndarray of shape (n, D)
            The x̃_i.
        neurons : ndarray of shape (K, D)
            The u_k.
        support : ndarray of bool (n,)
            Samples with margin 1.
        tolerance : float
            Angles to a kink count as zero up to this.

        Returns
        -------
        ActiveSet
            The constraints.
        """
        values = inputs @ neurons.T
        sizes = np.linalg.norm(inputs, axis=1)[:, None] * np.linalg.norm(neurons, axis=1)
        kinks = np.abs(values) <= tolerance * sizes
        return cls((values > 0) & ~kinks, kinks, support)


def solutions(
    inputs: Float, labels: Float, neurons: Float, signs: Float, multipliers: Float, constraints: ActiveSet
) -> Iterator[tuple[Float, Float, Float]]:
    """Solve the KKT equations from an approximate solution, correcting the active set where their solution contradicts it.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    labels : ndarray of shape (n,)
        ±1.
    neurons : ndarray of shape (K, D)
        The u_k.
    signs : ndarray of shape (K,)
        σ_k.
    multipliers : ndarray of shape (n,)
        λ.
    constraints : ActiveSet
        What holds with equality, as a first guess.

    Yields
    ------
    neurons : ndarray of shape (k, D)
        The u_k with the smallest residual of the equations on the way; the first ones are not always the worst, because the τ
        of linearly dependent samples on one kink are not unique, and seem to be contradictions.
    signs : ndarray of shape (k,)
        Their σ_k; neurons that turned around are left out.
    multipliers : ndarray of shape (n,)
        λ, zero outside the support, of any sign.
    """
    seen = set()
    for _ in range(_CORRECTIONS):
        seen.add((len(signs), constraints.active.tobytes(), constraints.kinks.tobytes(), constraints.support.tobytes()))
        system = _System(inputs, labels, signs, constraints)
        state = _newton(system, system.start(neurons, multipliers))
        moved, after = system.parts(state)
        stay, changed = system.corrected(state, neurons)
        if np.all(stay):
            yield moved, signs, after
        if not stay.any():
            return
        neurons, signs = neurons[stay], signs[stay]
        constraints = ActiveSet(changed.active[:, stay], changed.kinks[:, stay], changed.support)
        key = (len(signs), constraints.active.tobytes(), constraints.kinks.tobytes(), constraints.support.tobytes())
        if key in seen:
            return


def _newton(system: _System, state: Float) -> Float:
    """The state with the smallest residual on the way."""
    residual, jacobian = system.equations(state)
    best, smallest, idle = state, float(np.linalg.norm(residual)), 0
    for _ in range(_STEPS):
        # columns of unit length: multipliers of nearly coincident samples are of another magnitude than neurons
        scale = np.linalg.norm(jacobian, axis=0)
        scale[scale == 0] = 1.0
        state = state + np.linalg.lstsq(jacobian / scale, -residual, rcond=1e-13)[0] / scale
        if not np.abs(state).max() <= _DIVERGED:
            break
        residual, jacobian = system.equations(state)
        size = float(np.linalg.norm(residual))
        idle = 0 if size < smallest else idle + 1
        if size < smallest:
            best, smallest = state, size
        if idle > _IDLE:
            break
    return best


class _System:
    """The equations, for one active set."""

    def __init__(self, inputs: Float, labels: Float, signs: Float, constraints: ActiveSet) -> None:
        self.labels, self.signs, self.constraints = labels, signs, constraints
        self.inputs = inputs
        self.norms = np.linalg.norm(inputs, axis=1)
        self.width, self.dimension = len(signs), inputs.shape[1]
        self.support = np.flatnonzero(constraints.support)
        self.kinks = [(int(k), int(i)) for i, k in np.argwhere(constraints.kinks)]

    def start(self, neurons: Float, multipliers: Float) -> Float:
        """Unknowns at an approximate solution; the τ by least squares."""
        shares = np.zeros(len(self.kinks))
        for k in range(self.width):
            places = [place for place, (neuron, _) in enumerate(self.kinks) if neuron == k]
            if places:
                rest = neurons[k] / np.linalg.norm(neurons[k]) - self._gradient(k, multipliers)
                basis = np.array(
                    [self.inputs[self.kinks[place][1]] / self.norms[self.kinks[place][1]] for place in places]
                )
                shares[places] = np.linalg.lstsq(basis.T, rest, rcond=1e-10)[0]
        return np.concatenate([neurons.reshape(-1), multipliers[self.support], shares])

    def _gradient(self, k: int, multipliers: Float) -> Float:
        weights = self.signs[k] * multipliers * self.labels * self.constraints.active[:, k]
        gradient: Float = weights @ self.inputs
        return gradient

    def parts(self, state: Float) -> tuple[Float, Float]:
        """Neurons and multipliers."""
        size = self.width * self.dimension
        multipliers = np.zeros(len(self.labels))
        multipliers[self.support] = state[size : size + len(self.support)]
        return state[:size].reshape(self.width, self.dimension), multipliers

    def corrected(self, state: Float, before: Float) -> tuple[NDArray[np.bool_], ActiveSet]:
        """Which neurons did not turn around, and an active set without the contradictions of a solution."""
        neurons, multipliers = self.parts(state)
        shares = state[len(state) - len(self.kinks) :]
        values = self.inputs @ neurons.T
        sizes = self.norms[:, None] * np.linalg.norm(neurons, axis=1)
        active, kinks = self.constraints.active.copy(), self.constraints.kinks.copy()
        support = self.constraints.support.copy()
        # a pre-activation that changed its sign: on the kink
        flipped = ~kinks & (np.abs(values) > _CONTRADICTION * sizes) & ((values > 0) != active)
        kinks |= flipped
        active &= ~flipped
        # Clarke weights beyond [0, 1]: off the kink
        for place, (k, i) in enumerate(self.kinks):
            coefficient = self.signs[k] * multipliers[i] * self.labels[i] * self.norms[i]
            weight = shares[place] / coefficient if coefficient else 0.5
            if not -_CONTRADICTION <= weight <= 1.0 + _CONTRADICTION:
                kinks[i, k], active[i, k] = False, weight > 1.0
        margins = self.labels * (np.maximum(values, 0.0) @ self.signs)
        support &= multipliers >= -_CONTRADICTION * np.abs(multipliers).max()
        support |= ~self.constraints.support & (margins < 1.0 - _CONTRADICTION)
        stay: NDArray[np.bool_] = np.einsum("kd,kd->k", neurons, before) > 0
        return stay, ActiveSet(active, kinks, support)

    def equations(self, state: Float) -> tuple[Float, Float]:
        """Residual and Jacobian."""
        neurons, multipliers = self.parts(state)
        size, dimension, support = self.width * self.dimension, self.dimension, self.support
        shares = state[size + len(support) :]
        residual, jacobian = np.zeros(len(state)), np.zeros((len(state), len(state)))
        active = self.constraints.active
        for k, neuron in enumerate(neurons):
            block = slice(k * dimension, (k + 1) * dimension)
            length = float(np.linalg.norm(neuron)) or 1.0  # a neuron that vanished has no direction
            unit = neuron / length
            residual[block] = unit - self._gradient(k, multipliers)
            jacobian[block, block] = (np.eye(dimension) - np.outer(unit, unit)) / length
            columns = (self.signs[k] * self.labels * active[:, k])[:, None] * self.inputs
            jacobian[block, size : size + len(support)] = -columns[support].T
            rows = (self.labels * self.signs[k] * active[:, k])[:, None] * self.inputs
            jacobian[size : size + len(support), block] = rows[support]
        values = (neurons @ self.inputs.T).T * active
        residual[size : size + len(support)] = (self.labels * (values @ self.signs))[support] - 1.0
        for place, (k, i) in enumerate(self.kinks):
            row, block = size + len(support) + place, slice(k * dimension, (k + 1) * dimension)
            unit = self.inputs[i] / self.norms[i]
            residual[block] -= shares[place] * unit
            jacobian[block, row] = -unit
            residual[row] = neurons[k] @ unit
            jacobian[row, block] = unit
        return residual, jacobian
