"""The point at which numerical metrics are evaluated: parameters, one sample and its label, drawn or given."""

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
    """A network with parameters, at one sample.

    Parameters
    ----------
    parameters : Parameters
        θ, and with it the architecture.
    inputs : ndarray of shape (1, *input_shape)
        The sample x.
    labels : ndarray
        Its label, as for ``provable.networks.losses.value``.
    description : str
        Where the three come from.
    """

    parameters: Parameters
    inputs: Array
    labels: Array
    description: str

    def jacobian(self) -> GradientJacobian:
        """The derivative of x ↦ ∇_θ ℓ(f(x; θ), y) at this point.

        Returns
        -------
        GradientJacobian
            J, with one row for each parameter and one column for each input value.
        """
        return gradient_jacobian(self.parameters.architecture, self.parameters, self.inputs, self.labels)


def random_instance(architecture: Architecture, *, rng: int | np.random.Generator | None = None) -> Instance:
    """Draw parameters, a sample and a label.

    Parameters
    ----------
    architecture : Architecture
        The network.
    rng : int or numpy.random.Generator, optional
        Seed or generator; 0 by default.

    Returns
    -------
    Instance
        Parameters from ``Parameters.random`` (weights with variance 2 / fan-in), a standard normal sample and a uniform
        label, standard normal for the squared loss.

    Raises
    ------
    InputError
        If the seed is no nonnegative integer.
    """
    given = 0 if rng is None else rng
    if not isinstance(given, np.random.Generator) and (
        isinstance(given, bool) or not isinstance(given, int | np.integer) or given < 0
    ):
        raise InputError(
            f"rng: found {str(given)[:40]!r}; a nonnegative integer or a numpy.random.Generator is accepted"
        )
    generator = np.random.default_rng(given)
    parameters = Parameters.random(architecture, rng=generator)
    inputs = generator.standard_normal((1, *architecture.input_shape))
    labels: Any
    if architecture.loss == "cross_entropy":
        labels = generator.integers(0, architecture.output_size, 1)
    elif architecture.loss == "logistic":
        labels = generator.choice([-1.0, 1.0], 1)
    else:
        labels = generator.standard_normal((1, architecture.output_size))
    seed = "a given generator" if isinstance(given, np.random.Generator) else f"seed {given}"
    return Instance(
        parameters,
        inputs,
        np.asarray(labels),
        f"random weights of variance 2 / fan-in, standard normal sample, random label ({seed})",
    )
