r"""The reconstruction loss :math:`\|\Delta\theta - \sum_j \hat\alpha_j \nabla_\theta f(\hat x_j)\|^2` and its gradient."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.errors import InputError
from provable.observations import Observation
from provable.recovery.parameter_matching.dense_relu import DenseReLU
from provable.recovery.parameter_matching.features import moved_parameters

Float = NDArray[np.float64]

FEATURES = ("initial", "final", "both", "middle")
"""At which parameters tangents are taken: θ of the observation, θ + Δθ, both with coefficients of their own, or θ + Δθ/2."""


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
        features : {"initial", "final", "both", "middle"}, optional
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
            If the network is no dense ReLU chain, or other features than the initial ones are wanted and not all of Δθ was
            observed.
        """
        if features not in FEATURES:
            raise InputError(f"features: found {features!r:.60}; {', '.join(FEATURES)} are accepted")
        shares = {"initial": (0.0,), "final": (1.0,), "both": (0.0, 1.0), "middle": (0.5,)}[features]
        points = [moved_parameters(observation, share) if share else observation.parameters for share in shares]
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

    def in_coordinates(self, basis: Float) -> ReconstructionLoss:
        """Restrict candidates to a subspace.

        Parameters
        ----------
        basis : array of shape (r, d)
            Orthonormal rows B.

        Returns
        -------
        ReconstructionLoss
            The loss as a function of coordinates c of candidates x = Bᵀc, up to a constant: what Δθ has outside.
        """
        key = self.networks[0].keys[0][0]
        networks = tuple(
            dataclasses.replace(network, weights=(network.weights[0] @ basis.T, *network.weights[1:]))
            for network in self.networks
        )
        target = {name: piece @ basis.T if name == key else piece for name, piece in self.target.items()}
        return ReconstructionLoss(networks, target)

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
    features : {"initial", "final", "middle"}, optional
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
