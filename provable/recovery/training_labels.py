r"""What a change of parameters says of labels, and what labels say of norms.

A network that is trained in its linearisation at θ until it interpolates has outputs

.. math:: f(x; \theta) + \langle \nabla_\theta f(x; \theta), v \rangle, \qquad v = \sum_j c_j \nabla_\theta f(x_j; \theta),

equal to the labels at the samples. If f is positively homogeneous of degree one in x, this output is too, so a label y of a
sample on the ray of u fixes its norm: the output at u is y / ‖x‖ for ‖u‖ = 1.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.measures import Measure
from provable.networks import embed, forward
from provable.observations import Observation
from provable.recovery.result import Recovery

Float = NDArray[np.float64]

LABEL_ERROR = 2.0**-20
"""Outputs this near to labels, relative to the largest label, are those: training that interpolates ends at rounding or at a
stated loss, and one that does not is off by far more."""


def linearised_outputs(observation: Observation, points: Float) -> Float | None:
    r"""Evaluate the network that training in the linearisation leaves.

    Parameters
    ----------
    observation : Observation
        A change of parameters v at θ.
    points : array of shape (n, *input_shape)
        Where to.

    Returns
    -------
    array of shape (n, C) or None
        :math:`f(x; \theta) + \langle \nabla_\theta f(x; \theta), v \rangle`; None if a piece of v was not observed.
    """
    architecture, parameters = observation.architecture, observation.parameters
    if any(key not in observation.vector for key in architecture.parameter_shapes):
        return None
    outputs = np.array(forward(architecture, parameters, points), dtype=np.float64)
    units = np.eye(architecture.output_size)
    for sample, output in np.ndindex(outputs.shape):
        gradient = embed(architecture, parameters, Measure(points[sample : sample + 1], units[output : output + 1]))
        outputs[sample, output] += sum(
            float(np.vdot(gradient[key], piece)) for key, piece in observation.vector.items()
        )
    return outputs


def trained_labels(
    observation: Observation, points: Float, coefficients: Float
) -> tuple[NDArray[np.float64] | NDArray[np.int64] | None, str]:
    r"""Find the labels of samples that a network was trained on.

    Parameters
    ----------
    observation : Observation
        A change of parameters.
    points : array of shape (n, *input_shape)
        The samples found.
    coefficients : array of shape (n, C)
        Their coefficients.

    Returns
    -------
    labels : array of shape (n,) or (n, C), or None
        For ``cross_entropy`` and ``logistic`` the classes that the signs of the coefficients show; for ``squared`` the
        outputs of the linearised network, rounded to labels stated or of the form -1 and 1. None if nothing shows them.
    remark : str
        Why there are none; empty if there are.

    Notes
    -----
    A step of gradient descent adds a multiple of :math:`-\partial\ell/\partial f` to a sample's coefficient. For
    ``cross_entropy`` that is :math:`y - p`, whose entries add up to zero and of which the label's alone is positive; for
    ``logistic`` it has the sign of y. Both survive addition over steps.
    """
    if observation.architecture.loss != "squared":
        return _classes(observation, coefficients)
    outputs = linearised_outputs(observation, points)
    if outputs is None or not np.all(np.isfinite(outputs)):
        return None, "labels are not shown: that takes all pieces of the change of parameters"
    signs = np.where(outputs < 0, -1.0, 1.0)
    if np.max(np.abs(outputs - signs)) <= LABEL_ERROR:
        return _as_labels(observation, signs), ""
    if observation.labels is not None and len(observation.labels) == len(points):
        known = np.asarray(observation.labels, dtype=np.float64).reshape(len(points), -1)
        if known.shape == outputs.shape:
            nearest = np.argmin(np.linalg.norm(outputs[:, None] - known[None], axis=2), axis=1)
            if np.max(np.abs(outputs - known[nearest])) <= LABEL_ERROR * max(1.0, float(np.max(np.abs(known)))):
                return _as_labels(observation, known[nearest]), ""
    return None, "labels are not shown: the linearised network does not interpolate labels -1 and 1, or those stated"


def with_norms(observation: Observation, recovery: Recovery) -> Recovery:
    """Choose the norms of samples that are known up to positive scaling so that the labels are interpolated.

    Parameters
    ----------
    observation : Observation
        What was observed; labels of one magnitude, like -1 and 1, are used if it is a change of parameters.
    recovery : Recovery
        What a method found.

    Returns
    -------
    Recovery
        With points (t x, c / t) such that the linearised network has outputs of the labels' magnitude there, without
        ``"positive-scaling"`` in the fibre, and with the labels; as it was if norms are not open, labels are not known or of
        several magnitudes, an output vanishes, or the signs of the outputs are not those of the labels.

    Notes
    -----
    Norms so chosen are wrong if training stopped before it interpolated, and nothing in the change shows that: there is one
    norm for each label.
    """
    labels = observation.labels
    if observation.kind != "parameter-change" or "positive-scaling" not in recovery.fibre or labels is None:
        return recovery
    if recovery.status not in ("certified", "consistent"):
        return recovery
    magnitudes = np.unique(np.abs(np.asarray(labels, dtype=np.float64)))
    outputs = linearised_outputs(observation, recovery.points)
    if len(magnitudes) != 1 or magnitudes[0] == 0 or outputs is None or outputs.shape[1] != 1:
        return recovery
    found = outputs[:, 0]
    if not np.all(np.isfinite(found)) or np.min(np.abs(found), initial=np.inf) <= LABEL_ERROR * np.max(np.abs(found)):
        return recovery
    if len(found) == len(labels) and np.sum(found > 0) != np.sum(np.asarray(labels, dtype=np.float64) > 0):
        remark = "norms stay open: the linearised network has other signs at the samples than the labels"
        return dataclasses.replace(recovery, reason="; ".join(part for part in (recovery.reason, remark) if part))
    factors = magnitudes[0] / np.abs(found)
    scaled = Measure(recovery.points, recovery.coefficients).rescaled(factors)
    remark = "norms are those with which the linearised network interpolates labels of the stated magnitude, if it does"
    return dataclasses.replace(
        recovery,
        points=scaled.points,
        coefficients=scaled.coefficients,
        labels=_as_labels(observation, np.sign(outputs) * magnitudes[0]),
        fibre=tuple(name for name in recovery.fibre if name != "positive-scaling"),
        reason="; ".join(part for part in (recovery.reason, remark) if part),
    )


def _as_labels(observation: Observation, outputs: Float) -> Float:
    """One number for each sample where the loss wants that."""
    return outputs[:, 0] if observation.architecture.loss == "logistic" else outputs


def _classes(
    observation: Observation, coefficients: Float
) -> tuple[NDArray[np.int64] | NDArray[np.float64] | None, str]:
    if observation.architecture.loss == "logistic":
        if np.all(coefficients):
            return np.sign(coefficients[:, 0]), ""
        return None, "labels are not shown: a coefficient is zero"
    sizes = np.max(np.abs(coefficients), axis=1)
    if np.all(np.count_nonzero(coefficients > 0, axis=1) == 1) and np.all(
        np.abs(np.sum(coefficients, axis=1)) <= LABEL_ERROR * sizes
    ):
        return np.argmax(coefficients, axis=1), ""
    return (
        None,
        "labels are not shown: the coefficients are not those of descent on the cross-entropy of single samples",
    )
