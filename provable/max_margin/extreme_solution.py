"""From an optimum of the convex program to one with few neurons: parallel ones joined, then at most n (Carathéodory)."""

from __future__ import annotations

import numpy as np

from provable.arithmetic import Float


def joined_neurons(
    neurons: Float, signs: Float, heights: Float, *, same: float = 1e-6, negligible: float = 1e-5
) -> tuple[Float, Float]:
    """Join neurons that are nearly parallel, and leave out those that an interior-point method has not made zero yet.

    Parameters
    ----------
    neurons : ndarray of shape (K, D)
        The u.
    signs : ndarray of shape (K,)
        Signs of the output weights.
    heights : ndarray of shape (K,)
        σ h(u)/‖u‖: 1 where the dual constraint is tight.
    same : float, optional
        Distance below which two unit vectors count as one, for neurons of one sign.
    negligible : float, optional
        Neurons are left out whose ratio of length to dual slack is at most this share of the largest ratio. Complementary
        slackness makes either of the two zero, and an interior-point method their product small.

    Returns
    -------
    neurons : ndarray of shape (k, D)
        Sums of the neurons that count as one.
    signs : ndarray of shape (k,)
        Their signs.
    """
    lengths = np.linalg.norm(neurons, axis=1)
    directions: list[Float] = []
    sums: list[Float] = []
    kept: list[float] = []
    # 1e-9: a slack below the solver's accuracy says nothing
    ratios = lengths / (np.abs(1.0 - heights) + 1e-9)
    for k in np.argsort(-lengths, kind="stable"):
        if ratios[k] <= negligible * ratios.max():
            continue
        unit = neurons[k] / lengths[k]
        for place, (other, sign) in enumerate(zip(directions, kept, strict=True)):
            if sign == signs[k] and np.linalg.norm(unit - other) <= same:
                sums[place] = sums[place] + neurons[k]
                break
        else:
            directions.append(unit)
            sums.append(neurons[k])
            kept.append(float(signs[k]))
    return np.array(sums), np.array(kept)


def extreme_neurons(inputs: Float, labels: Float, neurons: Float, signs: Float) -> tuple[Float, Float]:
    """Choose at most n of the neurons, in new lengths, with the same or a smaller sum of lengths.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    labels : ndarray of shape (n,)
        ±1.
    neurons : ndarray of shape (K, D)
        The u of a network with margins of at least 1, up to the accuracy of the solver.
    signs : ndarray of shape (K,)
        Signs of the output weights.

    Returns
    -------
    neurons : ndarray of shape (k, D)
        k ≤ n; those given, if the program fails.
    signs : ndarray of shape (k,)
        Their signs.

    Notes
    -----
    A vertex of the linear program over the lengths: min Σ a_k, Σ_k a_k y_i σ_k relu(û_k·x̃_i) ≥ 1, a ≥ 0 has at most n
    positive a_k, as many as it has constraints besides a ≥ 0.
    """
    from scipy.optimize import linprog

    units = neurons / np.linalg.norm(neurons, axis=1)[:, None]
    gains = labels[:, None] * np.maximum(inputs @ units.T, 0.0) * signs
    # 1e-7: what the solver leaves of the margins must not make the program infeasible
    solution = linprog(np.ones(len(units)), A_ub=-gains, b_ub=-np.full(len(labels), 1.0 - 1e-7), method="highs-ds")
    if solution.x is None:
        return neurons, signs
    chosen = solution.x > 1e-9 * solution.x.max()
    return units[chosen] * solution.x[chosen, None], signs[chosen]
