"""Distil a training set: find the synthetic set whose kernel fit is closest to that of the training set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.arithmetic import Float
from provable.distillation import feature_pool, losses
from provable.distillation.constraints import corrupt, distance_hinge
from provable.distillation.descent import adam, quasi_newton
from provable.distillation.feature_pool import FeaturePool
from provable.distillation.identities import deletion_costs
from provable.distillation.interpolation import Interpolant, interpolant
from provable.distillation.losses import Loss
from provable.errors import InputError

LossName = Literal["kip", "rkip", "frepo"]
Labels = Literal["fixed", "learned", "free"]
FORMAT = "provable-distillation/1"


@dataclass(frozen=True, eq=False)
class Distilled:
    """A synthetic set and what it says about the training set.

    Attributes
    ----------
    points : ndarray of shape (M, d)
        Synthetic inputs.
    labels : ndarray of shape (M,) or (M, C)
        Their labels.
    function : Interpolant
        h_S.
    kip : float
        ½‖y_T - h_S(X_T)‖², in the kernel of the training function.
    rkip : float
        ½‖h_T - h_S‖²_H.
    bound : float
        λ_max(K_TT)·rkip, at least `kip`.
    largest_eigenvalue : float
        λ_max(K_TT).
    deletion_costs : ndarray of shape (N,)
        The least loss, with the factor ½ of `rkip`, of functions of the other training points: ½α_i²/[K⁻¹]_ii. Where it
        exceeds `rkip`, synthetic points account for a part of k(·, x_i) that the other training points do not: x_i shows.
    frozen : ndarray of bool, shape (M, d)
        Coordinates that were noise and stayed so.
    evaluations : int
        How often the loss was evaluated.
    """

    points: Float
    labels: Float
    function: Interpolant
    kip: float
    rkip: float
    bound: float
    largest_eigenvalue: float
    deletion_costs: Float
    frozen: NDArray[np.bool_]
    evaluations: int

    def to_json(self) -> str:
        """Give everything but the arrays.

        Returns
        -------
        str
            JSON with the keys ``format``, ``points`` (their number), ``kip``, ``rkip``, ``bound``,
            ``largest_eigenvalue`` and ``evaluations``.
        """
        document = {
            "format": FORMAT,
            "points": len(self.points),
            "kip": self.kip,
            "rkip": self.rkip,
            "bound": self.bound,
            "largest_eigenvalue": self.largest_eigenvalue,
            "evaluations": self.evaluations,
        }
        return json.dumps(document, indent=2, allow_nan=False)


def distil(
    target: Interpolant,
    count: int | None = None,
    *,
    loss: LossName = "rkip",
    labels: Labels = "fixed",
    start: Literal["data", "noise"] | ArrayLike = "data",
    start_labels: ArrayLike | None = None,
    iterations: int = 300,
    learning_rate: float | None = None,
    ridge: float = 1e-5,
    bounds: tuple[float, float] | None = None,
    corrupted: float = 0.0,
    distance: float | None = None,
    pool: FeaturePool | None = None,
    rng: int | np.random.Generator | None = None,
) -> Distilled:
    """Distil the training set of a function.

    Parameters
    ----------
    target : Interpolant
        h_T, without a ridge and with a differentiable kernel.
    count : int, optional
        M, at least 1; may be left out if `start` has the points.
    loss : {"rkip", "kip", "frepo"}, optional
        What is minimised; see `losses` and `feature_pool`.
    labels : {"fixed", "learned", "free"}, optional
        Whether labels stay, are optimised with the points, or are eliminated (only for RKIP: y_S = h_T(X_S)).
    start : {"data", "noise"} or array_like of shape (M, d), optional
        Random training points with their labels, 0.2·N(0, 1), or given points.
    start_labels : array_like of shape (M,) or (M, C), optional
        Labels to begin with; default for data their own, otherwise the labels of the training set, each as often as the
        others.
    iterations : int, optional
        Steps.
    learning_rate : float, optional
        Adam with that rate; default L-BFGS-B (for FRePo, whose loss changes at every step, Adam with 0.01).
    ridge : float, optional
        λ = ridge·tr(K_SS)/M in the fit of the synthetic set; FRePo's features have their own.
    bounds : (float, float), optional
        Range of every coordinate.
    corrupted : float, optional
        ρ: this share of the coordinates of each point is N(0, 1) noise from the start and stays as it is, bounds or not.
    distance : float, optional
        δ: add the penalty of `constraints.distance_hinge`.
    pool : FeaturePool, optional
        The networks of FRePo; default 8 of width 256, renewed after 100 steps.
    rng : int or Generator, optional
        Randomness.

    Returns
    -------
    Distilled
        The synthetic set; losses are reported in the target's kernel, penalties not included.

    Raises
    ------
    InputError
        If an option is out of range or options contradict each other, and as `interpolant` if synthetic points coincide and
        the ridge is 0.

    Notes
    -----
    With M ≥ N and no ridge the minimum of RKIP is 0, at the training set (recovery); with M < N it is the distance of h_T to
    its best approximation by M kernel functions (distillation). Both are minima of a function with others beside them.
    """
    generator = np.random.default_rng(rng)
    if target.ridge:
        raise InputError("target: found a fit with a ridge; an interpolant, fitted with ridge 0, is accepted")
    if labels not in ("fixed", "learned", "free") or loss not in ("kip", "rkip", "frepo"):
        raise InputError(
            f"loss, labels: found {loss!r:.40}, {labels!r:.40}; one of kip, rkip, frepo and one of "
            "fixed, learned, free are accepted"
        )
    if labels == "free" and loss != "rkip":
        raise InputError(f"labels: found 'free' with the loss {loss!r}; it is accepted with rkip")
    if distance is not None and not 0 < distance < np.inf:
        raise InputError(f"distance: found {distance}; a positive squared distance is accepted")
    points, values = _beginning(target, count, start, start_labels, generator)
    points, frozen = corrupt(points, corrupted, rng=generator)
    evaluate = _objective(target, loss, labels, ridge, pool, generator)

    def objective(x: Float, y: Float) -> Loss:
        found = evaluate(x, y)
        if distance is None:
            return found
        penalty, by_points = distance_hinge(x, target.points, distance)
        return Loss(found.value + penalty, found.by_points + by_points, found.by_labels)

    moving = labels == "learned"
    if loss == "frepo" or learning_rate is not None:
        rate = 0.01 if learning_rate is None else learning_rate
        points, values, evaluations = adam(objective, points, values, frozen, moving, iterations, rate, bounds)
    else:
        points, values, evaluations = quasi_newton(objective, points, values, frozen, moving, iterations, bounds)
    if labels == "free":
        values = target(points)
    return describe(target, points, values, ridge=ridge, frozen=frozen, evaluations=evaluations)


def describe(
    target: Interpolant,
    points: ArrayLike,
    labels: ArrayLike,
    *,
    ridge: float = 1e-5,
    frozen: NDArray[np.bool_] | None = None,
    evaluations: int = 0,
) -> Distilled:
    """Compare any synthetic (or recovered) set with the training set.

    Parameters
    ----------
    target : Interpolant
        h_T, without a ridge.
    points : array_like of shape (M, d)
        Synthetic points.
    labels : array_like of shape (M,) or (M, C)
        Their labels.
    ridge : float, optional
        λ = ridge·tr(K_SS)/M in their fit.
    frozen : ndarray of bool, shape (M, d), optional
        Which coordinates are noise; default none.
    evaluations : int, optional
        How often a loss was evaluated to find them.

    Returns
    -------
    Distilled
        The set with its losses, the bound between them and the deletion costs.

    Raises
    ------
    InputError
        As `interpolant`.
    """
    function = interpolant(target.kernel, points, labels, ridge=ridge)
    errors = target.values - function(target.points)
    distance = 0.5 * losses.squared_distance(target, function)
    eigenvalue = target.largest_eigenvalue
    return Distilled(
        function.points,
        function.values,
        function,
        0.5 * float(np.sum(errors**2)),
        distance,
        eigenvalue * distance,
        eigenvalue,
        0.5 * np.asarray(deletion_costs(target.gram, target.coefficients), dtype=np.float64),
        np.zeros(function.points.shape, dtype=np.bool_) if frozen is None else frozen,
        evaluations,
    )


def _beginning(
    target: Interpolant,
    count: int | None,
    start: Literal["data", "noise"] | ArrayLike,
    start_labels: ArrayLike | None,
    rng: np.random.Generator,
) -> tuple[Float, Float]:
    """The first synthetic points and labels."""
    dimension = target.points.shape[1]
    size, points = count, np.empty((0, dimension))
    if not isinstance(start, str):
        points = np.array(start, dtype=np.float64)
        if points.ndim != 2 or points.shape[1] != dimension:
            raise InputError(f"start: found shape {points.shape}; (M, {dimension}) is accepted")
        size = len(points)
    if size is None or size < 1 or (count is not None and count != size):
        raise InputError(f"count: found {count} for {size} points to start from; their number, at least 1, is accepted")
    _, classes = np.unique(target.values.reshape(len(target.values), -1).round(12), axis=0, return_inverse=True)
    chosen = _balanced(classes.reshape(-1), size, rng)
    if isinstance(start, str):
        if start == "data" and size > len(target.points):
            raise InputError(
                f"count: found {size} with {len(target.points)} training points; start='noise' accepts more"
            )
        if start not in ("data", "noise"):
            raise InputError(f"start: found {start!r:.40}; data, noise or points are accepted")
        points = target.points[chosen] if start == "data" else 0.2 * rng.standard_normal((size, dimension))
    values = target.values[chosen].copy() if start_labels is None else np.array(start_labels, dtype=np.float64)
    if values.shape != (size, *target.values.shape[1:]):
        raise InputError(f"start_labels: found shape {values.shape}; {(size, *target.values.shape[1:])} is accepted")
    return points, values


def _balanced(classes: NDArray[np.intp], size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Random samples, one of each class in turn; again from the beginning when all are taken."""
    order = rng.permutation(len(classes))
    queues = [[int(i) for i in order if classes[i] == label] for label in range(classes.max() + 1)]
    turns = sorted(((place, rng.random(), i) for queue in queues for place, i in enumerate(queue)))
    return np.array([turns[k % len(turns)][2] for k in range(size)], dtype=np.intp)


def _objective(
    target: Interpolant,
    loss: LossName,
    labels: Labels,
    ridge: float,
    pool: FeaturePool | None,
    rng: np.random.Generator,
) -> Callable[[Float, Float], Loss]:
    kernel = losses.differentiable(target)
    if loss == "rkip":
        if labels == "free":
            return lambda x, y: losses.projection_loss(target, x, ridge=ridge)
        return lambda x, y: losses.rkip(target, x, y, ridge=ridge)
    if loss == "kip":
        return lambda x, y: losses.kip(kernel, target.points, target.values, x, y, ridge=ridge)
    wanted = target.values.reshape(len(target.values), -1)
    networks = pool or FeaturePool(target.points.shape[1], wanted.shape[1], 256, 8, 100, 1.0, rng)

    def current_features(x: Float, y: Float) -> Loss:
        index = networks.draw()
        features = networks.kernel(index)
        found = losses.kip(features, target.points, target.values, x, y, ridge=feature_pool.RIDGE)
        networks.train(index, x, y.reshape(len(y), -1))
        return found

    return current_features
