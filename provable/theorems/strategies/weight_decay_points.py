"""Exact stationary points of a squared loss with weight decay: instances for theorems on trained regression networks.

A KKT point θ = Σ λ_i y_i ∇Φ(θ; x_i) of a max-margin problem is also one of Σ_i ½ (Φ(θ; x_i) - t_i)² + (w / 2) ‖θ‖² for the
targets t_i = Φ(θ; x_i) + w λ_i y_i, since the residual is then -w λ_i y_i. A sample that occurs twice may have the
multipliers 2 λ_i and -λ_i, so that both signs occur.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import Architecture
from provable.arithmetic import Array
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, loss_gradient
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points


@dataclass(frozen=True)
class WeightDecayPoint:
    """A network at θ, samples with targets, and the strength of the decay.

    Parameters
    ----------
    parameters : Parameters
        θ, of a network with one output and squared loss.
    inputs : ndarray of shape (n, d)
        The samples times their denominator.
    input_denominator : float
        The denominator.
    multipliers : ndarray of shape (n,)
        The c_i times their denominator.
    multiplier_denominator : float
        The denominator.
    decay : float
        w > 0.
    shift : float
        What is added to the target of the first sample; 0 for a stationary point.
    """

    parameters: Parameters
    inputs: Array
    input_denominator: float
    multipliers: Array
    multiplier_denominator: float
    decay: float
    shift: float = 0.0

    @property
    def architecture(self) -> Architecture:
        """The network.

        Returns
        -------
        Architecture
            Its loss is the squared one.
        """
        return self.parameters.architecture

    @property
    def points(self) -> Array:
        """The samples.

        Returns
        -------
        ndarray of shape (n, d)
            x_i.
        """
        points: Array = self.inputs / self.input_denominator
        return points

    @property
    def outputs(self) -> Array:
        """What the network says of the samples.

        Returns
        -------
        ndarray of shape (n,)
            Φ(θ; x_i).
        """
        outputs: Array = forward(self.architecture, self.parameters, self.points)[:, 0]
        return outputs

    @property
    def targets(self) -> Array:
        """What the network was to say.

        Returns
        -------
        ndarray of shape (n,)
            t_i = Φ(θ; x_i) + w c_i, and the shift for the first.
        """
        targets: Array = self.outputs + self.decay * (self.multipliers / self.multiplier_denominator)
        first = arithmetic.full(targets.shape, 0, targets)
        first[0] = first[0] + self.shift
        return targets + first

    def objective_gradient(self, points: Array, targets: Array, *, reduction: str = "sum", decayed: str = "") -> Array:
        """Differentiate the objective on any data.

        Parameters
        ----------
        points : ndarray of shape (n, d)
            Samples.
        targets : ndarray of shape (n,)
            Their targets.
        reduction : {"sum", "mean"}, optional
            Whether losses are added or averaged.
        decayed : str, optional
            How the names of the parameters end that decay; all do by default.

        Returns
        -------
        ndarray of shape (P,)
            Σ_i (Φ(θ; x_i) - t_i) ∇Φ(θ; x_i) + w θ.
        """
        gradient = loss_gradient(self.architecture, self.parameters, points, targets[:, None], reduction=reduction)
        parts = [
            gradient[key] + (self.decay * array if key.endswith(decayed) else 0 * array)
            for key, array in self.parameters.items()
        ]
        return np.concatenate([part.reshape(-1) for part in parts])

    def explained(self, coefficients: Array) -> Array:
        """Combine the tangents of the samples.

        Parameters
        ----------
        coefficients : ndarray of shape (n,)
            The c_i.

        Returns
        -------
        ndarray of shape (P,)
            Σ_i c_i ∇Φ(θ; x_i).
        """
        vector: Array = embed(self.architecture, self.parameters, Measure(self.points, coefficients)).vector()
        return vector


def regression(
    point: StationaryPoint, decay: float, doubled: tuple[bool, ...] = (), *, shift: float = 0.0
) -> WeightDecayPoint:
    """Make a KKT point one of a squared loss with weight decay.

    Parameters
    ----------
    point : StationaryPoint
        The KKT point.
    decay : float
        w.
    doubled : tuple of bool, optional
        Which samples occur twice, with 2 c_i and -c_i.
    shift : float, optional
        Added to the first target.

    Returns
    -------
    WeightDecayPoint
        The same θ.
    """
    inputs, multipliers = [], []
    twice = [*doubled, *(False for _ in point.labels)]
    for sample, weight, label, double in zip(point.inputs, point.multipliers, point.labels, twice, strict=False):
        for factor in (2.0, -1.0) if double else (1.0,):
            inputs.append(sample)
            multipliers.append(factor * weight * label)
    architecture = Architecture("regression", point.architecture.input_shape, point.architecture.layers, "squared")
    return WeightDecayPoint(
        Parameters(architecture, dict(point.parameters)),
        np.array(inputs),
        point.input_denominator,
        np.array(multipliers),
        point.multiplier_denominator,
        decay,
        shift,
    )


@st.composite
def weight_decay_points(
    draw: st.DrawFn, *, depths: tuple[int, ...] = (2, 1, 3), biased: bool | None = None
) -> WeightDecayPoint:
    """Stationary points of a squared loss with weight decay, exact in rationals.

    Parameters
    ----------
    depths : tuple of int, optional
        Numbers of layers to draw from.
    biased : bool, optional
        Force or forbid a bias in the first layer.

    Returns
    -------
    WeightDecayPoint
        Some multipliers are zero, and some are of the other sign than the output.
    """
    point = draw(stationary_points(depths=depths, biased=biased))
    doubled = tuple(draw(st.booleans()) for _ in point.labels)
    return regression(point, draw(st.sampled_from((1.0, 0.5, 0.25, 2.0))), doubled)
