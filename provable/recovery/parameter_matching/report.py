"""How well an attack did: one-to-one matchings, beside chance and beside samples that were not trained on."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.errors import InputError

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class AttackReport:
    """Distances of training samples from the candidates that they are matched with.

    Parameters
    ----------
    greedy : array of shape (N,)
        By greedy matching: again and again the nearest pair of those left. Infinite where no candidate was left.
    optimal : array of shape (N,)
        By the matching with the smallest sum (Hungarian method); infinite where no candidate was left.
    chance : array of shape (N,)
        Greedy distances from as many random candidates: Gaussian, with the mean and the variance of the held-out samples'
        entries, or those of the training samples without any held out.
    held_out : array of shape (K,)
        Greedy distances of held-out samples from the candidates: what an attack on other data would be credited with.
    norm : float
        Mean norm of the training samples, to which distances compare.
    loss, loss_at_truth : float or None
        Relative reconstruction loss of the candidates and of the truth, where they are known.
    """

    greedy: Float
    optimal: Float
    chance: Float
    held_out: Float
    norm: float
    loss: float | None = None
    loss_at_truth: float | None = None

    def within(self, distance: float) -> int:
        """Count the training samples recovered.

        Parameters
        ----------
        distance : float
            The largest distance that counts.

        Returns
        -------
        int
            How many are so near, by greedy matching.
        """
        return int(np.count_nonzero(self.greedy <= distance))

    def to_json(self) -> str:
        """Give the report as JSON.

        Returns
        -------
        str
            Sorted distances under the names of the parameters, null for infinite ones; losses may be null.
        """
        document: dict[str, object] = {
            name: [float(value) if math.isfinite(value) else None for value in np.sort(getattr(self, name))]
            for name in ("greedy", "optimal", "chance", "held_out")
        }
        document |= {"norm": self.norm, "loss": self.loss, "loss_at_truth": self.loss_at_truth}
        return json.dumps(document, allow_nan=False)


def greedy_matching(found: Float, truth: Float) -> Float:
    """Match one to one, the nearest pair of those left first.

    Parameters
    ----------
    found : array of shape (M, d)
        Candidates.
    truth : array of shape (N, d)
        Samples.

    Returns
    -------
    array of shape (N,)
        Distance of each sample from its candidate; infinite for those without.
    """
    costs = _distances(found, truth)
    result = np.full(len(truth), np.inf)
    order = np.argsort(costs, axis=None, kind="stable")
    free_rows, free_columns = np.ones(len(truth), dtype=bool), np.ones(len(found), dtype=bool)
    for place in order:
        row, column = divmod(int(place), len(found))
        if free_rows[row] and free_columns[column]:
            result[row] = costs[row, column]
            free_rows[row] = free_columns[column] = False
    return result


def optimal_matching(found: Float, truth: Float) -> Float:
    """Match one to one with the smallest sum of distances.

    Parameters
    ----------
    found : array of shape (M, d)
        Candidates.
    truth : array of shape (N, d)
        Samples.

    Returns
    -------
    array of shape (N,)
        Distance of each sample from its candidate; infinite for those without.
    """
    from scipy.optimize import linear_sum_assignment

    costs = _distances(found, truth)
    result = np.full(len(truth), np.inf)
    rows, columns = linear_sum_assignment(costs)
    result[rows] = costs[rows, columns]
    return result


def report(
    found: ArrayLike,
    truth: ArrayLike,
    *,
    held_out: ArrayLike | None = None,
    loss: float | None = None,
    loss_at_truth: float | None = None,
    rng: np.random.Generator | int | None = None,
) -> AttackReport:
    """Compare an attack's candidates with the training set.

    Parameters
    ----------
    found : array of shape (M, *input_shape)
        Candidates.
    truth : array of shape (N, *input_shape)
        Training samples.
    held_out : array of shape (K, *input_shape), optional
        Samples of the same classes that were not trained on; K = N compares best.
    loss, loss_at_truth : float, optional
        Relative losses, as `provable.recovery.parameter_matching.reconstruction_loss.loss_at` gives them.
    rng : numpy.random.Generator or int, optional
        Draws the random candidates.

    Returns
    -------
    AttackReport
        The distances.

    Raises
    ------
    InputError
        If shapes do not fit, a number is not finite, or there are no training samples.
    """
    samples = _flat("truth", truth)
    if not len(samples):
        raise InputError("truth: found no samples; one or more are accepted")
    candidates = _flat("found", found)
    others = np.zeros((0, samples.shape[1])) if held_out is None else _flat("held_out", held_out)
    for name, array in (("found", candidates), ("held_out", others)):
        if len(array) and array.shape[1] != samples.shape[1]:
            raise InputError(f"{name}: found {array.shape[1]} entries per sample; {samples.shape[1]} are accepted")
    candidates = candidates.reshape(len(candidates), samples.shape[1])
    generator = np.random.default_rng(rng)
    known = others if len(others) else samples
    random = known.mean(axis=0) + known.std(axis=0) * generator.standard_normal(candidates.shape)
    return AttackReport(
        greedy_matching(candidates, samples),
        optimal_matching(candidates, samples),
        greedy_matching(random, samples),
        greedy_matching(candidates, others),
        float(np.mean(np.linalg.norm(samples, axis=1))),
        loss,
        loss_at_truth,
    )


def _flat(name: str, values: ArrayLike) -> Float:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < 2:
        raise InputError(f"{name}: has shape {array.shape}; (number, *input_shape) is accepted")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{name}: holds a number that is not finite")
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _distances(found: Float, truth: Float) -> Float:
    costs = np.empty((len(truth), len(found)))
    for index, sample in enumerate(truth):  # one row at a time: all differences at once may not fit
        costs[index] = np.linalg.norm(found - sample, axis=1)
    return costs
