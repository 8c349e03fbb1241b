"""Which labelled samples a wide two-layer ReLU network can separate at all; what makes a program infeasible is named."""

from __future__ import annotations

from provable.arithmetic import Float
from provable.errors import InputError
from provable.max_margin.dependencies import integer_rows, nonnegative_dependency


def require_feasible(points: Float, labels: Float, *, bias: bool) -> None:
    """Refuse labels that no two-layer ReLU network, however wide, gives to the samples with the right signs.

    Parameters
    ----------
    points : ndarray of float64 (n, d)
        The samples, taken as the rationals that they are.
    labels : ndarray of shape (n,)
        ±1.
    bias : bool
        Whether the first layer has a bias.

    Raises
    ------
    InputError
        If the program max-margin is infeasible; the message names the samples. The decision is exact.

    Notes
    -----
    With inputs x̃_i = (x_i, 1), or x_i without bias, the program is infeasible if and only if there are λ ≥ 0, not all zero,
    with Σ λ_i y_i relu(w·x̃_i) = 0 for all w (Farkas). Since relu(t) = (|t| + t)/2 and the functions |w·x̃| of different lines
    are linearly independent, the multipliers on every line through 0 cancel: this happens if

    * x̃_i is a positive multiple of x̃_j, or equal to it with bias, and y_i ≠ y_j; or x̃_i = 0;
    * without bias, for antipodal pairs, x̃_j' = -r_j x̃_j with r_j > 0 and y_j' = -y_j, whose linear parts cancel in their sum,
      Σ a_j y_j x̃_j = 0 with a ≥ 0: each pair may be fitted, but not all of them.

    With bias the last coordinates are 1, so only the first case occurs.
    """
    rows = integer_rows(points)
    if bias:
        rows = integer_rows([[*point, 1.0] for point in points.tolist()])
    first: dict[tuple[int, ...], int] = {}
    for i, row in enumerate(rows):
        if not any(row):
            raise InputError(f"points: sample {i} is zero; without a first-layer bias every network gives it 0")
        j = first.setdefault(tuple(row), i)
        if labels[i] != labels[j]:
            relation = "coincide" if bias else "lie on one ray from 0"
            raise InputError(
                f"points: samples {j} and {i} {relation} and have labels {labels[j]:+.0f} and {labels[i]:+.0f}; no network "
                f"{'' if bias else 'without a first-layer bias '}separates them"
            )
    if bias:
        return
    pairs = []
    for direction, i in first.items():
        opposite = first.get(tuple(-entry for entry in direction), i)
        if i < opposite and labels[i] != labels[opposite]:
            pairs.append((i, opposite))
    cancelling = nonnegative_dependency([[int(labels[i]) * entry for entry in rows[i]] for i, _ in pairs])
    if cancelling is not None:
        names = ", ".join(f"{pairs[k][0]} and {pairs[k][1]}" for k in cancelling)
        raise InputError(
            f"points: the pairs of opposite samples {names} with opposite labels need a linear part of the network that is "
            "positive on vectors with a positive combination 0; no network without a first-layer bias separates them"
        )
