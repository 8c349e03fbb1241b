"""Features of a pool of finite networks, each trained on the synthetic set as it changes: the kernel of FRePo.

FRePo [1]_ is KIP with the conjugate kernel of current features. What is left out of its released form: the term that keeps
large labels of the right class, and the label learning with a separate rate.

References
----------
.. [1] Y. Zhou, E. Nezhadarya, J. Ba, Dataset distillation using neural feature regression, NeurIPS 2022.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from provable.arithmetic import Array, Float
from provable.errors import InputError

RIDGE = 1e-6
"""FRePo's ridge, a multiple of tr(K)/M."""


@dataclass(frozen=True, eq=False)
class FeatureKernel:
    """The kernel φ(x)·φ(z) of the features φ(x) = relu(Wx + b) of one finite network.

    Parameters
    ----------
    weight : ndarray of shape (m, d)
        W.
    bias : ndarray of shape (m,)
        b.
    """

    weight: Float
    bias: Float

    def features(self, X: Any) -> Float:
        """The last-layer features.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Points.

        Returns
        -------
        ndarray of shape (n, m)
            relu(Wx + b).
        """
        result: Float = np.maximum(np.asarray(X) @ self.weight.T + self.bias, 0.0)
        return result

    def __call__(self, X: Any, Z: Any = None) -> Array:
        """Evaluate the kernel.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Points.
        Z : array_like of shape (m, d), optional
            Other points; default the same.

        Returns
        -------
        ndarray of shape (n, m)
            Kernel values; the rank of the matrix is at most the width.
        """
        left = self.features(X)
        result: Array = left @ (left if Z is None else self.features(Z)).T
        return result

    def gradient(self, X: Float, Z: Float, weights: Float) -> Float:
        """Differentiate Σ_ij w_ij k(x_i, z_j) with respect to the x_i, the z_j being held.

        Parameters
        ----------
        X : ndarray of shape (n, d)
            Points.
        Z : ndarray of shape (m, d)
            Other points.
        weights : ndarray of shape (n, m)
            The w_ij.

        Returns
        -------
        ndarray of shape (n, d)
            Row i is Σ_j w_ij ∂k(x_i, z_j)/∂x_i, with relu'(0) = 0.
        """
        active = self.features(X) > 0
        result: Float = (active * (weights @ self.features(Z))) @ self.weight
        return result


@dataclass
class FeaturePool:
    """Networks x ↦ Aφ(x), trained by gradient descent on the squared loss of the current synthetic set.

    Parameters
    ----------
    dimension, outputs : int
        d and C.
    width : int
        m, at least the number of synthetic points if their kernel matrix is to be regular without the ridge.
    size : int
        How many networks.
    longest : int
        After that many steps a network starts again.
    learning_rate : float
        η, a multiple of the inverse of the squared norm of the feature matrix, so that steps do not diverge.
    rng : Generator
        Randomness.

    Raises
    ------
    InputError
        If a number is not positive.
    """

    dimension: int
    outputs: int
    width: int
    size: int
    longest: int
    learning_rate: float
    rng: np.random.Generator
    networks: list[list[Float]] = field(init=False, repr=False)
    ages: list[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("dimension", "outputs", "width", "size", "longest", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name}: found {getattr(self, name)}; a positive number is accepted")
        self.networks = [self._fresh() for _ in range(self.size)]
        # ages differ from the start, so that the pool always has younger and older features
        self.ages = [int(age) for age in self.rng.integers(0, self.longest, self.size)]

    def _fresh(self) -> list[Float]:
        weight = self.rng.standard_normal((self.width, self.dimension)) * np.sqrt(2 / self.dimension)
        output = self.rng.standard_normal((self.outputs, self.width)) / np.sqrt(self.width)
        return [weight, np.zeros(self.width), output]

    def draw(self) -> int:
        """Choose a network.

        Returns
        -------
        int
            Its index.
        """
        return int(self.rng.integers(self.size))

    def kernel(self, index: int) -> FeatureKernel:
        """The conjugate kernel of one network as it is now.

        Parameters
        ----------
        index : int
            Which network.

        Returns
        -------
        FeatureKernel
            Its kernel.
        """
        weight, bias, _ = self.networks[index]
        return FeatureKernel(weight, bias)

    def train(self, index: int, points: Float, labels: Float) -> None:
        """One gradient step of one network on the synthetic set; a network that is too old starts again.

        Parameters
        ----------
        index : int
            Which network.
        points : ndarray of shape (M, d)
            Synthetic points.
        labels : ndarray of shape (M, C)
            Their labels.
        """
        if self.ages[index] >= self.longest:
            self.networks[index], self.ages[index] = self._fresh(), 0
            return
        weight, bias, output = self.networks[index]
        features = FeatureKernel(weight, bias).features(points)
        residuals = features @ output.T - labels
        back = (residuals @ output) * (features > 0)
        # the tangent kernel is at most ‖Φ‖² + ‖A‖²(‖X‖² + M), which bounds the curvature of the squared loss
        curvature = np.linalg.norm(features, 2) ** 2 + np.linalg.norm(output, 2) ** 2 * (
            np.linalg.norm(points, 2) ** 2 + len(points)
        )
        rate = self.learning_rate / curvature
        self.networks[index] = [
            weight - rate * back.T @ points,
            bias - rate * back.sum(axis=0),
            output - rate * residuals.T @ features,
        ]
        self.ages[index] += 1
