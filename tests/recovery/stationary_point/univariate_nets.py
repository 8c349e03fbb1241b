"""Exact stationary points of two-layer ReLU networks of one input, by the convex program in one dimension.

Between n points on a line there are 2n - 1 activation patterns, so the convex program is small; Newton's method on the KKT
equations of its support brings it to the last digits. Leaving patterns out gives KKT points that are not optimal.
"""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np

from provable.architectures import Architecture, Linear, ReLU
from provable.networks import Parameters
from provable.observations import Observation


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network, and the data and multipliers with which it is a KKT point of margin one."""

    inner: np.ndarray
    outer: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    multipliers: np.ndarray
    value: float

    @property
    def support(self):
        return self.points[self.multipliers > 0]

    @property
    def coefficients(self):
        return (self.multipliers * self.labels)[self.multipliers > 0]

    def scaled(self, factor):
        return dataclasses.replace(self, inner=factor * self.inner, outer=factor * self.outer)

    @property
    def observation(self):
        return observation_of(self.inner, self.outer)


def observation_of(inner, outer):
    layers = (Linear(len(outer)), ReLU(), Linear(1, bias=False))
    architecture = Architecture("univariate", (1,), layers, "logistic")
    arrays = {"0/weight": inner[:, :1].copy(), "0/bias": inner[:, 1].copy(), "2/weight": outer[None].copy()}
    return Observation("stationary-point", architecture, Parameters(architecture, arrays))


def _patterns(count):
    yield np.ones(count, bool)
    for k in range(1, count):
        yield np.arange(count) >= k
        yield np.arange(count) < k


def stationary(points, labels, allowed=None):
    """A KKT point of margin one, or None where the program or Newton's method fails or patterns were needed."""
    import cvxpy

    x = np.column_stack([points, np.ones(len(points))])
    output, limits, units = 0, [], []
    for index, pattern in enumerate(_patterns(len(points))):
        for sign in (1.0, -1.0):
            if allowed is not None and not allowed[index, int(sign < 0)]:
                continue
            unit = cvxpy.Variable(2)
            units.append((pattern, sign, unit))
            limits.append(cvxpy.multiply(2.0 * pattern - 1, x @ unit) >= 0)
            output = output + sign * cvxpy.multiply(1.0 * pattern, x @ unit)
    if not units:
        return None
    margins = cvxpy.multiply(labels, output) >= 1
    problem = cvxpy.Problem(cvxpy.Minimize(sum(cvxpy.norm(unit) for *_, unit in units)), [*limits, margins])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    if problem.status not in ("optimal", "optimal_inaccurate"):
        return None
    chosen = [(sign, unit.value) for _, sign, unit in units if np.linalg.norm(unit.value) > 1e-5 * problem.value]
    return _finished(x, labels, chosen, margins.dual_value, problem.value)


def _finished(x, labels, chosen, dual, value):
    """Newton's method on the neurons, the multipliers of support points, and the parts of slopes at knots."""
    norms = np.linalg.norm(x, axis=1)
    groups: dict = {}
    for sign, unit in chosen:
        z = (x @ unit) / (np.linalg.norm(unit) * norms)
        key = (sign, tuple(z > 1e-5), tuple(np.abs(z) <= 1e-5))
        groups[key] = groups.get(key, 0) + unit
    keys = list(groups)
    support = np.flatnonzero(dual > 1e-6 * np.max(dual))
    kinks = [(k, i) for k, key in enumerate(keys) for i in np.flatnonzero(key[2])]
    count, size = len(keys), len(support)
    state = np.concatenate([*groups.values(), dual[support], np.zeros(len(kinks))])

    def equations(state):
        units = state[: 2 * count].reshape(-1, 2)
        slopes = np.zeros(len(x))
        slopes[support] = state[2 * count : 2 * count + size]
        value, jacobian = [], []
        output, output_rows = np.zeros(len(x)), np.zeros((len(x), len(state)))
        for k, (sign, on, _) in enumerate(keys):
            norm = np.linalg.norm(units[k])
            rows = np.zeros((2, len(state)))
            rows[:, 2 * k : 2 * k + 2] = np.eye(2) / norm - np.outer(units[k], units[k]) / norm**3
            active = np.array(on, float)
            rows[:, 2 * count : 2 * count + size] -= sign * (labels * active)[support] * x[support].T
            misfit = units[k] / norm - sign * ((slopes * labels * active) @ x)
            for place, (owner, i) in enumerate(kinks):
                if owner == k:
                    misfit -= state[2 * count + size + place] * x[i]
                    rows[:, 2 * count + size + place] -= x[i]
            value.append(misfit)
            jacobian.append(rows)
            output += sign * active * (x @ units[k])
            output_rows[:, 2 * k : 2 * k + 2] += sign * active[:, None] * x
        for k, i in kinks:
            row = np.zeros((1, len(state)))
            row[0, 2 * k : 2 * k + 2] = x[i]
            value.append([units[k] @ x[i]])
            jacobian.append(row)
        value.append((labels * output - 1)[support])
        jacobian.append((labels[:, None] * output_rows)[support])
        return np.concatenate(value), np.vstack(jacobian)

    for _ in range(25):
        misfit, jacobian = equations(state)
        step = np.linalg.lstsq(jacobian, -misfit, rcond=1e-12)[0]
        state = state + step
        if np.max(np.abs(step)) < 1e-15 * np.max(np.abs(state)):
            break
    multipliers = np.zeros(len(x))
    multipliers[support] = state[2 * count : 2 * count + size]
    units = state[: 2 * count].reshape(-1, 2)
    sound = np.max(np.abs(equations(state)[0])) < 1e-10 and np.all(multipliers >= 0)
    for (k, i), part in zip(kinks, state[2 * count + size :], strict=True):
        sound &= bool(-1e-9 <= part * labels[i] * keys[k][0] <= multipliers[i] + 1e-9)
    for unit, (_, on, at) in zip(units, keys, strict=True):
        side = np.where(at, 0, np.where(on, 1, -1))
        sound &= bool(np.all(side * (x @ unit) >= 0))
    roots = np.sqrt(np.linalg.norm(units, axis=1))
    if not np.all(roots > 1e-6):  # a neuron has vanished, so that its equation means nothing
        return None
    outer = np.array([key[0] for key in keys]) * roots
    inner = units / roots[:, None]
    margins = labels * (np.maximum(x @ inner.T, 0) @ outer)
    sound &= bool(np.all(margins >= 1 - 1e-9))
    return Trained(inner, outer, x[:, 0], labels, multipliers, value) if sound else None


def random_data(rng, most=10):
    count = int(rng.integers(2, most + 1))
    return np.sort(rng.uniform(-3, 3, count)), rng.choice([-1.0, 1.0], count)
