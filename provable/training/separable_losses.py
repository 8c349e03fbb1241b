r"""Losses in training to stationarity: sums, slopes and bends, and the logarithm of a loss that has vanished.

Notes
-----
Without weight decay training lowers :math:`L = \sum_i \ell(q_i)`, :math:`q_i = y_i f_i`, below the smallest float. Its
logarithm stays moderate, and so does the gradient of that,

.. math:: \nabla \log L = -\sum_i p_i y_i \nabla f_i, \qquad p_i = -\ell'(q_i) / L,

with the shares p_i, which say what each sample contributes to the direction of a step. For the exponential loss
:math:`\ell(q) = e^{-q}` they are a softmax and add up to one; for the logistic loss :math:`\ell(q) = \log(1 + e^{-q})` to
less.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.networks import losses

SEPARABLE = ("logistic", "exponential")
"""Losses of one logit that fall to zero as margins grow."""

LARGE_MARGIN = 30.0
"""Beyond this margin, log(log(1 + exp(-q))) is -q to the last bit but a few."""


def total(loss: str, outputs: Float, labels: NDArray[Any]) -> float:
    """The loss of all samples.

    Parameters
    ----------
    loss : {"logistic", "exponential", "squared", "cross_entropy"}
        Which loss.
    outputs : ndarray of shape (n, C)
        Outputs f.
    labels : ndarray
        Labels as the loss wants them; the exponential one as the logistic one.

    Returns
    -------
    float
        Σ_i ℓ_i.
    """
    if loss == "exponential":
        return float(np.exp(-labels * outputs[:, 0]).sum())
    return float(losses.value(loss, outputs, labels).sum())


def slopes(loss: str, outputs: Float, labels: NDArray[Any]) -> Float:
    """First derivatives of the losses.

    Parameters
    ----------
    loss : str
        As for `total`.
    outputs : ndarray of shape (n, C)
        Outputs f.
    labels : ndarray
        Labels.

    Returns
    -------
    ndarray of shape (n, C)
        ∂ℓ_i/∂f.
    """
    if loss == "exponential":
        return np.asarray(-labels * np.exp(-labels * outputs[:, 0]))[:, None]
    return np.asarray(losses.residual(loss, outputs, labels), dtype=np.float64)


def bends(loss: str, outputs: Float, labels: NDArray[Any]) -> Float:
    """Second derivatives of the losses.

    Parameters
    ----------
    loss : str
        As for `total`.
    outputs : ndarray of shape (n, C)
        Outputs f.
    labels : ndarray
        Labels.

    Returns
    -------
    ndarray of shape (n, C, C)
        ∂²ℓ_i/∂f².
    """
    if loss == "exponential":
        return np.asarray(np.exp(-labels * outputs[:, 0]))[:, None, None]
    return np.asarray(losses.curvature(loss, outputs, labels), dtype=np.float64)


def log_total(loss: str, margins: Float) -> tuple[float, Float]:
    """The logarithm of the loss of all samples, and the shares of the samples in its gradient.

    Parameters
    ----------
    loss : {"logistic", "exponential"}
        Which loss.
    margins : ndarray of shape (n,)
        q_i = y_i f_i, of any size.

    Returns
    -------
    value : float
        log Σ_i ℓ(q_i).
    shares : ndarray of shape (n,)
        p_i = -ℓ'(q_i)/Σ_j ℓ(q_j).
    """
    if loss == "exponential":
        logarithms = slope = -margins
    else:
        small = np.minimum(margins, LARGE_MARGIN)
        logarithms = np.where(margins > LARGE_MARGIN, -margins, np.log(np.logaddexp(0.0, -small)))
        slope = -np.logaddexp(0.0, margins)
    top = logarithms.max()
    value = float(top + np.log(np.exp(logarithms - top).sum()))
    return value, np.exp(slope - value)
