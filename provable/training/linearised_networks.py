r"""Linearised training of finite networks, and the change of parameters that it leaves: an exact tangent embedding.

Notes
-----
Training a network's linearisation at θ_0 on the squared loss gives :math:`\theta_t - \theta_0 = \Phi_{\theta_0}\mu_t`,
:math:`\mu_t = \sum_i \alpha_{t,i}\delta_{x_i}`, at every stopping time t: an observation of kind ``"parameter-change"``
without any error of linearisation. The coefficients come in closed form from the tangent kernel at θ_0
(`provable.training.linearised`), so that a million steps cost as much as one.

Everything is in the standard parametrisation, which the architecture's layers have. In the NTK parametrisation a
layer's weight is sW with entries of W from N(0, 1); descent on W at the rate η is descent on sW at the rate s²η. Its
kernel is that of the standard parametrisation with the part of each layer weighted by its s², and its change of sW is
s² times that layer's part of the tangent embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, tangent_kernel
from provable.observations import Observation
from provable.observations.labels import check_labels
from provable.training import linearised
from provable.training.linearised import LinearisedTraining


@dataclass(frozen=True, eq=False)
class TrainedLinearisation:
    """A linearised network after training, and what an observer of its parameters holds.

    Attributes
    ----------
    observation : Observation
        Of kind ``"parameter-change"``: θ_0 and θ_t - θ_0.
    measure : Measure
        The samples with their coefficients α: the truth that an attack looks for.
    training : LinearisedTraining
        Coefficients, residuals and the rank of the kernel.
    kernel : ndarray of shape (n * C, n * C)
        The tangent kernel of the samples at θ_0.
    initial_outputs : ndarray of shape (n, C)
        f_0 at the samples.
    """

    observation: Observation
    measure: Measure
    training: LinearisedTraining
    kernel: Float
    initial_outputs: Float

    def outputs(self, points: ArrayLike) -> Float:
        """Evaluate the trained linearisation.

        Parameters
        ----------
        points : array_like of shape (m, *input_shape)
            Where to.

        Returns
        -------
        ndarray of shape (m, C)
            f_0 + Σ_i k(·, x_i) α_i there.

        Raises
        ------
        InputError
            If the points do not fit the architecture.
        """
        seen = self.observation
        start = forward(seen.architecture, seen.parameters, points)
        columns = tangent_kernel(seen.architecture, seen.parameters, points, self.measure.points)
        return self.training.outputs(columns, start)


def train_linearised(
    architecture: Architecture,
    parameters: Parameters,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    steps: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    reduction: str = "sum",
    tolerance: float | None = None,
    batch_size_known: bool = True,
    labels_known: bool = False,
) -> TrainedLinearisation:
    """Train a network's linearisation on the squared loss, to any stopping time.

    Parameters
    ----------
    architecture : Architecture
        The network; its loss is ``squared``.
    parameters : Parameters
        θ_0, float64.
    inputs : array_like of shape (n, *input_shape)
        The samples.
    labels : array_like of shape (n,) or (n, C)
        y; (n,) if there is one output.
    steps : int, optional
        Number of steps; default: until nothing changes any more (`provable.training.linearised.converged`).
    learning_rate : float, optional
        η; default 1/λ_max of the kernel (n times that for the mean), half the limit of stability.
    momentum : float, optional
        ρ in [0, 1).
    nesterov : bool, optional
        Whether the momentum is Nesterov's.
    reduction : {"sum", "mean"}, optional
        How the losses of the samples are put together.
    tolerance : float, optional
        Which eigenvalues of the kernel count as zero, as in `provable.training.linearised.gradient_descent`.
    batch_size_known : bool, optional
        Whether the observation says n.
    labels_known : bool, optional
        Whether the observation says the labels.

    Returns
    -------
    TrainedLinearisation
        The observation, the measure behind it, and how training went.

    Raises
    ------
    InputError
        If an argument does not fit; for a learning rate that is too large, with the limit.
    UnsupportedError
        For another loss than the squared one, whose linearised training has no closed form.
    """
    if architecture.loss != "squared":
        raise UnsupportedError(
            f"loss: found {architecture.loss}; linearised training has a closed form for squared only "
            "(provable.training.gradient_descent takes the steps for the other losses)"
        )
    points = np.asarray(inputs, dtype=np.float64)
    start = np.asarray(forward(architecture, parameters, points), dtype=np.float64)
    if not len(start):
        raise InputError("inputs: found no samples; one or more are accepted")
    targets = check_labels(architecture, np.asarray(labels), len(points))
    kernel = np.asarray(tangent_kernel(architecture, parameters, points), dtype=np.float64)
    # without a number of steps this refuses a rate or a momentum with which there would be no limit
    training = linearised.gradient_descent(
        kernel,
        targets,
        learning_rate=default_learning_rate(kernel, len(points), reduction) if learning_rate is None else learning_rate,
        steps=0 if steps is None else steps,
        momentum=momentum,
        nesterov=nesterov,
        initial_outputs=start,
        reduction=reduction,
        tolerance=tolerance,
    )
    if steps is None:
        training = linearised.converged(kernel, targets, initial_outputs=start, tolerance=tolerance)
    measure = Measure(points, training.coefficients)
    observation = Observation(
        kind="parameter-change",
        architecture=architecture,
        parameters=parameters,
        vector=dict(embed(architecture, parameters, measure)),
        reduction=reduction,
        batch_size=len(points) if batch_size_known else None,
        labels=targets if labels_known else None,
    )
    return TrainedLinearisation(observation, measure, training, kernel, start)


def default_learning_rate(kernel: Any, samples: int, reduction: str = "sum") -> float:
    """Half the stability limit of plain gradient descent on the squared loss.

    Parameters
    ----------
    kernel : ndarray
        Gram matrix of the tangent kernel, symmetric.
    samples : int
        n.
    reduction : {"sum", "mean"}, optional
        How the losses are put together.

    Returns
    -------
    float
        1/λ_max, n times that for the mean; 1 for a zero matrix.
    """
    limit = linearised.stability_limit(float(np.linalg.eigvalsh(kernel)[-1]))
    return 1.0 if math.isinf(limit) else limit / 2.0 * (samples if reduction == "mean" else 1)
