"""Clarke weights at the kinks of a two-layer ReLU network, and the residual of its KKT conditions with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from provable.arithmetic import Float
from provable.max_margin.dual_tree import shortest_combination


@dataclass(frozen=True)
class KKTResidual:
    """How far a network and multipliers are from a Clarke KKT point, each number 0 at one.

    Attributes
    ----------
    stationarity : float
        ‖θ - Σ λ_i y_i g_i‖ / ‖θ‖ with the best elements g_i of the Clarke subdifferentials of f(x_i).
    margin : float
        Largest shortfall 1 - y_i f(x_i), or 0.
    slackness : float
        Largest λ_i (y_i f(x_i) - 1) in absolute value, relative to Σ λ_i.
    """

    stationarity: float
    margin: float
    slackness: float

    @property
    def largest(self) -> float:
        """The largest of the three.

        Returns
        -------
        float
            At least 0.
        """
        return max(self.stationarity, self.margin, self.slackness)


def clarke_weights(inputs: Float, coefficients: Float, hidden: Float, outer: Float, *, kink: float = 1e-11) -> Float:
    """Slopes of the ReLU at every sample and neuron, at kinks such that the network is stationary if it can be.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    coefficients : ndarray of shape (n,)
        c_i = λ_i y_i.
    hidden : ndarray of shape (K, D)
        w_k, with biases.
    outer : ndarray of shape (K,)
        v_k.
    kink : float, optional
        Pre-activations up to this multiple of ‖w_k‖ ‖x̃_i‖ count as zero.

    Returns
    -------
    ndarray of shape (n, K)
        s_ik: 1 and 0 off the kinks, and in [0, 1] on them, such that ‖w_k - v_k Σ_i c_i s_ik x̃_i‖ is smallest.
    """
    values = inputs @ hidden.T
    norms = np.linalg.norm(inputs, axis=1)
    weights = (values > 0).astype(np.float64)
    on_kink = np.abs(values) <= kink * norms[:, None] * np.linalg.norm(hidden, axis=1)
    for k in np.flatnonzero(on_kink.any(axis=0)):
        free = np.flatnonzero(on_kink[:, k] & (coefficients != 0))
        weights[on_kink[:, k], k] = 0.0
        if len(free):
            rest = outer[k] * ((coefficients * weights[:, k]) @ inputs) - hidden[k]
            scale = np.abs(outer[k] * coefficients[free]) * norms[free]
            vectors = (outer[k] * coefficients[free])[:, None] * inputs[free] / scale[:, None]
            shares = shortest_combination(vectors, np.zeros(len(free)), scale, rest)
            weights[free, k] = np.clip(shares / scale, 0.0, 1.0)
    return weights


def kkt_residual(
    inputs: Float, labels: Float, multipliers: Float, hidden: Float, outer: Float, weights: Float
) -> KKTResidual:
    """Residuals of the KKT conditions of min ½‖θ‖² subject to margins of at least 1.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    labels : ndarray of shape (n,)
        ±1.
    multipliers : ndarray of shape (n,)
        λ ≥ 0.
    hidden : ndarray of shape (K, D)
        w_k, with biases.
    outer : ndarray of shape (K,)
        v_k.
    weights : ndarray of shape (n, K)
        The Clarke weights.

    Returns
    -------
    KKTResidual
        Numerical.
    """
    values = np.maximum(inputs @ hidden.T, 0.0)
    coefficients = multipliers * labels
    off = hidden - outer[:, None] * ((coefficients[:, None] * weights).T @ inputs)
    off_outer = outer - coefficients @ values
    excess = labels * (values @ outer) - 1.0
    norm = np.sqrt(np.sum(hidden**2) + np.sum(outer**2))
    return KKTResidual(
        float(np.sqrt(np.sum(off**2) + np.sum(off_outer**2)) / norm),
        float(max(0.0, np.max(-excess))),
        float(np.max(np.abs(multipliers * excess)) / np.sum(multipliers)),
    )
