"""How far two data sets are apart."""

from __future__ import annotations

from dataclasses import dataclass

from provable.arithmetic import Float


@dataclass(frozen=True)
class DataDistances:
    """Euclidean distances between the samples of two data sets.

    Attributes
    ----------
    separation : float
        The smallest distance between a sample of the one and a sample of the other.
    hausdorff : float
        The largest distance of a sample of either from the nearest one of the other.
    assignment : float
        The mean distance of corresponding samples under the best one-to-one assignment of the smaller set.
    """

    separation: float
    hausdorff: float
    assignment: float


def data_distances(points: Float, others: Float) -> DataDistances:
    """Measure how far two data sets are apart.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The one, with at least one sample.
    others : ndarray of shape (m, d)
        The other, likewise.

    Returns
    -------
    DataDistances
        All three distances.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    table = cdist(points, others)
    rows, columns = linear_sum_assignment(table)
    return DataDistances(
        float(table.min()),
        float(max(table.min(axis=0).max(), table.min(axis=1).max())),
        float(table[rows, columns].mean()),
    )


def diameter(points: Float) -> float:
    """The largest distance between two samples.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        The data set, with at least one sample.

    Returns
    -------
    float
        Zero for a single sample.
    """
    from scipy.spatial.distance import pdist

    return float(pdist(points).max(initial=0.0))
