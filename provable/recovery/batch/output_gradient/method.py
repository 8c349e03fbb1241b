r"""A batch from the gradient of a network with one hidden layer, of which the output layer's part may be all that is seen.

This is the setting of Wang, Lee and Lei: :math:`\partial L/\partial a_j = \sum_i c_i\,\sigma(w_j \cdot x_i + b_j)`, j ≤ m.
They average the equations to moments, with an error of order :math:`\sqrt{d/m}`. But the equations are exact, m of them for
the B (d + 1) unknowns, and they are solved as such here, together with the gradients of the other parameters where those
were observed: coefficients eliminated, Levenberg and Marquardt from random starts with replacement of single samples.

Whatever is found is judged by all observed pieces. No theorem says that the search succeeds, nor that another batch is not
as good an explanation far away; that none is near is what a certificate proves.

References
----------
Z. Wang, J. Lee and Q. Lei, Reconstructing training data from model gradient, provably, AISTATS 2023.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Identity
from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found, power_of_two
from provable.recovery.batch.chain import FullyConnected, is_affine, numerical_rank, reason_against
from provable.recovery.batch.judgement import judge
from provable.recovery.batch.output_gradient.equations import Equations, Reflection
from provable.recovery.batch.output_gradient.search import LONGEST_DESCENT, search, with_new_sample
from provable.recovery.batch.output_gradient.signs_and_norms import MOST_SAMPLES, scales, turned_around
from provable.recovery.batch.output_gradient.variable_projection import Fit, descend, fit
from provable.recovery.batch.output_gradient.visibility import INVISIBLE, Visibility, without_invisible
from provable.recovery.batch.precision import precision
from provable.recovery.batch.refinement import in_coordinates
from provable.recovery.method import Method
from provable.recovery.result import Recovery

Float = NDArray[np.float64]

NAME = "moments"

MOST_STEPS = 10_000
"""About how many steps of Levenberg and Marquardt are made for one batch size."""

STEPS_PER_SAMPLE = 300
"""The same for each sample of a batch whose size is only tried."""

MOST_WORK = 2e11
"""Fewer steps are made if they would need more multiplications, about a minute's; all sizes that are tried share it."""

OVERHEAD = 1e7
"""How many multiplications could be made while a step calls its functions, about two milliseconds."""

LARGEST_BATCH = 32
"""Largest batch size that is tried where it is not known."""

LARGEST_DERIVATIVE = 2**25
"""Most entries of the derivative by the samples (256 MiB)."""

ROUNDINGS = 64.0
"""A misfit of so many units of rounding, times √(d + n), relative to the size of the terms counts as explained."""

NEARLY = 1e-6
"""A search that ends with a smaller relative misfit above rounding shows what it found, as a candidate."""

SCARCE = 0.25
"""With fewer surplus equations than that share of the unknowns a second batch is searched for that explains them as well."""

WELL_KNOWN = 1e-6
"""Samples that rounding leaves open by a larger relative error are named."""


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it applies, otherwise the reason why not: another network, or no more equations than unknowns, so that
        infinitely many batches explain the observation or a wrong one may.
    """
    if (reason := reason_against(observation)) is not None:
        return reason
    network = FullyConnected.of(observation)
    if len(network.layers) != 2 or not isinstance(network.last.activation, Identity):
        return f"it needs one hidden layer and a linear output layer, and the network has {len(network.layers)} linear layers"
    first, last = network.layers
    activation = first.activation
    if is_affine(activation):
        return f"layer {first.index} (linear) is followed by an affine function, so only Σ c x of a batch is in its gradient"
    if last.weight_gradient is None and first.weight_gradient is None:
        return f"the gradients of {first.index}/weight and {last.index}/weight were not observed; one of them is needed"
    equations = _goal(Equations.of(_reduced(observation, network)[0], bool(observation.unit_norm)))
    count = _known_size(observation) or 1
    if equations.surplus(count) <= 0:
        unknowns = equations.independent - equations.surplus(count)
        return (
            f"{equations.independent} equations for the {unknowns} unknowns of {count} sample{'s' if count > 1 else ''} do "
            "not determine them; more equations than unknowns are needed"
        )
    entries = equations.size * count * equations.dimension
    if entries > LARGEST_DERIVATIVE:
        return f"the derivative by the samples has {entries} entries; at most {LARGEST_DERIVATIVE} are accepted"
    return None


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    r"""Recover a batch.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws starts, and the perturbations with which the condition of the network is measured.

    Returns
    -------
    Recovery
        As `provable.recovery.batch.judgement.judge` judges it; ``partial`` if fewer samples than the batch has explain the
        observation, ``failed`` if none were found that do. If the batch size is not known, the smallest that explains the
        observation is taken. The fibre has ``null-space:k`` if k directions are open to first order.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    if not any(np.any(piece) for piece in observation.vector.values()):
        return nothing_found(observation, NAME, "no sample is visible: every entry of the gradient is zero")
    with np.errstate(all="ignore"):
        return _recover(observation, rng)


@dataclasses.dataclass(frozen=True, eq=False)
class _Solution:
    equations: Equations
    found: Fit
    visibility: Visibility


def _recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    power = power_of_two(*observation.vector.values())
    scaled = {name: np.ldexp(piece, -power) for name, piece in observation.vector.items()}
    # a gradient like any other: no stationary point is its own multiple
    multiple = dataclasses.replace(observation, kind="gradient", initial_parameters=None, vector=scaled)
    whole = FullyConnected.of(multiple)
    network, basis = _reduced(observation, whole)
    equations = Equations.of(network, bool(observation.unit_norm))
    goal = _goal(equations)
    known, unit = _known_size(observation), precision(observation)
    rank = 1 if whole.first.weight_gradient is None else max(1, numerical_rank(whole.first.weight_gradient, unit))
    sizes = range(min(rank, LARGEST_BATCH), LARGEST_BATCH + 1) if known is None else (known,)
    solution, best, rivals = None, None, False
    left, tried = MOST_WORK, 0
    for count in sizes:
        if goal.surplus(count) <= 0 or (tried and left < _work(goal, count)):
            break
        tried = count
        most = MOST_STEPS if known is not None else STEPS_PER_SAMPLE * count
        for attempt in _attempts(goal, count):
            allowed = int(min(most, max(left / _work(attempt, count), 1)))
            found = _searched(attempt, count, rng, most=allowed, unit=unit, start=best)
            left -= allowed * _work(attempt, count) if known is None else 0.0
            if found.relative <= _tolerance(attempt, count, unit):
                solution = _finished(attempt, goal, found, unit)
            best = found if math.isfinite(found.cost) else None
            if solution is not None:
                if attempt.surplus(count) < SCARCE * (attempt.independent - attempt.surplus(count)):
                    half = int(min(most // 2, max(MOST_WORK / _work(goal, count) / 2, 1)))
                    other = _searched(goal, count, rng, most=half, unit=unit, start=None)
                    rivals = _is_rival(goal, solution, other, unit)
                break
        if solution is not None:
            break
    if solution is None:
        return _unsolved(observation, equations, known, (sizes[0], tried), best, basis, rng)
    points = solution.found.points
    if equations.norm_open and equations.output_bias is not None:
        points = points / scales(solution.found.coefficients, equations.output_bias)[:, None]
    points = points if basis is None else points @ basis.T
    result = _concluded(observation, whole, solution, points, known, rng)
    doubt = ""
    if rivals:
        doubt = "another batch explains the gradient as well, so it does not determine the batch"
    elif goal.is_piecewise_linear and solution.visibility.unchecked:
        # With other activation patterns these equations have other solutions, which nothing contradicts.
        doubt = f"{solution.visibility.unchecked} of the equations are checked by no other, so a wrong batch may explain them"
    if not doubt:
        return result
    return dataclasses.replace(
        result, status="failed", labels=None, reason="; ".join(filter(None, (doubt, result.reason)))
    )


def _is_rival(goal: Equations, solution: _Solution, other: Fit, unit: float) -> bool:
    """Whether a second solution is another batch, and no mere image of the first under a sign or in another order."""
    first, second = solution.found.points, other.points
    if other.relative > _tolerance(goal, len(second), unit) or solution.visibility.open_directions:
        return False
    distances = np.linalg.norm(first[:, None] - second[None], axis=2)
    if goal.is_even or ((reflection := goal.reflection) is not None and reflection.odd):
        distances = np.minimum(distances, np.linalg.norm(first[:, None] + second[None], axis=2))
    return bool(np.max(np.min(distances, axis=1)) > INVISIBLE * np.max(np.linalg.norm(first, axis=1)))


def _reduced(observation: Observation, network: FullyConnected) -> tuple[FullyConnected, Float | None]:
    """The network on the row space of the gradient of W, where all visible samples lie, if that is a proper subspace."""
    gradient = network.first.weight_gradient
    if gradient is None or not np.any(gradient):
        return network, None
    rank = numerical_rank(gradient, precision(observation))
    if rank >= min(gradient.shape):
        return network, None
    basis: Float = np.linalg.svd(gradient, full_matrices=False)[2][:rank].T
    return in_coordinates(network, basis), basis


def _goal(equations: Equations) -> Equations:
    """The equations to be solved: a norm that is open is fixed first, and set by the gradient of the output bias later."""
    return dataclasses.replace(equations, output_bias=None) if equations.norm_open else equations


def _known_size(observation: Observation) -> int | None:
    if observation.batch_size is None and observation.labels is not None:
        return len(observation.labels)
    return observation.batch_size


def _attempts(equations: Equations, count: int) -> Iterator[Equations]:
    """The equations in the forms in which they are tried."""
    full = equations
    if equations.is_piecewise_linear and equations.output_weight is not None:
        outer = dataclasses.replace(equations, hidden_weight=None, hidden_bias=None)
        full = outer if outer.surplus(count) > 0 else equations
    if (reflection := full.reflection) is not None and full.output_weight is not None:
        output_bias = None if reflection.odd else full.output_bias
        signless = dataclasses.replace(full, output_bias=output_bias, free=reflection.free)
        resolvable = count <= (MOST_SAMPLES if reflection.odd else max(MOST_SAMPLES, full.dimension))
        changed = reflection.amount != 0 or (reflection.odd and full.output_bias is not None)
        # A linear function takes d equations; where these are scarce the search does better with all of them.
        enough = signless.size // 3 if signless.free == "linear" else 0
        if resolvable and changed and signless.surplus(count) > enough:
            yield signless
    yield full


def _tolerance(equations: Equations, count: int, unit: float) -> float:
    return ROUNDINGS * unit * math.sqrt(equations.dimension + count)


def _work(equations: Equations, count: int) -> float:
    """Multiplications of one step, and as many as could be made in the rest of its time."""
    return OVERHEAD + 2.0 * equations.size * (count * equations.dimension) ** 2


def _searched(
    equations: Equations, count: int, rng: np.random.Generator, *, most: int, unit: float, start: Fit | None
) -> Fit:
    observed = equations.observed()
    first = None
    if start is not None and len(start.points) == count - 1:
        first = with_new_sample(equations, observed, start.points, rng).points
    return search(equations, observed, count, rng, most=most, tolerance=_tolerance(equations, count, unit), start=first)


def _finished(attempt: Equations, goal: Equations, found: Fit, unit: float) -> _Solution | None:
    """Drop invisible samples, choose signs and solve all equations; None if that does not succeed."""
    tolerance = _tolerance(attempt, len(found.points), unit)
    found, seen = without_invisible(attempt, attempt.observed(), found, precision=unit, tolerance=tolerance)
    if attempt.free == goal.free and attempt.size == goal.size:
        return _Solution(goal, found, seen)
    points = found.points
    reflection = attempt.reflection
    if reflection is not None and (attempt.free != goal.free or attempt.output_bias is not goal.output_bias):
        points = _signs(found, reflection, goal)[:, None] * points
    outer = dataclasses.replace(goal, hidden_weight=attempt.hidden_weight, hidden_bias=attempt.hidden_bias)
    for equations in (outer, goal):
        observed = equations.observed()
        found, _ = descend(
            equations, observed, fit(equations, observed, points), most=LONGEST_DESCENT, tolerance=tolerance
        )
        if not found.relative <= tolerance:
            return None
        points = found.points
    found, seen = without_invisible(goal, goal.observed(), found, precision=unit, tolerance=tolerance)
    return _Solution(goal, found, seen)


def _signs(found: Fit, reflection: Reflection, goal: Equations) -> Float:
    coefficients = found.coefficients
    if not reflection.odd:
        changes = coefficients[:, :, None] * found.points[:, None, :]
        return turned_around(reflection.amount * changes.reshape(len(changes), -1), -found.constants)
    changes, wanted = np.zeros((len(coefficients), 0)), np.zeros(0)
    if reflection.amount:
        changes, wanted = reflection.amount * coefficients, -found.constants
    if goal.output_bias is not None:
        changes = np.column_stack([changes, coefficients])
        wanted = np.concatenate([wanted, (coefficients.sum(axis=0) - goal.output_bias) / 2])
    return turned_around(changes, wanted)


def _unsolved(
    observation: Observation,
    equations: Equations,
    known: int | None,
    tried: tuple[int, int],
    best: Fit | None,
    basis: Float | None,
    rng: np.random.Generator,
) -> Recovery:
    sizes = f"{tried[1]} sample{'s' if tried[1] != 1 else ''}"
    sizes = sizes if known is not None or tried[0] >= tried[1] else f"{tried[0]} to {sizes}"
    misfit = math.inf if best is None else best.relative
    reason = (
        f"no batch of {sizes} was found that explains the {equations.size} equations; the best has a relative misfit of "
        f"{misfit:.1g}"
    )
    if not tried[1]:
        reason = (
            f"the gradient shows at least {tried[0]} samples, and for so many the {equations.size} equations are no more "
            "than the unknowns"
        )
    if best is None or misfit > NEARLY:
        return nothing_found(observation, NAME, reason)
    points = best.points if basis is None else best.points @ basis.T
    result = judge(
        observation, points.reshape(-1, *observation.architecture.input_shape), method=NAME, rng=rng, reason=reason
    )
    return dataclasses.replace(result, status="failed", labels=None)


def _concluded(
    observation: Observation,
    network: FullyConnected,
    solution: _Solution,
    points: Float,
    known: int | None,
    rng: np.random.Generator,
) -> Recovery:
    count, seen = len(points), solution.visibility
    remarks = []
    if known is None:
        remarks.append(f"the batch size is not known; {count} is the smallest that explains the gradient")
    if seen.open_directions:
        directions = "directions are" if seen.open_directions > 1 else "direction is"
        remarks.append(f"{seen.open_directions} {directions} open, so infinitely many batches explain the gradient")
    elif np.max(seen.errors) > WELL_KNOWN:
        worst = int(np.argmax(seen.errors))
        remarks.append(f"rounding leaves sample {worst} open to a relative error of about {seen.errors[worst]:.0e}")
    if solution.equations.is_even:
        remarks.append("the activation is even, so every sample is known up to its sign")
    result = judge(
        observation,
        points.reshape(count, *observation.architecture.input_shape),
        method=NAME,
        rng=rng,
        symmetries=_symmetries(network, solution),
        reason="; ".join(remarks),
    )
    if result.status in ("consistent", "partial") and known is not None and count < known:
        return dataclasses.replace(result, status="partial", labels=None)
    return result


def _symmetries(network: FullyConnected, solution: _Solution) -> tuple[str, ...]:
    names: list[str] = []
    first, last = network.layers
    if first.bias is None and last.bias_gradient is None:  # a bias that nothing was observed of breaks no symmetry
        bare = dataclasses.replace(last, bias=None)
        names.extend(FullyConnected((first, bare)).symmetries)
    count, outputs = solution.found.coefficients.shape
    open_directions = solution.visibility.open_directions
    if solution.equations.norm_open and last.bias_gradient is not None:
        open_directions += max(count - outputs, 0)
    if open_directions:
        names.append(f"null-space:{open_directions}")
    return tuple(names)


METHOD = Method(NAME, supports, recover)
