"""The point at which numerical metrics are evaluated: parameters, samples and their labels, drawn or given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.architectures import Architecture
from provable.arithmetic import Array
from provable.errors import InputError
from provable.networks import GradientJacobian, Parameters, gradient_jacobian


@dataclass(frozen=True, eq=False)
class Instance:
    """A network with parameters, at one sample or at the samples of a batch.

    Parameters
    ----------
    parameters : Parameters
        θ, and with it the architecture.
    inputs : ndarray of shape (batch size, *input_shape)
        The samples x.
    labels : ndarray
        Their labels, as for ``provable.networks.losses.value``.
    description : str
        Where the three come from.
    """

    parameters: Parameters
    inputs: Array
    labels: Array
    description: str

    def jacobian(self) -> GradientJacobian:
        """The derivative of x ↦ Σ_j ∇_θ ℓ(f(x_j; θ), y_j) at this point.

        Returns
        -------
        GradientJacobian
            J, with one row for each parameter and one column for each input value.
        """
        return gradient_jacobian(self.parameters.architecture, self.parameters, self.inputs, self.labels)


def random_instance(
    architecture: Architecture, *, batch_size: int = 1, rng: int | np.random.Generator | None = None
) -> Instance:
    """Draw parameters, samples and labels.

    Parameters
    ----------
    architecture : Architecture
        The network.
    batch_size : int
        Number of samples behind the gradient.
    rng : int or numpy.random.Generator, optional
        Seed or generator; 0 by default.

    Returns
    -------
    Instance
        Parameters from ``Parameters.random`` (weights with variance 2 / fan-in), standard normal samples and uniform
        labels, standard normal for the squared loss.

    Raises
    ------
    InputError
        If the batch size is no positive or the seed no nonnegative integer.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size: found {str(batch_size)[:40]!r}; a positive integer is accepted")
    given = 0 if rng is None else rng
    if not isinstance(given, np.random.Generator) and (
        isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0
    ):
        raise InputError(
            f"rng: found {str(given)[:40]!r}; a nonnegative integer or a numpy.random.Generator is accepted"
        )
    generator = np.random.default_rng(given)
    parameters = Parameters.random(architecture, rng=generator)
    inputs = generator.standard_normal((batch_size, *architecture.input_shape))
    labels: Any
    if architecture.loss == "cross_entropy":
        labels = generator.integers(0, architecture.output_size, batch_size)
    elif architecture.loss == "logistic":
        labels = generator.choice([-1.0, 1.0], batch_size)
    else:
        labels = generator.standard_normal((batch_size, architecture.output_size))
    seed = "a given generator" if isinstance(given, np.random.Generator) else f"seed {given}"
    what = "sample, random label" if batch_size == 1 else f"samples ({batch_size}), random labels"
    return Instance(
        parameters,
        inputs,
        np.asarray(labels),
        f"random weights of variance 2 / fan-in, standard normal {what} ({seed})",
    )
