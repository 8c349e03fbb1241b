r"""The reconstruction loss :math:`\|\Delta\theta - \sum_j \hat\alpha_j \nabla_\theta f(\hat x_j)\|^2` and its gradient."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.parameter_matching.dense_relu import DenseReLU

Float = NDArray[np.float64]

FEATURES = ("initial", "final", "both")
"""At which parameters tangents are taken: θ of the observation, θ + Δθ, or either with coefficients of its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class ReconstructionLoss:
    """The loss of candidates, whose tangents are taken in one network or in several.

    Parameters
    ----------
    networks : tuple of DenseReLU
        The networks, with the same shapes; every candidate has coefficients for each.
    target : mapping of str to array
        Δθ, what was observed of it.
    """

    networks: tuple[DenseReLU, ...]
    target: Mapping[str, Float]

    @classmethod
    def of(cls, observation: Observation, features: str = "initial") -> ReconstructionLoss:
        """Make the loss of an observed change of parameters.

        Parameters
        ----------
        observation : Observation
            Of kind ``parameter-change``, of a dense ReLU network.
        features : {"initial", "final", "both"}, optional
            Where tangents are taken. For a linearised network, θ of the observation; in standard dynamics the published
            attack takes the end of the training, θ + Δθ, or both.

        Returns
        -------
        ReconstructionLoss
            The loss.

        Raises
        ------
        InputError
            If the features have another name.
        UnsupportedError
            If the network is no dense ReLU chain, or the end of the training is wanted and not all of Δθ was observed.
        """
        if features not in FEATURES:
            raise InputError(f"features: found {features!r:.60}; {', '.join(FEATURES)} are accepted")
        points = [observation.parameters] if features != "final" else []
        if features != "initial":
            points.append(final_parameters(observation))
        networks = tuple(DenseReLU.of(observation.architecture, parameters) for parameters in points)
        return cls(networks, observation.vector)

    @property
    def outputs(self) -> int:
        """The number C of outputs."""
        return int(self.networks[0].weights[-1].shape[0])

    @property
    def dimension(self) -> int:
        """The number d of input values."""
        return int(self.networks[0].weights[0].shape[1])

    @property
    def scale(self) -> float:
        """‖Δθ‖², to which losses are relative."""
        return math.fsum(float(np.vdot(piece, piece)) for piece in self.target.values())

    def value(self, points: Float, coefficients: Float, sharpness: float | None = None) -> float:
        """Evaluate the loss.

        Parameters
        ----------
        points : array of shape (M, d)
            Candidates.
        coefficients : array of shape (number of networks, M, C)
            Their coefficients.
        sharpness : float, optional
            β, for softplus(βz)/β in the place of ReLU.

        Returns
        -------
        float
            The sum of squares over everything observed.
        """
        return self.value_and_gradient(points, coefficients, sharpness)[0]

    def value_and_gradient(
        self, points: Float, coefficients: Float, sharpness: float | None = None
    ) -> tuple[float, Float, Float]:
        """Evaluate the loss and its gradient.

        Parameters
        ----------
        points : array of shape (M, d)
            Candidates.
        coefficients : array of shape (number of networks, M, C)
            Their coefficients.
        sharpness : float, optional
            β, for softplus(βz)/β in the place of ReLU; its second derivative is part of the gradient.

        Returns
        -------
        value : float
            The loss.
        by_points : array of shape (M, d)
            Its gradient by the candidates; for ReLU, where the loss jumps at kinks, that between them.
        by_coefficients : array of shape (number of networks, M, C)
            Its gradient by the coefficients.
        """
        misfit = {key: -piece for key, piece in self.target.items()}
        passed = [network.forward(points, sharpness) for network in self.networks]
        deltas = [
            network.sensitivities(one, some)
            for network, one, some in zip(self.networks, passed, coefficients, strict=True)
        ]
        for network, one, some in zip(self.networks, passed, deltas, strict=True):
            for key, piece in network.embedding(one, some).items():
                if key in misfit:
                    misfit[key] += piece
        value = sum(float(np.vdot(piece, piece)) for piece in misfit.values())
        by_points, by_coefficients = np.zeros_like(points), np.empty_like(coefficients)
        for index, (network, one, some) in enumerate(zip(self.networks, passed, deltas, strict=True)):
            by_coefficients[index], part = network.pairing(one, some, misfit)
            by_points += part
        return value, 2 * by_points, 2 * by_coefficients


def final_parameters(observation: Observation) -> Parameters:
    """Give the parameters at the end of the training, θ + Δθ.

    Parameters
    ----------
    observation : Observation
        Of kind ``parameter-change``.

    Returns
    -------
    Parameters
        The sum.

    Raises
    ------
    UnsupportedError
        If a piece of Δθ was not observed.
    """
    missing = [key for key in observation.architecture.parameter_shapes if key not in observation.vector]
    if missing:
        raise UnsupportedError(
            f"the change of {missing[0]} was not observed, so the parameters at the end of the training are not known"
        )
    return Parameters(
        observation.architecture,
        {
            key: observation.parameters[key] + observation.vector[key]
            for key in observation.architecture.parameter_shapes
        },
    )


def loss_at(
    observation: Observation,
    points: ArrayLike,
    coefficients: ArrayLike,
    *,
    features: str = "initial",
    sharpness: float | None = None,
) -> float:
    """Evaluate the reconstruction loss of known points, relative to ‖Δθ‖²: at the truth, say.

    Parameters
    ----------
    observation : Observation
        Of kind ``parameter-change``, of a dense ReLU network.
    points : array of shape (n, *input_shape)
        The points.
    coefficients : array of shape (n,) or (n, C)
        Their coefficients.
    features : {"initial", "final"}, optional
        Where tangents are taken.
    sharpness : float, optional
        β of the softplus that an attack minimises with; ReLU by default.

    Returns
    -------
    float
        0 for the training set and its α in a linearised network, and ReLU; not for softplus, whose minima are elsewhere.
    """
    loss = ReconstructionLoss.of(observation, features)
    flat = np.asarray(points, dtype=np.float64)
    flat = flat.reshape(len(flat), -1)
    weights = np.asarray(coefficients, dtype=np.float64).reshape(len(loss.networks), len(flat), loss.outputs)
    return loss.value(flat, weights, sharpness) / loss.scale
