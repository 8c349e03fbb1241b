"""The losses of ``provable-architecture/1``: their values and their residuals ∂ℓ/∂f."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.special

from provable import arithmetic
from provable.architectures import LOSSES
from provable.arithmetic import Array
from provable.errors import InputError
from provable.measures import as_numbers


def _check(loss: str, outputs: Any, labels: Any) -> tuple[Array, Array]:
    if loss not in LOSSES:
        raise InputError(f"loss: found {loss!r:.60}; {', '.join(LOSSES)} are accepted")
    values = as_numbers(outputs, "outputs")
    if values.ndim != 2:
        raise InputError(f"outputs: found shape {values.shape}; (n, C) is accepted")
    n, count = values.shape
    given = np.asarray(labels)
    if loss == "cross_entropy":
        if given.shape != (n,) or (n and given.dtype.kind not in "iu"):
            found = f"shape {given.shape} and type {given.dtype}"
            raise InputError(f"labels: found {found} with cross_entropy; ({n},) integers are accepted")
        if n and not 0 <= given.min() <= given.max() < count:
            raise InputError(
                f"labels: found {given.min()} to {given.max()} with cross_entropy; 0 to {count - 1} are accepted"
            )
        return values, given.astype(np.intp)
    if given.shape == (n,) and count == 1:
        given = given[:, None]
    if given.shape != values.shape:
        raise InputError(f"labels: found shape {given.shape} with {loss}; {values.shape} is accepted")
    targets = as_numbers(given, "labels")
    if loss == "logistic":
        if count != 1:
            raise InputError(f"outputs: found {count} per sample with logistic; one is accepted")
        if not all(target in (1, -1) for target in targets.reshape(-1)):
            raise InputError("labels: found a label other than 1 and -1 with logistic; these two are accepted")
    if arithmetic.kind(values) != "float64" and arithmetic.kind(targets) == "float64":
        exact = np.empty(targets.shape, dtype=object)
        for index in np.ndindex(targets.shape):
            exact[index] = arithmetic.constant(float(targets[index]), values)
        targets = exact
    return values, targets


def _softplus(z: Array) -> Array:
    if arithmetic.kind(z) == "float64":
        return np.logaddexp(0.0, z)
    return np.asarray(arithmetic.log(1 + arithmetic.exp(z)))


def _relative_logits(values: Array, labels: Array) -> Array:
    chosen = values[np.arange(len(values)), labels]
    difference: Array = values - chosen[:, None]
    return difference


def value(loss: str, outputs: Any, labels: Any) -> Array:
    """The loss of each sample.

    Parameters
    ----------
    loss : {"squared", "logistic", "cross_entropy"}
        Which loss.
    outputs : array_like of shape (n, C)
        Network outputs f.
    labels : array_like
        ``squared``: (n, C), or (n,) if C = 1; ``logistic``: ±1, (n,); ``cross_entropy``: integers from 0, (n,).

    Returns
    -------
    ndarray of shape (n,)
        Σ_k ½(f_k - y_k)²; log(1 + exp(-y f)); log Σ_k exp(f_k) - f_y. No overflow, and full relative accuracy for
        small losses.

    Raises
    ------
    InputError
        If the labels do not fit the loss and the outputs.
    """
    values, targets = _check(loss, outputs, labels)
    if loss == "squared":
        difference = values - targets
        result: Array = (difference * difference).sum(axis=1) / 2
        return result
    if loss == "logistic":
        return _softplus(-targets * values)[:, 0]
    logits = _relative_logits(values, targets)
    if arithmetic.kind(logits) != "float64":
        return np.asarray(arithmetic.log(np.asarray(arithmetic.exp(logits)).sum(axis=1)))
    # log1p of the others' share keeps the relative accuracy of a loss near zero
    rows, largest = np.arange(len(logits)), logits.argmax(axis=1)
    top = logits[rows, largest]
    others = np.exp(logits - top[:, None])
    others[rows, largest] = 0.0
    return np.asarray(top + np.log1p(others.sum(axis=1)))


def residual(loss: str, outputs: Any, labels: Any) -> Array:
    """The derivative ∂ℓ/∂f of each sample's loss: the coefficients with which its tangents enter the gradient.

    Parameters
    ----------
    loss : {"squared", "logistic", "cross_entropy"}
        Which loss.
    outputs : array_like of shape (n, C)
        Network outputs f.
    labels : array_like
        As for `value`.

    Returns
    -------
    ndarray of shape (n, C)
        f - y; -y / (1 + exp(y f)); softmax(f) - e_y, where the entry of the label is minus the sum of the others.

    Raises
    ------
    InputError
        If the labels do not fit the loss and the outputs.
    """
    values, targets = _check(loss, outputs, labels)
    if loss == "squared":
        return np.asarray(values - targets)
    exact = arithmetic.kind(values) != "float64"
    if loss == "logistic":
        if exact:
            return np.asarray(-targets / (1 + np.asarray(arithmetic.exp(targets * values))))
        return np.asarray(-targets * scipy.special.expit(-targets * values))
    rows = np.arange(len(values))
    if exact:
        powers = np.asarray(arithmetic.exp(_relative_logits(values, targets)))
        shares = powers / powers.sum(axis=1)[:, None]
    else:
        shares = scipy.special.softmax(values, axis=1)
    shares[rows, targets] = arithmetic.constant(0, values)
    shares[rows, targets] = -shares.sum(axis=1)
    return np.asarray(shares)


def curvature(loss: str, outputs: Any, labels: Any) -> Array:
    """The second derivative ∂²ℓ/∂f² of each sample's loss.

    Parameters
    ----------
    loss : {"squared", "logistic", "cross_entropy"}
        Which loss.
    outputs : array_like of shape (n, C)
        Network outputs f.
    labels : array_like
        As for `value`; the second derivatives do not depend on them.

    Returns
    -------
    ndarray of shape (n, C, C)
        I; σ(f) σ(-f); diag(p) - p pᵀ with p = softmax(f), where p_i (1 - p_i) is p_i times the sum of the others.

    Raises
    ------
    InputError
        If the labels do not fit the loss and the outputs.
    """
    values = _check(loss, outputs, labels)[0]
    n, count = values.shape
    result = arithmetic.full((n, count, count), 0, values)
    diagonal = np.arange(count)
    if loss == "squared":
        result[:, diagonal, diagonal] = arithmetic.constant(1, values)
        return result
    exact = arithmetic.kind(values) != "float64"
    if loss == "logistic":
        if exact:
            powers = np.asarray(arithmetic.exp(values))
            result[:, 0, :] = powers / ((1 + powers) * (1 + powers))
        else:
            result[:, 0, :] = scipy.special.expit(values) * scipy.special.expit(-values)
        return result
    if exact:
        powers = np.asarray(arithmetic.exp(values - values[:, :1]))
        shares = powers / powers.sum(axis=1)[:, None]
    else:
        shares = scipy.special.softmax(values, axis=1)
    result -= shares[:, :, None] * shares[:, None, :]
    result[:, diagonal, diagonal] = arithmetic.constant(0, values)
    result[:, diagonal, diagonal] = -result.sum(axis=2)
    return result
