r"""Linearised training in closed form, from the kernel's Gram matrix alone, at any stopping time.

Notes
-----
A linearised network :math:`f(z) = f_0(z) + \langle\nabla_\theta f_0(z), \theta - \theta_0\rangle`, or an infinitely
wide one, that is trained on the squared loss :math:`\tfrac12\sum_i\|f(x_i) - y_i\|^2` from :math:`\theta_0` moves
within the span of its tangents at the samples: :math:`\theta_t - \theta_0 = \sum_i \alpha_{t,i}\nabla_\theta f_0(x_i)`,
whatever the stopping time and whether the method is gradient descent, gradient flow or one with momentum. With the Gram
matrix K of the tangent kernel,

.. math:: f_t(z) = f_0(z) + \sum_i k(z, x_i)\,\alpha_{t,i}, \qquad \alpha_t = s_t(K)\,(y - f_0),
          \qquad y - f_t = (I - K s_t(K))\,(y - f_0),

and gradient descent has :math:`s_t(K) = (I - (I - \eta K)^t)K^{-1}`; the scalar functions are those of
`provable.training.spectral_factors`. They are evaluated in an eigenbasis of K. No inverse of K is needed before t = ∞.

Where K is singular, part of the targets cannot be fitted: the part of y - f_0 in the null space of K stays in the
residual for ever. A null vector of K is a combination of the samples' tangents that vanishes, so coefficients along it
change neither the parameters nor the function; those returned have no part there. If two samples coincide, they get one
coefficient each that is half of the sum, and only the sum can be seen.

References
----------
A. Jacot, F. Gabriel, C. Hongler, Neural tangent kernel, NeurIPS 2018; J. Lee et al., Wide neural networks of any
depth evolve as linear models under gradient descent, NeurIPS 2019.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError
from provable.measures import as_numbers
from provable.training import spectral_factors

REDUCTIONS = ("sum", "mean")
"""Whether the losses of the samples are added or averaged, which divides the learning rate by their number."""

MOST_STEPS = 2**53
"""Larger numbers of steps are not represented by every float."""


@dataclass(frozen=True, eq=False)
class LinearisedTraining:
    """What linearised training leaves behind.

    Attributes
    ----------
    coefficients : ndarray of shape (n,) or (n, C)
        α: the dual coefficients, in the shape of the targets.
    residual : ndarray of shape (n,) or (n, C)
        y - f at the samples when training stops.
    unfitted : ndarray of shape (n,) or (n, C)
        The part of y - f_0 in the numerical null space of K, which no stopping time fits; zero if there is none.
    rank : int
        Numerical rank of K.
    largest_eigenvalue : float
        λ_max of K.
    size : int
        Number of rows of K.
    """

    coefficients: Float
    residual: Float
    unfitted: Float
    rank: int
    largest_eigenvalue: float
    size: int

    @property
    def loss(self) -> float:
        """The training loss ½ Σ (f - y)², summed over the samples.

        Returns
        -------
        float
            The loss when training stops.
        """
        return float(np.sum(self.residual**2)) / 2.0

    @property
    def explanation(self) -> str:
        """What a singular kernel matrix hides, in one sentence.

        Returns
        -------
        str
            Empty if K is numerically regular.
        """
        lost = self.size - self.rank
        if not lost:
            return ""
        return (
            f"the kernel matrix has numerical rank {self.rank} of {self.size}: a part of norm "
            f"{np.linalg.norm(self.unfitted):.2g} of the targets cannot be fitted, and the coefficients are determined up to "
            f"{lost} dimension{'s' if lost > 1 else ''} (of coinciding samples only the sum of their coefficients)"
        )

    def outputs(self, kernel_columns: Any, initial_outputs: Any = None) -> Float:
        """Evaluate the trained function at other points.

        Parameters
        ----------
        kernel_columns : array_like of shape (m, n), or (m * C, n * C) if the Gram matrix had n * C rows
            k(z_i, x_j) between m points and the samples.
        initial_outputs : array_like of shape (m,) or (m, C), optional
            f_0 at the points; default 0.

        Returns
        -------
        ndarray of shape (m,) or (m, C)
            f at the points: (m,) if the targets had shape (n,).

        Raises
        ------
        InputError
            If a shape does not fit.
        """
        columns = np.asarray(as_numbers(kernel_columns, "kernel_columns"))
        if columns.ndim != 2 or columns.shape[1] != self.size:
            raise InputError(f"kernel_columns: found shape {columns.shape}; (m, {self.size}) is accepted")
        joint = self.size != len(self.coefficients)
        if joint and len(columns) % self.coefficients.shape[1]:
            count = self.coefficients.shape[1]
            raise InputError(
                f"kernel_columns: found {len(columns)} rows; a multiple of the {count} outputs is accepted"
            )
        if joint:
            values = (columns @ self.coefficients.reshape(-1)).reshape(-1, self.coefficients.shape[1])
        else:
            values = columns @ self.coefficients
        if initial_outputs is None:
            return np.asarray(values, dtype=np.float64)
        start = np.asarray(as_numbers(initial_outputs, "initial_outputs"))
        if start.shape != values.shape:
            raise InputError(f"initial_outputs: found shape {start.shape}; {values.shape} is accepted")
        return np.asarray(start + values, dtype=np.float64)


def gradient_descent(
    kernel: Any,
    targets: Any,
    *,
    learning_rate: float,
    steps: int,
    momentum: float = 0.0,
    nesterov: bool = False,
    initial_outputs: Any = None,
    reduction: str = "sum",
    tolerance: float | None = None,
) -> LinearisedTraining:
    r"""Full-batch gradient descent on the squared loss, with or without momentum, stopped after t steps.

    Parameters
    ----------
    kernel : array_like of shape (n, n) or (n * C, n * C)
        Gram matrix K of the tangent kernel; (n, n) treats outputs separately, (n * C, n * C) is that of
        ``provable.networks.tangent_kernel``, whose row i * C + k is output k of sample i.
    targets : array_like of shape (n,) or (n, C)
        y.
    learning_rate : float
        η, positive and below the stability limit.
    steps : int
        t, from 0.
    momentum : float, optional
        ρ in [0, 1): :math:`v_{t+1} = \rho v_t - \eta\nabla L`, :math:`\theta_{t+1} = \theta_t + v_{t+1}`, from rest.
    nesterov : bool, optional
        Whether ∇L is taken at :math:`\theta_t + \rho v_t`.
    initial_outputs : array_like of the shape of the targets, optional
        f_0 at the samples; default 0.
    reduction : {"sum", "mean"}, optional
        Whether the losses of the samples are added or averaged.
    tolerance : float, optional
        Eigenvalues of K below this multiple of the largest count as zero; default ``8 * rows * 2**-52``.

    Returns
    -------
    LinearisedTraining
        Coefficients :math:`\alpha_t = \eta\sum_{\tau<t} r_\tau` (for momentum 0; r the residuals), and what is left.

    Raises
    ------
    InputError
        If an argument does not fit, K is not symmetric positive semidefinite, or the learning rate is not below the
        limit 2/λ_max, with heavy-ball momentum 2(1 + ρ)/λ_max, with Nesterov's 2(1 + ρ)/((1 + 2ρ) λ_max); n times that
        for the mean.

    Notes
    -----
    With momentum and t → ∞, :math:`\alpha_\infty = \eta\sum_\tau r_\tau/(1 - \rho)`: each gradient counts in full in the end.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 0 <= steps <= MOST_STEPS:
        raise InputError(f"steps: found {str(steps)[:40]!r}; an integer from 0 to 2**53 is accepted")
    rho = _number("momentum", momentum)
    if not 0 <= rho < 1:
        raise InputError(f"momentum: found {momentum}; a number from 0 to below 1 is accepted")
    problem = _problem(kernel, targets, initial_outputs, reduction, tolerance)
    rate = _number("learning_rate", learning_rate)
    if not rate > 0:
        raise InputError(f"learning_rate: found {learning_rate}; a positive number is accepted")
    bound = stability_limit(problem.largest, momentum=rho, nesterov=nesterov) * problem.divisor
    if not rate < bound:
        formula = "2/λ_max" if rho == 0 else "2(1 + ρ)/((1 + 2ρ) λ_max)" if nesterov else "2(1 + ρ)/λ_max"
        if reduction == "mean":
            formula = f"{problem.divisor} times {formula}"
        raise InputError(
            f"learning_rate: found {rate:.6g}, with which training diverges; below {bound:.6g} = {formula} is accepted, "
            f"with the kernel's largest eigenvalue λ_max = {problem.largest:.6g}"
        )
    rate /= problem.divisor
    x = rate * problem.positive
    if rho == 0:
        left, gain = spectral_factors.descent(x, int(steps))
    else:
        left, gain = spectral_factors.momentum(x, rho, int(steps), nesterov=nesterov)
    return problem.trained(left, rate * gain)


def gradient_flow(
    kernel: Any,
    targets: Any,
    *,
    time: float,
    initial_outputs: Any = None,
    reduction: str = "sum",
    tolerance: float | None = None,
) -> LinearisedTraining:
    r"""Gradient flow :math:`\dot\theta = -\nabla L` on the squared loss, stopped at some time.

    Parameters
    ----------
    kernel : array_like of shape (n, n) or (n * C, n * C)
        Gram matrix, as for `gradient_descent`.
    targets : array_like of shape (n,) or (n, C)
        y.
    time : float
        t >= 0: the learning rate times the number of steps, for small learning rates.
    initial_outputs : array_like of the shape of the targets, optional
        f_0 at the samples; default 0.
    reduction : {"sum", "mean"}, optional
        Whether the losses of the samples are added or averaged.
    tolerance : float, optional
        As for `gradient_descent`.

    Returns
    -------
    LinearisedTraining
        Coefficients :math:`(I - e^{-tK})K^{-1}(y - f_0)`, and what is left.

    Raises
    ------
    InputError
        If an argument does not fit or K is not symmetric positive semidefinite.
    """
    problem = _problem(kernel, targets, initial_outputs, reduction, tolerance)
    passed = _number("time", time)
    if passed < 0:
        raise InputError(f"time: found {time}; a nonnegative number is accepted")
    passed /= problem.divisor
    left, gain = (
        spectral_factors.flow(passed * problem.positive) if passed else spectral_factors.descent(problem.positive, 0)
    )
    return problem.trained(left, passed * gain)


def converged(
    kernel: Any, targets: Any, *, initial_outputs: Any = None, tolerance: float | None = None
) -> LinearisedTraining:
    r"""The limit of training, the same for all these methods: interpolation with the smallest change of the parameters.

    Parameters
    ----------
    kernel : array_like of shape (n, n) or (n * C, n * C)
        Gram matrix, as for `gradient_descent`.
    targets : array_like of shape (n,) or (n, C)
        y.
    initial_outputs : array_like of the shape of the targets, optional
        f_0 at the samples; default 0.
    tolerance : float, optional
        As for `gradient_descent`.

    Returns
    -------
    LinearisedTraining
        Coefficients :math:`K^+(y - f_0)`; the residual is `unfitted`.

    Raises
    ------
    InputError
        If an argument does not fit or K is not symmetric positive semidefinite.
    """
    problem = _problem(kernel, targets, initial_outputs, "sum", tolerance)
    return problem.trained(np.zeros_like(problem.positive), 1.0 / problem.positive)


def stability_limit(largest_eigenvalue: float, *, momentum: float = 0.0, nesterov: bool = False) -> float:
    r"""The learning rate from which on linearised training on the summed squared loss does not converge.

    Parameters
    ----------
    largest_eigenvalue : float
        λ_max of the Gram matrix.
    momentum : float, optional
        ρ in [0, 1).
    nesterov : bool, optional
        Whether the momentum is Nesterov's.

    Returns
    -------
    float
        2(1 + ρ)/λ_max, or 2(1 + ρ)/((1 + 2ρ) λ_max) for Nesterov's; infinite for a zero matrix. For the mean loss it is
        n times as large.

    Notes
    -----
    The roots of :math:`r^2 - \tau r + \delta` (`provable.training.spectral_factors`) lie inside the unit circle if and
    only if :math:`|\delta| < 1` and :math:`|\tau| < 1 + \delta` (Schur-Cohn); the limit is where -1 becomes a root.
    """
    bound = 2.0 * (1.0 + momentum) / (1.0 + 2.0 * momentum if nesterov else 1.0)
    return bound / largest_eigenvalue if largest_eigenvalue > 0 else math.inf


@dataclass(frozen=True, eq=False)
class _Problem:
    """An eigenbasis of K, the part of it with positive eigenvalues first, and y - f_0 in it."""

    basis: Float
    positive: Float
    components: Float
    gap: Float
    largest: float
    divisor: int
    shape: tuple[int, ...]

    def trained(self, left: Float, gain: Float) -> LinearisedTraining:
        coefficients = self.basis @ (gain[:, None] * self.components)
        fitted = self.basis @ self.components
        unfitted = self.gap - fitted if len(self.positive) < len(self.basis) else np.zeros_like(self.gap)
        residual = self.basis @ (left[:, None] * self.components) + unfitted
        return LinearisedTraining(
            coefficients.reshape(self.shape),
            residual.reshape(self.shape),
            unfitted.reshape(self.shape),
            len(self.positive),
            self.largest,
            len(self.basis),
        )


def _problem(kernel: Any, targets: Any, initial: Any, reduction: str, tolerance: float | None) -> _Problem:
    matrix, y = _float64(kernel, "kernel"), _float64(targets, "targets")
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise InputError(f"targets: found shape {y.shape}; (n,) or (n, C) with n > 0 is accepted")
    if matrix.shape not in ((len(y), len(y)), (y.size, y.size)):
        accepted = " or ".join(str(shape) for shape in dict.fromkeys([(len(y), len(y)), (y.size, y.size)]))
        raise InputError(f"kernel: found shape {matrix.shape} with targets of shape {y.shape}; {accepted} is accepted")
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction: found {reduction!r:.60}; {' and '.join(REDUCTIONS)} are accepted")
    start = np.zeros_like(y) if initial is None else _float64(initial, "initial_outputs")
    if start.shape != y.shape:
        raise InputError(f"initial_outputs: found shape {start.shape}; {y.shape} is accepted")
    rows = len(matrix)
    relative = 8 * rows * EPSILON if tolerance is None else _number("tolerance", tolerance)
    if not 0 <= relative < 1:
        raise InputError(f"tolerance: found {tolerance}; a number from 0 to below 1 is accepted")
    size = float(np.max(np.abs(matrix)))
    skew = float(np.max(np.abs(matrix - matrix.T)))
    # A Gram matrix whose two halves were computed apart differs by roundings of its largest entries.
    if skew > max(relative, 8 * rows * EPSILON) * size:
        raise InputError(f"kernel: found K and its transpose {skew:.2g} apart; a symmetric matrix is accepted")
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2.0)
    largest = float(max(values[-1], 0.0))
    threshold = relative * max(largest, -float(values[0]))
    if values[0] < -threshold:
        raise InputError(
            f"kernel: found the eigenvalue {values[0]:.3g} beside the largest, {values[-1]:.3g}; a positive semidefinite "
            f"matrix is accepted (up to the relative tolerance {relative:.2g})"
        )
    kept = values > threshold
    gap = (y - start).reshape(rows, -1)
    basis = vectors[:, kept]
    return _Problem(basis, values[kept], basis.T @ gap, gap, largest, len(y) if reduction == "mean" else 1, y.shape)


def _float64(values: Any, what: str) -> Float:
    numbers = as_numbers(values, what)
    if numbers.dtype != np.float64:
        raise InputError(f"{what}: found exact numbers; float64 is accepted")
    return numbers


def _number(name: str, value: Any) -> float:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not math.isfinite(value):
        raise InputError(f"{name}: found {str(value)[:40]!r}; a finite number is accepted")
    return float(value)
