r"""The Cramér-Rao bound of a batch whose labels nobody knows, from one gradient with Gaussian noise, at one point.

Notes
-----
Somebody sees the entries of :math:`v = \sum_i \sum_k c_{ik} \nabla_\theta f_k(x_i; \theta) + N(0, \sigma^2 I)` that a mask
lets through, and knows θ, but neither the samples :math:`x_i` nor their coefficients :math:`c_i`, which are the residuals of
unknown labels. With J the Jacobian of all that is seen with respect to all points and all coefficients, every unbiased
estimator has

.. math:: \operatorname{Cov} \ge \sigma^2 (J^T J)^{-1}, \qquad
          E \|\hat x_i - x_i\|^2 \ge \sigma^2 \operatorname{tr} [(J^T J)^{-1}]_{ii},

where the block belongs to :math:`x_i`. Inverting the whole matrix and not its block charges for what is not known of the
other samples and the coefficients. Samples that are known to have norm 1 move on their spheres only: with U an orthonormal
basis of the directions that are left, the bound is :math:`\sigma^2 U (U^T J^T J U)^{-1} U^T`.

It is a statement on estimators near one order of the samples, and for odd activations without biases near one choice of the
signs of (x, c): the order and the signs are not in the gradient, and errors are meant modulo both. With labels that are
known, `provable.leakage.metrics.cramer_rao` applies, and its bound is lower.

For one hidden layer with m units and one gradient, JᵀJ grows as m and has about d independent directions for each sample, so
the bound falls as :math:`\sigma \sqrt{d / m}` at fixed residuals; it is inversely proportional to the residuals.

References
----------
Rao, 1945; Cramér, 1946. For constraints: Stoica and Ng, "On the Cramér-Rao bound under parametric constraints", IEEE Signal
Processing Letters, 1998.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.leakage.metrics.metric import Metric
from provable.measures import Measure
from provable.networks import Parameters
from provable.networks.embedding_derivative import normal_equations, pushed_embedding
from provable.networks.inverse_information import inverse_information

METRIC = Metric(
    name="batch Cramér-Rao bound",
    question="How accurate can an unbiased attack on the noisy gradient of a batch with unknown labels be?",
    definition="root mean square of |x̂_i - x_i| over the batch >= σ √(tr [(JᵀJ)⁻¹]_x / B), J also by the coefficients",
    unit="that of the norm of a sample",
    needs="architecture, parameters, samples with coefficients, noise",
    source="Rao 1945, Cramér 1946; unit norms Stoica and Ng 1998",
    cannot_see=(
        "biased estimators, that is all prior knowledge: of images, of labels being integers",
        "other batches with the same gradient, and the order and signs that no gradient shows",
        "thresholds: where noise is large, attacks jump to other solutions and err by more",
        "how hard it is to compute an estimator that attains it",
    ),
)


@dataclass(frozen=True, eq=False)
class BatchCramerRao:
    """Cramér-Rao bounds of all samples of one batch.

    Parameters
    ----------
    noise : float
        Standard deviation σ of the noise on each number that is seen.
    unknowns : int
        Free numbers: of the points, less one each if their norms are known, and of the coefficients.
    equations : int
        Numbers that are seen.
    nullity : int
        Directions that are open, or seen so badly that rounding hides them: those with a singular value below 1e-11 times
        the largest, after columns of J are scaled to norm 1.
    condition_number : float
        Largest singular value of that scaled J over the smallest one that counts; infinite if none does.
    sample_lower_bounds : ndarray of shape (n,)
        Lower bounds of √(E |x̂_i - x_i|²); infinite where a direction that is open moves the sample.
    coefficient_lower_bounds : ndarray of shape (n, C)
        Lower bounds of the standard deviation of each coefficient; infinite in the same way.
    """

    noise: float
    unknowns: int
    equations: int
    nullity: int
    condition_number: float
    sample_lower_bounds: Float
    coefficient_lower_bounds: Float

    @property
    def rmse_lower_bound(self) -> float:
        """Root of the mean over the batch of the squared bounds of the samples; infinite if one is."""
        return float(np.sqrt(np.mean(self.sample_lower_bounds**2)))


def batch_cramer_rao(
    architecture: Architecture,
    parameters: Parameters,
    measure: Measure,
    noise: float,
    *,
    pieces: Iterable[str] | None = None,
    mask: Mapping[str, NDArray[np.bool_]] | None = None,
    unit_norm: bool = False,
) -> BatchCramerRao:
    """Cramér-Rao bounds of a batch with unknown labels; see the module for what they say.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        θ.
    measure : Measure
        The samples and their coefficients ∂ℓ/∂f, (n,) or (n, C), as they enter the gradient (divided by n for a mean).
    noise : float
        Standard deviation σ >= 0 of the noise on each number that is seen.
    pieces : iterable of str, optional
        Names of the parameters whose gradients are seen; all by default.
    mask : mapping of str to ndarray of bool, optional
        Which entries of these pieces are seen, as for a pruned gradient; all of a piece that the mapping does not have.
    unit_norm : bool
        Whether the samples are known to have the Euclidean norm that they have.

    Returns
    -------
    BatchCramerRao
        The bounds.

    Raises
    ------
    InputError
        If something does not fit or there is no sample.
    UnsupportedError
        For a layer that cannot be evaluated, and beyond 4096 unknowns.
    """
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    if not measure.size:
        raise InputError("measure: found no samples; one or more are accepted")
    weights = _weights(architecture, pieces, mask or {})
    information, _ = normal_equations(architecture, parameters, measure, weights)
    count = measure.size
    points = np.asarray(measure.points, dtype=np.float64).reshape(count, -1)
    return bounds_of_information(
        information,
        points,
        float(noise),
        equations=int(sum(np.count_nonzero(weight) for weight in weights.values())),
        unit_norm=unit_norm,
        push=lambda directions: pushed_embedding(architecture, parameters, measure, directions, weights),
    )


def bounds_of_information(
    information: Float,
    points: Float,
    noise: float,
    *,
    equations: int,
    unit_norm: bool = False,
    push: Callable[[Float], Float] | None = None,
) -> BatchCramerRao:
    """Cramér-Rao bounds from JᵀJ.

    Parameters
    ----------
    information : ndarray of shape (n (d + C), n (d + C))
        JᵀJ of what is seen; unknowns are all points, then all coefficients (or labels, if J is with respect to these).
    points : ndarray of shape (n, d)
        The samples.
    noise : float
        σ >= 0.
    equations : int
        Numbers that are seen.
    unit_norm : bool
        Whether the norms of the samples are known.
    push : callable, optional
        Gives J v for directions (k, N); without it, singular values of J below 1e-7 times the largest count as zero.

    Returns
    -------
    BatchCramerRao
        The bounds.

    Raises
    ------
    UnsupportedError
        If squares of derivatives leave the range of float64.
    """
    if not np.isfinite(information).all():
        raise UnsupportedError(
            "parameters: found derivatives whose squares are too large for float64; parameters and samples of moderate size "
            "are accepted"
        )
    count, dimension = points.shape
    inverse = inverse_information(information, points, unit_norm=unit_norm, push=push)
    return BatchCramerRao(
        noise=noise,
        unknowns=inverse.unknowns,
        equations=equations,
        nullity=inverse.nullity,
        condition_number=inverse.condition_number,
        sample_lower_bounds=_times(noise, np.sqrt(inverse.point_variances(count, dimension))),
        coefficient_lower_bounds=_times(noise, np.sqrt(inverse.other_variances(count, dimension))).reshape(count, -1),
    )


def _times(noise: float, bounds: Float) -> Float:
    """The bounds under this noise; what is open stays infinite without noise, too."""
    return np.where(np.isinf(bounds), math.inf, noise * np.where(np.isinf(bounds), 0.0, bounds))


def _weights(
    architecture: Architecture, pieces: Iterable[str] | None, mask: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Float]:
    shapes = architecture.parameter_shapes
    names = list(shapes) if pieces is None else list(pieces)
    for name in [*names, *mask]:
        if name not in shapes:
            raise InputError(f"pieces: found the unknown name {str(name)!r:.60}; {', '.join(shapes)} are accepted")
    return {name: np.asarray(mask.get(name, np.ones(shapes[name]))).astype(np.float64) for name in names}
