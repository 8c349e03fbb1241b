r"""Verify that parameters are a KKT point of the max-margin problem for given data, or stationary under weight decay.

Notes
-----
A KKT point of min ½‖θ‖² subject to y_i Φ(θ; x_i) ≥ 1 for a homogeneous network Φ of degree L has

.. math:: \theta = \sum_i \lambda_i y_i h_i, \quad h_i \in \partial_\theta\Phi(\theta; x_i), \quad \lambda_i \ge 0, \quad
          \lambda_i = 0 \text{ unless } y_i \Phi(\theta; x_i) = 1

with Clarke's subdifferential ∂ (Lyu and Li 2020, Ji and Telgarsky 2020: limits of training). Parameters that training gives
have another margin m: θ is a KKT point after division by m^{1/L}, and then its multipliers are λ_i m^{(L-2)/L}. All that is
judged here is therefore invariant under rescaling. Several classes (Buzaglo et al. 2023) have the constraints
Φ_{y_i} − Φ_j ≥ 1, j ≠ y_i. Weight decay has w θ = −Σ_i ∂ℓ(Φ(θ; x_i), y_i), whose multipliers the loss gives; only slopes at
kinks are free.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures import Architecture
from provable.arithmetic import Array, to_float
from provable.errors import InputError
from provable.measures import as_numbers
from provable.networks import Parameters, forward, losses, tangents
from provable.stationarity.clarke import ClarkeTangents
from provable.stationarity.combination import combine
from provable.stationarity.free_kinks import samples_with_tied_kinks
from provable.stationarity.homogeneity import degree_of_homogeneity, layer_degrees
from provable.stationarity.multipliers import nearest_in_cone
from provable.stationarity.report import StationarityReport

TOLERANCE = 1e-9
"""Default relative residual and slackness of a stationary point in floats."""

NEAR_KINK = 1e-4
"""Relative size of a pre-activation that a report of failure mentions, though it does not count as zero."""

LARGEST = 1e30
"""Largest entry of parameters and points in floats, and one over the smallest that the largest entry may have."""


def _squared(vector: Array) -> Any:
    return (vector * vector).sum() if len(vector) else 0.0


def _ratio(part: Any, whole: Any) -> float:
    """A quotient as a float, which is zero only if the quotient is."""
    quotient = part / whole
    return float(to_float(np.asarray(quotient))) or (0.0 if quotient == 0 else math.copysign(math.ulp(0.0), quotient))


def _relative(residual: Array, theta: Array) -> float:
    return math.sqrt(_ratio(_squared(residual), _squared(theta)))


def _constraints(outputs: Array, labels: Any) -> tuple[NDArray[np.intp], Array]:
    """The sample and the combination of outputs of every constraint."""
    count, size = outputs.shape
    given = np.asarray(labels)
    if given.shape != (count,):
        raise InputError(f"labels: found shape {given.shape}; ({count},) is accepted")
    if size == 1:
        if not all(label in (1, -1) for label in given):
            raise InputError("labels: found a label other than 1 and -1 with one output; these two are accepted")
        signs = arithmetic.full((count, 1), -1, outputs)
        signs[np.asarray(given == 1, dtype=np.bool_)] = arithmetic.constant(1, outputs)
        return np.arange(count), signs
    if given.dtype.kind not in "iu" or (count and not 0 <= given.min() <= given.max() < size):
        raise InputError(f"labels: found {given.dtype} entries; integers from 0 to {size - 1} are accepted")
    pairs = [(i, j) for i in range(count) for j in range(size) if j != given[i]]
    directions = arithmetic.full((len(pairs), size), 0, outputs)
    for row, (i, j) in enumerate(pairs):
        directions[row, given[i]], directions[row, j] = (
            arithmetic.constant(1, outputs),
            arithmetic.constant(-1, outputs),
        )
    return np.array([i for i, _ in pairs], dtype=np.intp), directions


def _checked(
    architecture: Architecture, parameters: Parameters, points: Any, kinds: tuple[str, ...] = ("float64", "rational")
) -> tuple[Array, Array, Array]:
    """The samples, θ and the outputs."""
    samples = as_numbers(points, "points")
    if samples.ndim and len(samples) == 0:
        raise InputError("points: found no samples; one or more are accepted")
    if parameters.kind not in kinds:
        raise InputError(f"parameters: found {parameters.kind} numbers; {' and '.join(kinds)} ones are accepted")
    theta = parameters.vector()
    if not np.any(theta != 0):
        raise InputError("parameters: found zero; parameters of positive norm are accepted")
    if parameters.kind == "float64":
        for name, numbers in (("parameters", theta), ("points", samples)):
            largest = float(np.max(np.abs(to_float(numbers)), initial=0.0))
            if not (largest == 0 or 1 / LARGEST <= largest <= LARGEST):  # squares and products of layers are formed
                raise InputError(
                    f"{name}: found a largest entry of {largest:.1e}; {1 / LARGEST:.0e} to {LARGEST:.0e} is accepted"
                )
    outputs = forward(architecture, parameters, samples)
    return samples, theta, outputs


def _hard_residual(
    architecture: Architecture,
    parameters: Parameters,
    points: Array,
    samples: NDArray[np.intp],
    directions: Array,
    chosen: NDArray[np.bool_],
    *,
    known: bool = False,
) -> float:
    """The relative residual without Clarke weights, as programs differentiate."""
    theta = parameters.vector()
    rows = np.flatnonzero(chosen)
    every = tangents(architecture, parameters, points)
    base = (every[samples[rows]] * directions[rows][:, :, None]).sum(axis=1)
    fixed = arithmetic.full((len(rows),), 1, theta) if known else None
    point = nearest_in_cone(theta, base, base[:0], np.zeros(0, dtype=np.intp), fixed=fixed)
    return _relative(point.residual, theta)


def _balance(
    architecture: Architecture, parameters: Parameters, total: Any, degree: int | None
) -> tuple[float, dict[str, float]]:
    """Errors of Euler's identity for all parameters and for each layer."""
    theta = parameters.vector()
    squared = _squared(theta)
    if degree is None:
        return math.nan, {}
    errors = {}
    for path, own in layer_degrees(architecture).items():
        size = sum(_squared(array.reshape(-1)) for name, array in parameters.items() if name.split("/")[0] == path)
        errors[path] = abs(_ratio(size - own * total, squared))
    return abs(_ratio(squared - degree * total, squared)), errors


def _failures(
    tolerance: float, residual: float, slackness: float, clarke: ClarkeTangents, used: NDArray[np.intp]
) -> list[str]:
    found: list[str] = []
    limit = "zero" if tolerance == 0 else f"{tolerance:.0e}"
    if residual > tolerance:
        found.append(f"the residual with the best multipliers and slopes is {residual:.2e} of the parameters' norm")
    if slackness > tolerance:
        found.append(f"multipliers of samples beyond the margin leave a slackness of {slackness:.2e}")
    found = [f"{failure}, and {limit} is accepted" for failure in found]
    if residual > tolerance and clarke.truncated().any():
        found.append("not all combinations of slopes at kinks were tried")
    if residual > tolerance and clarke.next_height() < NEAR_KINK:
        height = clarke.next_height()
        found.append(
            f"a pre-activation of {height:.1e} |w||x| is not small enough for kink_tolerance to count it as zero"
        )
    if not found:
        for sample, path in samples_with_tied_kinks(clarke, used).items():
            found.append(
                f"kinks of sample {sample} in layer {path} are tied, and the slopes found need not be Clarke's"
            )
            break
    return found


def _sizes(tolerance: float, **sizes: float | None) -> None:
    if not 0 <= tolerance < 1:  # no multipliers at all leave a residual of one
        raise InputError(f"tolerance: found {tolerance!r:.60}; a number of at least 0 and below 1 is accepted")
    for name, size in sizes.items():
        if size is not None and not (0 <= size < math.inf):
            raise InputError(f"{name}: found {size!r:.60}; a finite number of at least 0 is accepted")


def _accepted(exact: bool, tolerance: float, kink_tolerance: float | None) -> str:
    """What a positive verdict allows for, where it is not exact."""
    if exact:
        return ""
    kinks = "" if kink_tolerance is None else f", kinks up to {kink_tolerance:.0e}"
    return f" (up to {tolerance:.0e}{kinks})"


def verify_stationarity(
    architecture: Architecture,
    parameters: Parameters,
    points: Any,
    labels: Any,
    *,
    tolerance: float = TOLERANCE,
    margin_tolerance: float | None = None,
    kink_tolerance: float | None = None,
) -> StationarityReport:
    """Verify that θ has the direction of a KKT point of the max-margin problem for given data.

    Parameters
    ----------
    architecture : Architecture
        A homogeneous chain of layers; its loss does not matter.
    parameters : Parameters
        θ ≠ 0. With rational numbers (and rational points) every decision is exact and the report a proof.
    points : array_like of shape (n, *input_shape)
        The samples x_i.
    labels : array_like of shape (n,)
        1 and −1 if the network has one output, otherwise integers from 0.
    tolerance : float, optional
        For floats: the relative residual and slackness that a verified point may have.
    margin_tolerance : float, optional
        For floats: constraints within this relative distance of the smallest margin are on the margin; default `tolerance`.
    kink_tolerance : float, optional
        For floats: the |z| relative to |w||x| that counts as zero; default ``2**10 * 2**-52``.

    Returns
    -------
    StationarityReport
        The multipliers are searched on the margin first, and on all constraints if that leaves a residual: then slackness
        says by how much complementary slackness fails. They need not be unique. Nothing is verified where kinks share weights
        of a convolution such that their slopes are not known to be free (`free_kinks`).

    Raises
    ------
    InputError
        If the network is not homogeneous (the layer is named) or shapes, labels or numbers do not fit. Labels that contradict
        the signs of the outputs are no error: the report's explanation says so, with the number.
    UnsupportedError
        For layers without Clarke tangents, and if all tangents need more than 4 GiB.
    """
    _sizes(tolerance=tolerance, margin_tolerance=margin_tolerance, kink_tolerance=kink_tolerance)
    degree = degree_of_homogeneity(architecture)
    inputs, theta, outputs = _checked(architecture, parameters, points)
    samples, directions = _constraints(outputs, labels)
    exact = arithmetic.kind(outputs) != "float64"
    tolerance = 0.0 if exact else tolerance
    near = 0.0 if exact else tolerance if margin_tolerance is None else margin_tolerance

    margins = (outputs[samples] * directions).sum(axis=1)
    smallest = min(margins)
    clarke = ClarkeTangents(architecture, parameters, inputs, samples, directions, tolerance=kink_tolerance)
    chosen = np.asarray(margins <= smallest + arithmetic.constant(near, outputs) * abs(smallest), dtype=np.bool_)
    found = combine(clarke, theta, chosen)
    if smallest <= 0 or _relative(found.residual, theta) > tolerance:
        every = np.ones(len(margins), dtype=np.bool_)
        wider = combine(clarke, theta, every)
        if _squared(wider.residual) < _squared(found.residual):
            chosen, found = every, wider

    complete = not clarke.truncated().any()
    squared, total = _squared(theta), found.multipliers @ margins
    residual = _relative(found.residual, theta)
    slackness = degree * _ratio(max(found.multipliers * (margins - smallest)), squared)
    euler_error, balance_errors = _balance(architecture, parameters, total, degree)
    used = samples[np.asarray(found.multipliers > 0, dtype=np.bool_)]
    failures = _failures(tolerance, residual, slackness, clarke, used)
    if smallest <= 0:
        worst = int(samples[next(c for c, margin in enumerate(margins) if margin == smallest)])
        failures.insert(
            0,
            f"the labels contradict the outputs: sample {worst} has margin {float(to_float(np.asarray(smallest))):.3g}, "
            "and positive margins are accepted",
        )
    smallest_float = float(to_float(np.asarray(smallest)))
    kinks = sum(int(where.sum()) for where in clarke.kinks.values())
    if failures:
        explanation = f"Not verified as a KKT point: {'; '.join(failures)}."
    else:
        word, allowed = "Proved to be" if exact else "Numerically", _accepted(exact, tolerance, kink_tolerance)
        explanation = (
            f"{word} a KKT point of the max-margin problem{allowed}: residual {residual:.1e}, "
            f"smallest margin {smallest_float:.6g}, "
            f"{len(used)} of {len(margins)} multipliers positive, {kinks} pre-activations at kinks."
        )
    return StationarityReport(
        problem="max-margin",
        arithmetic=arithmetic.kind(outputs),
        degree=degree,
        samples=samples,
        directions=directions,
        margins=margins,
        margin=smallest_float,
        scale=smallest_float ** (-1 / degree) if smallest_float > 0 else math.nan,
        multipliers=found.multipliers,
        slopes=found.slopes,
        kinks=clarke.kinks,
        residual=residual,
        hard_residual=_hard_residual(architecture, parameters, inputs, samples, directions, chosen),
        slackness=slackness,
        euler_error=euler_error,
        balance_errors=balance_errors,
        tolerance=tolerance,
        complete=bool(complete),
        verified=not failures,
        explanation=explanation,
    )


def verify_weight_decay(
    architecture: Architecture,
    parameters: Parameters,
    points: Any,
    labels: Any,
    *,
    weight_decay: float,
    reduction: str = "sum",
    tolerance: float = TOLERANCE,
    kink_tolerance: float | None = None,
) -> StationarityReport:
    """Verify that θ is stationary for the loss with weight decay: w θ + Σ_i ∂ℓ(f(θ; x_i), y_i) contains zero.

    The sum of the samples' subdifferentials may be larger than the subdifferential of the sum, if samples are dependent.

    Parameters
    ----------
    architecture : Architecture
        A chain of layers, homogeneous or not; its loss is ℓ.
    parameters : Parameters
        θ ≠ 0, floats.
    points : array_like of shape (n, *input_shape)
        The samples x_i.
    labels : array_like
        As the loss takes them.
    weight_decay : float
        w > 0, of the penalty ½w‖θ‖².
    reduction : {"sum", "mean"}, optional
        How the loss is reduced over the samples.
    tolerance : float, optional
        The relative residual that a verified point may have.
    kink_tolerance : float, optional
        The |z| relative to |w||x| that counts as zero; default ``2**10 * 2**-52``.

    Returns
    -------
    StationarityReport
        With one constraint for each sample, its direction −ℓ'_i/w (over n for a mean) and multiplier 1.

    Raises
    ------
    InputError
        If shapes, labels or numbers do not fit, the weight decay is not positive or the reduction is unknown.
    UnsupportedError
        For layers without Clarke tangents, and if all tangents need more than 4 GiB.
    """
    if not weight_decay > 0 or not math.isfinite(weight_decay):
        raise InputError(f"weight_decay: found {weight_decay!r:.60}; a positive number is accepted")
    _sizes(tolerance=tolerance, kink_tolerance=kink_tolerance)
    if reduction not in ("sum", "mean"):
        raise InputError(f"reduction: found {reduction!r:.60}; sum and mean are accepted")
    inputs, theta, outputs = _checked(architecture, parameters, points, ("float64",))
    divisor = weight_decay * (len(inputs) if reduction == "mean" else 1)
    directions = -losses.residual(architecture.loss, outputs, labels) / divisor
    samples = np.arange(len(inputs))
    try:
        degree: int | None = degree_of_homogeneity(architecture)
    except InputError:
        degree = None
    clarke = ClarkeTangents(architecture, parameters, inputs, samples, directions, tolerance=kink_tolerance)
    every = np.ones(len(samples), dtype=np.bool_)
    found = combine(clarke, theta, every, known=True)
    complete = not clarke.truncated().any()
    margins = (outputs * directions).sum(axis=1)
    residual = _relative(found.residual, theta)
    euler_error, balance_errors = _balance(architecture, parameters, margins.sum(), degree)
    failures = _failures(tolerance, residual, 0.0, clarke, samples)
    kinks = sum(int(where.sum()) for where in clarke.kinks.values())
    decayed = f"stationary with weight decay {weight_decay:g}"
    explanation = f"Not verified as {decayed}: {'; '.join(failures)}."
    if not failures:
        allowed = _accepted(False, tolerance, kink_tolerance)
        explanation = f"Numerically {decayed}{allowed}: residual {residual:.1e}, {kinks} pre-activations at kinks."
    return StationarityReport(
        problem="weight-decay",
        arithmetic="float64",
        degree=degree,
        samples=samples,
        directions=directions,
        margins=margins,
        margin=math.nan,
        scale=math.nan,
        multipliers=found.multipliers,
        slopes=found.slopes,
        kinks=clarke.kinks,
        residual=residual,
        hard_residual=_hard_residual(architecture, parameters, inputs, samples, directions, every, known=True),
        slackness=0.0,
        euler_error=euler_error,
        balance_errors=balance_errors,
        tolerance=tolerance,
        complete=bool(complete),
        verified=not failures,
        explanation=explanation,
    )
