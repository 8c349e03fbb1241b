r"""Chen and Campbell's hybrid: the recursion of R-GAP with a gradient-matching correction at every convolution.

Where a linear system does not determine a layer's input, its solution is corrected by Adam on the matching loss
(`matching`), and the next layer works with the corrected input. At the end all gradients are fitted at once (`polishing`).
Unlike the released code, biases of convolutions are subtracted before the systems are solved, and the systems are those of
the layer-wise recursion for every padding and stride. Total variation is a prior: it fills null spaces with what looks
smooth, not with what was there, so only the final test tells whether the gradients are explained.

References
----------
C. Chen and N. Campbell, Understanding training-data leakage from gradients in neural networks for image classification,
arXiv:2111.10178.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures import AvgPool2d, Conv2d, Linear
from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.hybrid.adam import adam
from provable.recovery.hybrid.matching import PUBLISHED, MatchingLoss
from provable.recovery.hybrid.polishing import polish
from provable.recovery.hybrid.tails import label_at, tail
from provable.recovery.layerwise.anchors import Anchor, anchors
from provable.recovery.layerwise.descent import Descent, descend
from provable.recovery.layerwise.judgement import Judgement, judge
from provable.recovery.layerwise.least_squares import Solution
from provable.recovery.layerwise.support import obstacle_before, supports
from provable.recovery.layerwise.system import System
from provable.recovery.method import Method
from provable.recovery.openness import open_directions
from provable.recovery.result import Recovery

Float = NDArray[np.float64]

NAME = "hybrid"

AGREEMENT = 1e-8
"""Relative misfit of a layer's system up to which what it determines needs no correction."""


@dataclasses.dataclass(frozen=True)
class Iterations:
    """Numbers of iterations.

    Parameters
    ----------
    first, second, others : int
        Adam steps at the first convolution, the second and each of the others; the published experiments use 10 000,
        8000 and 1000.
    final : int
        Gauss-Newton steps on all gradients at the end; the published method has none.
    everywhere : bool
        Whether inputs that their systems determine are corrected too, as published; the total variation then moves them
        away from the truth.
    """

    first: int = 200
    second: int = 160
    others: int = 20
    final: int = 20
    everywhere: bool = False


PUBLISHED_ITERATIONS = Iterations(10_000, 8000, 1000, 0, everywhere=True)
"""Those of the published experiments."""


def hybrid(observation: Observation, rng: np.random.Generator, *, iterations: Iterations | None = None) -> Recovery:
    """Recover the sample layer by layer with corrections.

    Parameters
    ----------
    observation : Observation
        One that `provable.recovery.layerwise.support.supports` accepts.
    rng : numpy.random.Generator
        Draws the perturbations with which the condition of the network is measured.
    iterations : Iterations, optional
        How long to optimise.

    Returns
    -------
    Recovery
        ``consistent`` if every piece of the gradient is explained at rounding level, otherwise ``failed`` with the best
        guess. The fibre has the number of directions that all gradients together leave open at the sample found, to first
        order, if a layer's system lacks rank.

    Raises
    ------
    UnsupportedError
        If the recursion does not apply.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    with np.errstate(all="ignore"):
        return _hybrid(observation, rng, iterations or Iterations())


def _hybrid(observation: Observation, rng: np.random.Generator, iterations: Iterations) -> Recovery:
    starts = anchors(observation)
    if isinstance(starts, str):
        return nothing_found(observation, NAME, starts)
    start = _likeliest(observation, starts)
    # Layers without a gradient were passed over, and what lies between them and the input was not looked at before.
    if (reason := obstacle_before(observation, start.index)) is not None:
        return nothing_found(observation, NAME, reason)
    label = label_at(observation, start, NAME)
    if label is None:
        return nothing_found(observation, NAME, "no label explains the start of the recursion, and matching needs one")
    order = [
        place for place, layer in enumerate(observation.architecture.layers) if isinstance(layer, Conv2d | AvgPool2d)
    ]

    def correct(index: int, solution: Solution, system: System) -> Float:
        inputs = solution.values.reshape(observation.architecture.shapes[index])
        determined = solution.rank == inputs.size and solution.misfit <= AGREEMENT
        if isinstance(observation.architecture.layers[index], Linear) or (determined and not iterations.everywhere):
            return inputs
        place = order.index(index)
        steps = (iterations.first, iterations.second, iterations.others)[min(place, 2)]
        loss = MatchingLoss(tail(observation, index), label, PUBLISHED[min(place, 2)], system)
        return adam(loss, inputs, steps)[0]

    descent = descend(observation, start, patience=math.inf, correct=correct)
    if descent.inputs is None:
        return nothing_found(observation, NAME, "the recursion ran into numbers that are not finite")
    inputs, misfit = descent.inputs[None], math.inf
    if iterations.final:
        inputs, misfit = polish(observation, inputs, label, steps=iterations.final)
    verdict = judge(observation, inputs, label, NAME, rng)
    if not math.isfinite(verdict.residual):
        return nothing_found(observation, NAME, verdict.reason)
    fibre: tuple[str, ...] = ()
    if not verdict.accepted:
        stopped = "" if math.isinf(misfit) else f"gradient matching stopped at a relative misfit of {misfit:.2g}: "
        reason = stopped + verdict.reason
    else:
        fibre, reason = _openness(observation, descent, verdict, label)
    return Recovery(
        points=verdict.inputs,
        coefficients=verdict.coefficients,
        labels=verdict.labels,
        residual=verdict.residual,
        method=NAME,
        fibre=fibre,
        status="consistent" if verdict.accepted else "failed",
        reason=reason,
    )


def _openness(
    observation: Observation, descent: Descent, verdict: Judgement, label: NDArray[Any]
) -> tuple[tuple[str, ...], str]:
    """Fibre and reason of an accepted sample."""
    short = [step for step in descent.steps if step.nullity]
    if not short:
        return (), verdict.reason
    names = ", ".join(f"layer {step.index} ({step.type}) by {step.nullity}" for step in short)
    reasons = [verdict.reason] if verdict.reason else []
    reasons.append(f"equations are short ({names}), so what they leave open was filled in by the total variation")
    count = open_directions(observation, verdict.inputs, label)
    if count is None:
        # The first layer's null space is one of all gradients, whatever the others are.
        count = descent.steps[-1].nullity
        reasons.append("the sample is too large for all open directions to be counted")
    return ((f"null-space:{count}",) if count else ()), "; ".join(reasons)


def _likeliest(observation: Observation, starts: tuple[Anchor, ...]) -> Anchor:
    """The start whose equations agree furthest down, of equals the first."""

    def badness(start: Anchor) -> tuple[int, float]:
        descent: Descent = descend(observation, start, joint=False)
        depth = -1 if descent.inputs is not None or not descent.steps else descent.steps[-1].index
        misfit = descent.worst_misfit
        return depth, float(np.round(np.log10(misfit))) if misfit > 0 else -math.inf

    return starts[0] if len(starts) == 1 else min(starts, key=badness)


METHOD = Method(NAME, supports, hybrid)
