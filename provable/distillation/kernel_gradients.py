"""What distillation asks of a kernel: values, and derivatives with respect to its first argument, contracted with weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from provable.arithmetic import Array, Float
from provable.errors import InputError
from provable.kernels import DenseKernel, covariances, dual_activations


class Kernel(Protocol):
    """A positive semidefinite kernel."""

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
            Kernel values.
        """
        ...


class DifferentiableKernel(Kernel, Protocol):
    """A kernel with derivatives."""

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
            Row i is Σ_j w_ij ∂k(x_i, z_j)/∂x_i. At x_i = z_j, where a ReLU kernel has a cusp, the mean of the one-sided
            derivatives, which is half of the derivative of k(x, x).
        """
        ...


@dataclass(frozen=True)
class RectifierKernel:
    """The kernel of an infinitely wide dense ReLU network, with derivatives.

    Parameters
    ----------
    kernel : DenseKernel
        The kernel; its activation has to be ReLU.

    Raises
    ------
    InputError
        If the activation is another one.

    Notes
    -----
    k depends on x and z through S = x·z, ‖x‖² and ‖z‖² alone. With p, q the variances of a layer, S its covariance,
    u = S/√(pq), K = ½√(pq)κ₁(u) and K̇ = ½κ₀(u): ∂K/∂S = K̇, ∂K/∂p = √(q/p)·√(1-u²)/(4π), ∂K̇/∂S = 1/(2π√(pq(1-u²))) and
    ∂K̇/∂p = -u/(4πp√(1-u²)), which the recursion of the layers carries along by the chain rule.
    """

    kernel: DenseKernel

    def __post_init__(self) -> None:
        if self.kernel.activation != "relu":
            raise InputError(f"kernel: found activation {self.kernel.activation!r:.40}; relu is accepted")

    def __call__(self, X: Any, Z: Any = None) -> Array:
        """Evaluate the kernel.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Points, float64 or balls.
        Z : array_like of shape (m, d), optional
            Other points; default the same.

        Returns
        -------
        ndarray of shape (n, m)
            Kernel values.
        """
        return self.kernel(X, Z)

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
            Row i is Σ_j w_ij ∂k(x_i, z_j)/∂x_i; zero for x_i = 0 without a bias, where the kernel has a kink.
        """
        by_covariance, by_variance = self._derivatives(X, Z)
        factor = self.kernel.weight_variance / X.shape[1]
        along = (weights * by_covariance) @ Z
        own = (weights * by_variance).sum(axis=1)
        result: Float = factor * (along + 2 * own[:, None] * X)
        return result

    def _derivatives(self, X: Float, Z: Float) -> tuple[Float, Float]:
        """The derivatives of k by the first covariance and by the first variance p, each (n, m)."""
        weight, bias = self.kernel.weight_variance, self.kernel.bias_variance
        covariance = covariances.of_inputs(X, Z).affine(weight / X.shape[1], bias)
        theta, zero = covariance.value, np.zeros((len(X), len(Z)))
        s_by_s, s_by_p, p_by_p = zero + 1, zero, 1.0
        theta_by_s, theta_by_p = s_by_s, s_by_p
        for _ in range(self.kernel.depth):
            p = np.broadcast_to(covariance.left[:, None], zero.shape)
            dual, scale = dual_activations.relu(covariance), covariance.scale
            # from 1 - u and 1 + u: close points keep all digits of the sine of their angle
            sine = np.sqrt(covariance.below_one * covariance.above_minus_one)
            # at u = 1 and u = -1 the two terms with 1/sine cancel against each other: both are left out
            smooth = (scale > 0) & (sine > 0)
            slope_by_s = np.divide(1.0, 2 * np.pi * scale * sine, out=zero.copy(), where=smooth)
            slope_by_p = np.divide(-covariance.correlation, 4 * np.pi * p * sine, out=zero.copy(), where=smooth)
            mean_by_p = np.divide(sine * scale, 4 * np.pi * p, out=zero.copy(), where=scale > 0)
            slopes_by_s = slope_by_s * s_by_s
            slopes_by_p = slope_by_s * s_by_p + slope_by_p * p_by_p
            s_by_s, s_by_p = weight * dual.slopes * s_by_s, weight * (dual.slopes * s_by_p + mean_by_p * p_by_p)
            theta_by_s = s_by_s + weight * (theta_by_s * dual.slopes + theta * slopes_by_s)
            theta_by_p = s_by_p + weight * (theta_by_p * dual.slopes + theta * slopes_by_p)
            covariance = dual.covariance.affine(weight, bias)
            theta = covariance.value + weight * theta * dual.slopes
            p_by_p = weight * p_by_p / 2
        return (theta_by_s, theta_by_p) if self.kernel.tangent else (s_by_s, s_by_p)
