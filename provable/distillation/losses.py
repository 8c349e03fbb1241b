r"""Losses of kernel distillation, with gradients by the synthetic inputs and labels.

A training set T gives h_T; a synthetic set S with labels gives h_S = Σ_j α_j k(·, x_j), α = (K_SS + λI)⁻¹ y_S. Then

- KIP [1]_ compares values at the training points, ½‖y_T - h_S(X_T)‖²,
- RKIP [2]_ compares functions, ½‖h_T - h_S‖²_H = ½(‖h_T‖² - 2 α·h_T(X_S) + αᵀK_SS α),
- with free labels the best h_S is the projection of h_T: y_S = h_T(X_S), and half of the squared distance is
  ½(‖h_T‖² - h_T(X_S)ᵀK_SS⁻¹h_T(X_S)) = ½‖P_S^⊥ h_T‖². That is RKIP with the labels eliminated, the reconstruction loss of
  Loo et al. with the coefficients eliminated (its parameters see Φμ instead of h), and the projection loss of Iurada et al.

All have the factor ½, and sums over samples and outputs, not means. Several outputs share the kernel; their terms are added.

References
----------
.. [1] T. Nguyen, Z. Chen, J. Lee, Dataset meta-learning from kernel ridge-regression, ICLR 2021.
.. [2] N. Loo, R. Hasani, M. Lechner, A. Amini, D. Rus, Understanding reconstruction attacks with the neural tangent kernel
   and dataset distillation, ICLR 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.arithmetic import Float
from provable.distillation.interpolation import Interpolant, interpolant
from provable.distillation.kernel_gradients import DifferentiableKernel
from provable.errors import InputError


@dataclass(frozen=True, eq=False)
class Loss:
    """A loss and its derivatives.

    Attributes
    ----------
    value : float
        The loss.
    by_points : ndarray of shape (M, d)
        Derivatives by the synthetic inputs.
    by_labels : ndarray of shape (M,) or (M, C)
        Derivatives by their labels; zeros where labels are eliminated.
    """

    value: float
    by_points: Float
    by_labels: Float


def kip(
    kernel: DifferentiableKernel,
    training_points: Float,
    training_labels: Float,
    points: Float,
    labels: Float,
    *,
    ridge: float = 0.0,
) -> Loss:
    """Half the squared error at the training points of the function fitted to the synthetic set.

    Parameters
    ----------
    kernel : DifferentiableKernel
        k.
    training_points : ndarray of shape (N, d)
        X_T.
    training_labels : ndarray of shape (N,) or (N, C)
        y_T.
    points : ndarray of shape (M, d)
        X_S.
    labels : ndarray of shape (M,) or (M, C)
        y_S.
    ridge : float, optional
        λ = ridge·tr(K_SS)/M.

    Returns
    -------
    Loss
        ½‖y_T - K_TS(K_SS + λI)⁻¹y_S‖², summed over the outputs.

    Raises
    ------
    InputError
        As `interpolant`, for the synthetic set, and if the labels of both sets do not fit together.
    """
    fitted = interpolant(kernel, points, labels, ridge=ridge)
    _require_same_outputs(labels, training_labels)
    if len(training_labels) != len(training_points):
        raise InputError(
            f"training_labels: found {len(training_labels)} of them for {len(training_points)} points; one each is accepted"
        )
    cross = np.asarray(kernel(points, training_points), dtype=np.float64)
    alpha = _columns(fitted.coefficients)
    errors = _columns(training_labels) - cross.T @ alpha
    by_labels = fitted.solve(-(cross @ errors))
    by_points = kernel.gradient(points, training_points, -(alpha @ errors.T))
    by_points += _through_the_gram_matrix(kernel, points, -(by_labels @ alpha.T), ridge, by_labels, alpha)
    return Loss(0.5 * float(np.sum(errors**2)), by_points, by_labels.reshape(labels.shape))


def rkip(target: Interpolant, points: Float, labels: Float, *, ridge: float = 0.0) -> Loss:
    """Half the squared distance in the kernel's Hilbert space between the two fitted functions, expanded.

    Parameters
    ----------
    target : Interpolant
        h_T, with a differentiable kernel.
    points : ndarray of shape (M, d)
        X_S.
    labels : ndarray of shape (M,) or (M, C)
        y_S.
    ridge : float, optional
        λ = ridge·tr(K_SS)/M.

    Returns
    -------
    Loss
        ½‖h_T - h_S‖²_H. Its rounding error is a multiple of 2⁻⁵²·(‖h_T‖² + ‖h_S‖²), however small it is itself;
        `squared_distance` does better where the two sets nearly agree.

    Raises
    ------
    InputError
        As `interpolant`, for the synthetic set, and if the labels have another number of outputs than h_T.
    """
    kernel = differentiable(target)
    fitted = interpolant(kernel, points, labels, ridge=ridge)
    _require_same_outputs(labels, target.values)
    alpha, goal = _columns(fitted.coefficients), _columns(target(points))
    own = fitted.gram @ alpha
    value = 0.5 * (target.squared_norm - 2 * float(np.sum(alpha * goal)) + float(np.sum(alpha * own)))
    by_labels = fitted.solve(own - goal)
    by_points = kernel.gradient(points, target.points, -(alpha @ _columns(target.coefficients).T))
    weights = 0.5 * (alpha @ alpha.T) - by_labels @ alpha.T
    by_points += _through_the_gram_matrix(kernel, points, weights, ridge, by_labels, alpha)
    return Loss(value, by_points, by_labels.reshape(labels.shape))


def projection_loss(target: Interpolant, points: Float, *, ridge: float = 0.0) -> Loss:
    """Half the squared distance of h_T to the span of the kernel functions at the synthetic points.

    Parameters
    ----------
    target : Interpolant
        h_T, with a differentiable kernel.
    points : ndarray of shape (M, d)
        X_S.
    ridge : float, optional
        λ = ridge·tr(K_SS)/M; with it the value is min over α of ½(‖h_T - Σ_j α_j k(·, x_j)‖² + λ‖α‖²).

    Returns
    -------
    Loss
        ½(‖h_T‖² - h_T(X_S)ᵀ(K_SS + λI)⁻¹h_T(X_S)). The best labels are h_T(X_S).

    Raises
    ------
    InputError
        As `interpolant`, for the synthetic set.
    """
    kernel = differentiable(target)
    goal = target(points)
    fitted = interpolant(kernel, points, goal, ridge=ridge)
    alpha = _columns(fitted.coefficients)
    value = 0.5 * (target.squared_norm - float(np.sum(alpha * _columns(goal))))
    by_points = kernel.gradient(points, target.points, -(alpha @ _columns(target.coefficients).T))
    # by the envelope theorem; λ itself moves by ridge/M times the trace
    weights = 0.5 * (alpha @ alpha.T + ridge / len(points) * float(np.sum(alpha**2)) * np.eye(len(points)))
    by_points += _of_pairs(kernel, points, weights)
    return Loss(value, by_points, np.zeros_like(goal))


def squared_distance(first: Interpolant, second: Interpolant) -> float:
    """‖h - g‖²_H by the difference of the two measures.

    Parameters
    ----------
    first, second : Interpolant
        h and g, with one kernel.

    Returns
    -------
    float
        cᵀGc with coinciding points merged and their coefficients subtracted. Where both functions live on the same
        points its rounding error is proportional to ‖c‖², not to ‖h‖² + ‖g‖² as that of the expanded form.

    Raises
    ------
    InputError
        If the functions have different numbers of outputs.
    """
    _require_same_outputs(second.values, first.values)
    x = np.concatenate([first.points, second.points])
    c = np.concatenate([_columns(first.coefficients), -_columns(second.coefficients)])
    difference = merge_atoms(x, c)
    gram = np.asarray(first.kernel(difference[0]), dtype=np.float64)
    return float(np.sum(difference[1] * (gram @ difference[1])))


def merge_atoms(points: Float, coefficients: Float) -> tuple[Float, Float]:
    """Add up coefficients at equal points, and drop the zeros.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Points.
    coefficients : ndarray of shape (n, C)
        Coefficients.

    Returns
    -------
    points : ndarray of shape (m, d)
        The distinct points with a coefficient.
    coefficients : ndarray of shape (m, C)
        The sums.
    """
    distinct, groups = np.unique(points, axis=0, return_inverse=True)
    sums = np.zeros((len(distinct), coefficients.shape[1]))
    np.add.at(sums, groups.reshape(-1), coefficients)
    present = sums.any(axis=1)
    return distinct[present], sums[present]


def differentiable(target: Interpolant) -> DifferentiableKernel:
    """The kernel of a function, if it has derivatives.

    Parameters
    ----------
    target : Interpolant
        A function.

    Returns
    -------
    DifferentiableKernel
        Its kernel.

    Raises
    ------
    InputError
        If the kernel has no method ``gradient``.
    """
    kernel: Any = target.kernel
    if not hasattr(kernel, "gradient"):
        raise InputError(
            f"kernel: found {type(kernel).__name__}, which has no derivatives; a kernel with a method `gradient` is accepted"
        )
    result: DifferentiableKernel = kernel
    return result


def _require_same_outputs(labels: Float, others: Float) -> None:
    # NumPy would stretch one output over several
    found, accepted = (1 if np.ndim(numbers) == 1 else np.shape(numbers)[1] for numbers in (labels, others))
    if found != accepted:
        raise InputError(f"labels: found {found} outputs beside {accepted}; one number of outputs is accepted")


def _columns(numbers: Float) -> Float:
    return numbers.reshape(len(numbers), -1)


def _of_pairs(kernel: DifferentiableKernel, points: Float, weights: Float) -> Float:
    """The derivative of Σ_ij w_ij k(x_i, x_j), both arguments moving."""
    return kernel.gradient(points, points, weights + weights.T)


def _through_the_gram_matrix(
    kernel: DifferentiableKernel, points: Float, weights: Float, ridge: float, adjoint: Float, alpha: Float
) -> Float:
    """The derivative of Σ w_ij K_ij - λ·tr(adjointᵀα), where λ = ridge·tr(K)/M."""
    weights = weights - ridge / len(points) * float(np.sum(adjoint * alpha)) * np.eye(len(points))
    return _of_pairs(kernel, points, weights)
