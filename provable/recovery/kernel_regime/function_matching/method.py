"""Recovery of the training points from the trained function alone, by linear and multilinear algebra and one refinement."""

from __future__ import annotations

import math

import numpy as np

from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.recovery.kernel_regime.function_matching import block_span, lifting, rank_one, refinement, verdict
from provable.recovery.kernel_regime.function_matching.oracle import Float, Kernel, Oracle, TrainedFunction
from provable.recovery.kernel_regime.function_matching.result import FunctionRecovery

SMALLEST_DIMENSION = 6
"""Free coordinates that the method needs: two outside and four inside the space where the function is asked."""

ROUGHEST = 1e-3
"""Relative error of second derivatives above which a function does not look analytic."""


def recover_from_function(
    function: Oracle,
    kernel: Kernel,
    dimension: int,
    *,
    gradient: Oracle | None = None,
    squared_norm: float | None = None,
    bias: float | None = None,
    radius: float = 1.0,
    rng: np.random.Generator | int | None = None,
) -> FunctionRecovery:
    r"""Recover Σ_j α_j δ_{x_j} from h(z) = Σ_j α_j k(z, x_j), the number of points unknown.

    Parameters
    ----------
    function : callable
        Points (q, dimension) to values (q,) of h, in float64.
    kernel : callable
        ``kernel(X, Z)`` gives the (n, m) values of k, which has to depend on x·z, ‖x‖ and ‖z‖ only, as the kernels of dense
        networks do (`provable.kernels`).
    dimension : int
        Coordinates of an input.
    gradient : callable, optional
        Points (q, dimension) to gradients (q, dimension) of h; saves most of the evaluations.
    squared_norm : float, optional
        ‖h‖²_H = ‖Δθ‖², for the loss.
    bias : float, optional
        The value of the last coordinate of all inputs, if it is fixed; h is then asked at such points only.
    radius : float, optional
        The typical norm of the inputs, the fixed coordinate left out; right within a factor of some ten.
    rng : Generator or int, optional
        Or its seed; default 0.

    Returns
    -------
    FunctionRecovery
        The measure with its verdict.

    Raises
    ------
    InputError
        If an argument is out of range, or an oracle returns a wrong shape, a number that is not finite, or no number
        above 1e-120 though not all are zero.
    UnsupportedError
        If there are fewer than `SMALLEST_DIMENSION` free coordinates.

    Notes
    -----
    1. For z in a space Z, blocks of the Hessian of h on its complement W span the squares p_j p_jᵀ of the points'
       projections on W and the identity; the dimension of the span is the number of points plus one.
    2. The subspace power method finds the p_j as the rank-one matrices of the span.
    3. Mixed blocks give the coordinates on Z by a linear system; the weights of the blocks as functions of z
       give scale, sign and coefficient.
    4. Gauss-Newton steps on values of h refine all jointly to rounding.

    No step has a starting point to choose, and the kernel needs no derivatives. Points with α_j = 0 are invisible; of
    coincident points the sum of coefficients is seen; on one ray a homogeneous kernel sees Σ α_j‖x_j‖ only, and 0 not at all.
    Several points on one line through 0, or so many in a subspace that their squares are dependent, are not told apart with
    other kernels either: the status is ``partial`` or ``failed`` then.
    """
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(f"radius: found {radius!r:.60}; a positive finite number is accepted")
    if squared_norm is not None and not (np.isfinite(squared_norm) and squared_norm >= 0):
        raise InputError(f"squared_norm: found {squared_norm!r:.60}; a nonnegative finite number is accepted")
    generator = np.random.default_rng(0 if rng is None else rng)
    trained = TrainedFunction(function, kernel, dimension, gradient, bias)
    if trained.free < SMALLEST_DIMENSION:
        raise UnsupportedError(
            f"dimension: found {trained.free} free coordinates; the method needs {SMALLEST_DIMENSION} at least"
        )
    span = block_span.span_of_blocks(trained, radius, generator)
    found = _Search(trained, span, radius, squared_norm, generator)
    if span.stencil.size == 0 or not len(span.space):
        return found.without_curvature()
    if span.stencil.error > ROUGHEST * span.stencil.size:
        return found.nothing(
            "function: its second differences do not settle at any step, so it is noisy, not differentiable or "
            "no finite sum of this kernel at these points"
        )
    if span.saturated:
        most = block_span.largest_count(span.space.shape[1])
        return found.nothing(
            f"function: more than {most} points, the most that {trained.free} free coordinates allow, or noise"
        )
    return found.completed()


class _Search:
    """The steps after the span of the blocks, and the reports of their failures."""

    def __init__(
        self,
        function: TrainedFunction,
        span: block_span.BlockSpan,
        radius: float,
        squared_norm: float | None,
        rng: np.random.Generator,
    ) -> None:
        self.function, self.span, self.radius, self.squared_norm, self.rng = function, span, radius, squared_norm, rng
        clear = span.gap >= block_span.CLEAR_GAP and not span.saturated
        self.count = len(span.space) - 1 if clear and len(span.space) else None

    def nothing(self, reason: str) -> FunctionRecovery:
        """Report that no atom was found."""
        empty = np.empty((0, self.function.free))
        return self._reported(empty, np.empty(0), ("permutation",), [reason], "failed")

    def without_curvature(self) -> FunctionRecovery:
        """Report a function whose Hessian vanishes where it was asked."""
        held_out = block_span.points_in(np.eye(self.function.free), 20, self.radius, self.rng)
        if not np.any(self.function.values(held_out)):
            return self._reported(np.empty((0, self.function.free)), np.empty(0), ("permutation",), [], "consistent")
        return self.nothing("function: has no second derivatives, so it is no finite sum of a kernel that has some")

    def completed(self) -> FunctionRecovery:
        """Run the remaining steps."""
        function, span = self.function, self.span
        reasons: list[str] = []
        if self.count is None:
            reasons.append(f"rank: no gap in the singular values of the Hessian blocks (ratio {span.gap:.1f})")
        wanted = len(span.space) - 1
        directions, _ = rank_one.rank_ones(span.space, wanted, block_span.deficit_tolerance(span), self.rng)
        if len(directions) < wanted:
            reasons.append(f"rank-one matrices: {len(directions)} of {wanted} were found in the span of the blocks")
        if not len(directions):
            return self.nothing("; ".join(reasons) or "rank: the blocks span nothing but the identity")
        lifts = lifting.lifted(function, span, directions, self.radius, self.rng)
        points, coefficients, undecided, homogeneous = lifting.scaled(function, span, directions, lifts, self.radius)
        odd = self._odd(points)
        if undecided.any() and not odd:
            where = block_span.points_in(np.eye(function.free), 2 * len(points) + 20, self.radius, self.rng)
            points, undecided = lifting.signed(function, points, coefficients, undecided, where)
        result = refinement.refined(function, points, coefficients, self.radius, self.rng)
        points, coefficients = result.points, result.coefficients
        if homogeneous:
            norms = np.linalg.norm(points, axis=1)
            points, coefficients = points / norms[:, None], coefficients * norms
        fibre = ["permutation"]
        if homogeneous:
            fibre.append("positive-scaling")
        if odd:
            flipped = coefficients < 0
            points[flipped], coefficients[flipped] = -points[flipped], -coefficients[flipped]
            fibre.append("joint-sign")
        elif undecided.any():
            fibre.append(f"antipodal:{int(undecided.sum())}")
        return self._reported(points, coefficients, tuple(fibre), reasons, None)

    def _odd(self, points: Float) -> bool:
        """Whether k(z, -x) = -k(z, x)."""
        centres = self.span.centres[:20]
        plus, minus = self.function.kernel(points, centres), self.function.kernel(-points, centres)
        size = float(np.abs(plus).max(initial=0.0))
        return self.function.bias is None and bool(
            np.abs(plus + minus).max(initial=0.0) <= verdict.RATIO * (10 + self.function.free) * 2.0**-52 * size
        )

    def _reported(
        self, points: Float, coefficients: Float, fibre: tuple[str, ...], reasons: list[str], status: str | None
    ) -> FunctionRecovery:
        function = self.function
        held_out = block_span.points_in(np.eye(function.free), 200, self.radius, self.rng)
        if len(points):
            near = refinement.samples_around(points, self.radius, self.rng)
            held_out = np.vstack([held_out, near[:: max(1, len(near) // 400)]])
        seen = verdict.judged(function, points, coefficients, held_out, self.squared_norm)
        if status is None:
            if seen.residual > seen.tolerance:
                reasons.append(
                    f"residual: {seen.residual:.1e} at held-out points, above the {seen.tolerance:.1e} of rounding"
                )
            if not seen.decided.all():
                reasons.append(f"atoms: {int((~seen.decided).sum())} could be left out within what is unexplained")
            status = "partial" if reasons else "consistent"
            if status == "partial" and not seen.residual < 0.5:
                status = "failed"
        return FunctionRecovery(
            measure=Measure(function.full(points), coefficients),
            decided=seen.decided,
            deletion_costs=seen.deletion_costs,
            residual=float(seen.residual) if math.isfinite(seen.residual) else math.inf,
            tolerance=seen.tolerance,
            loss=seen.loss,
            loss_floor=seen.loss_floor,
            count=self.count,
            gap=self.span.gap,
            fibre=fibre,
            status=status,
            reason="; ".join(reasons),
            evaluations=function.evaluations,
        )
