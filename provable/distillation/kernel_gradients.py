"""What distillation asks of a kernel: values, and derivatives with respect to its first argument, contracted with weights."""

from __future__ import annotations

from typing import Any, Protocol

from provable.arithmetic import Array, Float


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
    """A kernel with derivatives; `provable.kernels.DenseKernel` is one."""

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
