r"""Labels of samples at a stationary point, and whether the samples can be those of one training.

The coefficients say the labels by their signs, but not by their sizes, as those of a gradient do: with weight decay w they
are :math:`c_j = -\ell'(f(x_j), y_j) / w`, with w unknown, and at a largest margin they are the multipliers :math:`\lambda_j
y_j`, of any size. What one training has in common is w, or the margin: two samples are enough to test that.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.networks import forward, losses
from provable.observations import Observation

Float = NDArray[np.float64]

LABEL_ERROR = 2.0**-10
"""Margins and weight decays this near, relatively, are one: training to a stationary point leaves less."""


@dataclasses.dataclass(frozen=True, eq=False)
class SampleLabels:
    """What samples at a stationary point say of labels.

    Parameters
    ----------
    labels : array of shape (n,), or (n, C), or None
        Labels, None if nothing shows them.
    remark : str
        What they have in common, or what contradicts one training.
    possible : bool
        Whether the samples can be those of one training; True where nothing tests that.
    """

    labels: NDArray[Any] | None
    remark: str
    possible: bool


def sample_labels(
    observation: Observation, points: Float, coefficients: Float, *, scales_open: bool = False
) -> SampleLabels:
    """Find the labels of samples, and test whether they have one margin or one weight decay.

    Parameters
    ----------
    observation : Observation
        A stationary point.
    points : array of shape (n, *input_shape)
        Samples.
    coefficients : array of shape (n, C)
        Their coefficients.
    scales_open : bool, optional
        Whether each sample is known up to a positive factor, with the network homogeneous in it, so that any margins can be
        made equal.

    Returns
    -------
    SampleLabels
        For ``logistic`` and ``cross_entropy`` by the signs of the coefficients. For ``squared`` :math:`y = f + w c` shows no
        label unless those stated have one w.
    """
    outputs = np.asarray(forward(observation.architecture, observation.parameters, points), dtype=np.float64)
    loss = observation.architecture.loss
    if loss == "squared":
        return _regression(observation, outputs, coefficients)
    if loss == "logistic":
        if not np.all(coefficients):
            return SampleLabels(None, "labels are not shown: a coefficient is zero", False)
        labels: NDArray[Any] = np.sign(coefficients[:, 0])
        margins = labels * outputs[:, 0]
    else:
        labels = np.argmax(coefficients, axis=1)
        sizes = np.max(np.abs(coefficients), axis=1)
        rows = np.arange(len(labels))
        if np.any(np.abs(np.sum(coefficients, axis=1)) > LABEL_ERROR * sizes):
            return SampleLabels(None, "labels are not shown: coefficients of a sample do not add up to zero", False)
        others = outputs.copy()
        others[rows, labels] = -np.inf
        margins = outputs[rows, labels] - np.max(others, axis=1)
    if scales_open and np.all(margins > 0):
        return SampleLabels(labels, "with one choice of the scales all samples have one margin", True)
    with np.errstate(all="ignore"):
        wanted = -losses.residual(loss, outputs, labels)
        decays = np.linalg.norm(wanted, axis=1) / np.linalg.norm(coefficients, axis=1)
        parallel = np.linalg.norm(wanted - decays[:, None] * coefficients, axis=1) <= LABEL_ERROR * np.linalg.norm(
            wanted, axis=1
        )
    if bool(np.all(parallel)) and _are_one(decays):
        say = f"all coefficients are those of training with weight decay {float(np.mean(decays)):.4g}"
        if len(labels) == 1:
            say = (
                f"the coefficient is that of training with weight decay {float(decays[0]):.4g}, or of a largest margin"
            )
        return SampleLabels(labels, say, True)
    if _are_one(margins):
        return SampleLabels(labels, f"all samples have the margin {float(np.mean(margins)):.6g}", True)
    return SampleLabels(
        None,
        f"the samples are not those of one training: their margins go from {np.min(margins):.4g} to {np.max(margins):.4g}, "
        f"and their coefficients belong to weight decays from {np.min(decays):.4g} to {np.max(decays):.4g} "
        f"under the loss {loss}",
        False,
    )


def _are_one(numbers: Float) -> bool:
    return bool(np.all(numbers > 0) and np.ptp(numbers) <= LABEL_ERROR * np.max(numbers))


def _regression(observation: Observation, outputs: Float, coefficients: Float) -> SampleLabels:
    if observation.labels is not None and len(observation.labels) == len(outputs):
        known = np.asarray(observation.labels, dtype=np.float64).reshape(len(outputs), -1)
        for label in known:  # that of the first sample: the others have to agree on its weight decay
            decay = float((label - outputs[0]) @ coefficients[0] / (coefficients[0] @ coefficients[0]))
            found = outputs + decay * coefficients
            nearest = np.argmin(np.linalg.norm(found[:, None] - known[None], axis=2), axis=1)
            error = float(np.max(np.abs(found - known[nearest])))
            if decay > 0 and len(set(nearest)) == len(known) and error <= LABEL_ERROR * float(np.max(np.abs(known))):
                return SampleLabels(known[nearest], f"the weight decay is {decay:.4g}", True)
        return SampleLabels(None, "no weight decay explains the labels stated", False)
    return SampleLabels(None, "labels are f + w c with an unknown weight decay w", True)
