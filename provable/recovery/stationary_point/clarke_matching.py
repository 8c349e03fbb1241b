r"""The method `clarke-matching`: all data behind a two-layer ReLU network, kinks included, and whether there are others.

The released attacks search for zeros of a loss of which the data are none: training puts kinks exactly on samples, where
stationarity holds for *some* multipliers in [0, 1] only, and neither the slope 0 or 1 nor a smoothed one is among them. Here
the multipliers are unknowns, samples are looked for in the row space of the first layer, equal neurons are one equation, and
nothing is descended: in the closed cells of the neurons' arrangement stationarity and margins are linear in moments
(`cell_moments`), so that a linear program for each margin finds data where there are any. Gauss and Newton make them exact
(`clarke_refinement`), and the count of equations, the rank at the solution and other vertices of the same polyhedron tell
whether they need be the training data.

Notes
-----
A zero found is not selected by anything but its margin, its number of samples and its misfit. In two or more dimensions there
often are zeros with *fewer* samples than the training set, and on a line there are at other margins.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Identity, ReLU
from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import RATIO, longest, nothing_found, rounding_tolerance
from provable.recovery.batch.chain import FullyConnected, reason_against
from provable.recovery.method import Method
from provable.recovery.result import Recovery
from provable.recovery.stationary_point.arrangement import Arrangement
from provable.recovery.stationary_point.cell_moments import Atoms, CellMoments
from provable.recovery.stationary_point.clarke_refinement import AT_A_KINK, Refined, refine
from provable.recovery.stationary_point.equation_count import count_equations
from provable.recovery.stationary_point.margin_search import feasible_margins
from provable.recovery.stationary_point.only_solution import is_only_solution

Float = NDArray[np.float64]

NAME = "clarke-matching"

LARGEST_CELLS = 300
"""Cells of an arrangement at most; the linear programs take about a tenth of a second each there."""

LARGEST_IMBALANCE = 1e-2
"""Norms of incoming and outgoing weights that differ by more, relatively, are those of no stationary point."""

MARGINS = 6
"""Margins at most at which data are looked for."""

MOST_TRIALS, LEAST_TRIALS, CELLS_TRIED = 60, 6, 1500
"""Vertices looked for at the likeliest margin, so many that about `CELLS_TRIED` cells are in their programs together; at
others a third."""

ENOUGH = 10
"""After so many vertices that are no new ones the next margin is tried."""

NORMALISED = 1e-9
"""Margins this near to 1 are that of the max-margin problem as it is stated, y f >= 1; data of margin 1 are preferred."""

LARGER = 10.0
"""Where data of larger margins are found, θ is not normalised to 1."""

DIFFERENT = 1e-6
"""Sets of samples of which one is farther than this from all of the other, relative to their size, are different."""


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it applies, otherwise the reason why not.
    """
    if observation.kind != "stationary-point":
        return f"it needs a stationary point, and the observation is of kind {observation.kind}"
    if (reason := reason_against(observation)) is not None:
        return reason
    network = FullyConnected.of(observation)
    if len(network.layers) != 2 or not isinstance(network.first.activation, ReLU):
        return "it needs two linear layers with relu between them"
    if len(network.last.weight) != 1 or not isinstance(network.last.activation, Identity):
        return "it needs one output, with nothing behind it"
    if network.last.bias is not None:
        return f"layer {network.last.index} (linear) has a bias, so that the network is not homogeneous"
    if observation.architecture.loss != "logistic":
        return f"the loss is {observation.architecture.loss}; samples have a common margin under logistic"
    if not any(np.any(piece) for piece in observation.parameters.values()):
        return "every parameter is zero, and no sample leaves a trace"
    imbalance = count_equations(observation).imbalance
    if not imbalance <= LARGEST_IMBALANCE:
        return (
            "the parameters are at no stationary point: the norms of a neuron's incoming and outgoing weights differ by "
            f"{imbalance:.1%}, at most {LARGEST_IMBALANCE:.0%} is accepted"
        )
    return None


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover the samples with a coefficient that is not zero.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws the costs of linear programs.

    Returns
    -------
    Recovery
        ``consistent`` if samples with Clarke multipliers in [0, 1] and a common margin explain θ up to 30 k ε κ, with
        ``null-space:k`` in the fibre if k directions are open at the solution; the reason begins with ``undetermined`` if the
        count of equations says so, a direction is open or other samples explain θ as well or are not excluded
        (`is_only_solution`). Otherwise ``failed``. Samples orthogonal to the rows of the first layer are taken for zero in
        these directions.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    count = count_equations(observation)
    arrangement = Arrangement.of(observation)
    if not arrangement.basis.shape[1]:
        return nothing_found(
            observation, NAME, "undetermined: the first layer sees no direction, so that nothing of the samples is left"
        )
    patterns = arrangement.patterns(LARGEST_CELLS)
    if patterns is None:
        units, rank = len(arrangement.signs), arrangement.basis.shape[1]
        return nothing_found(
            observation,
            NAME,
            f"{units} distinct neurons in {rank} dimensions cut the inputs into more than {LARGEST_CELLS} cells; "
            + count.sentence,
        )
    program = CellMoments(arrangement, patterns)
    margins = feasible_margins(program, MARGINS)
    if not margins:
        return nothing_found(
            observation,
            NAME,
            "no data of one common margin have this stationary point, whatever their Clarke multipliers at kinks: training "
            f"has not converged, or had another loss or weight decay; {count.sentence}",
        )
    solutions = _solutions(program, margins, rng)
    fitting = [one for one in solutions if _fits(observation, one.atoms)]
    if not fitting:
        found = min((len(one.atoms.coefficients) for one in solutions), default=None)
        what = (
            "no solution of the linear programs was refined"
            if found is None
            else f"the fewest samples found are {found}, and fewer are not excluded"
            if observation.labels is None
            else f"samples explain the point, at least {found}, but none with the labels that the observation states"
        )
        return nothing_found(observation, NAME, f"{what}; {count.sentence}")
    return _judged(observation, program, fitting)


def _fits(observation: Observation, atoms: Atoms) -> bool:
    """Whether a training set as large as stated, with the labels stated, can have these samples."""
    if observation.labels is not None:
        known = np.asarray(observation.labels, dtype=np.float64)
        signs = np.sign(atoms.coefficients)
        return all(np.count_nonzero(signs == label) <= np.count_nonzero(known == label) for label in (1.0, -1.0))
    return observation.batch_size is None or len(atoms.coefficients) <= observation.batch_size


def _solutions(program: CellMoments, margins: list[float], rng: np.random.Generator) -> list[Refined]:
    """Refined solutions: of margin 1 first, then with the fewest samples, then with the fewest open directions."""
    found: list[Refined] = []
    most = max(LEAST_TRIALS, min(MOST_TRIALS, CELLS_TRIED // len(program.patterns)))
    for position, margin in enumerate(margins):
        trials, nothing_new = most if position == 0 else max(LEAST_TRIALS, most // 3), 0
        for _ in range(trials):
            moments = program.sparse_vertex(margin, rng)
            if moments is None or nothing_new >= ENOUGH:
                break
            refined = refine(program.arrangement, program.atoms(moments), margin)
            nothing_new += 1
            if refined is not None and not any(_are_same(refined.atoms, other.atoms) for other in found):
                found.append(refined)
                nothing_new = 0
    largest = max((one.margin for one in found), default=1.0)

    def preference(solution: Refined) -> tuple[bool, int, int, float]:
        # 1 is the margin of the problem as it is stated; beside far larger ones it is that of a network of another size.
        stated = math.isclose(solution.margin, 1.0, rel_tol=NORMALISED) and largest < LARGER
        return not stated, len(solution.atoms.coefficients), solution.open_directions, solution.misfit

    return sorted(found, key=preference)


def _judged(observation: Observation, program: CellMoments, solutions: list[Refined]) -> Recovery:
    arrangement = program.arrangement
    verdicts = [(one, *_explained(observation, arrangement, one.atoms)) for one in solutions]
    good = [one for one, residual, tolerance in verdicts if max(residual, one.misfit) <= tolerance]
    best, residual, tolerance = next((one for one in verdicts if one[0] is (good or solutions)[0]), verdicts[0])
    atoms = best.atoms
    points = (atoms.points @ arrangement.basis.T).reshape(-1, *observation.architecture.input_shape)
    labels = np.sign(atoms.coefficients)
    fibre = ["permutation"] if len(labels) > 1 else []
    fibre += [] if arrangement.biased else ["positive-scaling"]
    fibre += [f"null-space:{best.open_directions}"] if best.open_directions > 0 else []
    known = count_equations(observation, samples=max(len(labels), count_equations(observation).samples or 0))
    between = int(np.count_nonzero((atoms.states > AT_A_KINK) & (atoms.states < 1 - AT_A_KINK)))
    kinks = f"{between} Clarke multiplier{' at a kink is' if between == 1 else 's at kinks are'} between 0 and 1"
    remarks = [f"all have the margin {best.margin:.6g}, and {kinks}"]
    if not good:
        most = max(residual, best.misfit)
        limit = f"{tolerance:.2g} = {RATIO:.0f}·{longest(observation)}·ε·κ"
        remarks = [f"the residual {most:.2g} is above {limit}", known.sentence]
        return Recovery(
            points, atoms.coefficients[:, None], None, residual, NAME, tuple(fibre), "failed", reason="; ".join(remarks)
        )
    doubts = _doubts(observation, best, good, known.sentence if known.verdict == "undetermined" else "")
    size = observation.batch_size if observation.labels is None else len(observation.labels)
    if size != len(labels) and (loose := _splittable(arrangement, atoms)):
        each = "one of them" if loose == 1 else f"each of {loose} of them"
        doubts.append(f"{each} can be several of the same cell, unless the samples are known to be {len(labels)}")
        doubts[0] = "undetermined: " + doubts[0].removeprefix("undetermined: ")
        fibre.append("splitting")
    if is_only_solution(program, atoms, best.margin):
        remarks.append("numerically there are no others of this margin with one sample for each label and cell")
    elif not doubts:
        doubts.append("undetermined: no other data were found, but none are excluded either")
    return Recovery(
        points,
        atoms.coefficients[:, None],
        labels,
        residual,
        NAME,
        tuple(fibre),
        "consistent",
        reason="; ".join([*doubts, *remarks]),
    )


def _doubts(observation: Observation, best: Refined, good: list[Refined], counted: str) -> list[str]:
    doubts = [counted.removeprefix("undetermined: ")] if counted else []
    if best.open_directions > 0:
        are = "directions are" if best.open_directions > 1 else "direction is"
        doubts.append(f"{best.open_directions} {are} open at the solution")
    rivals = [one for one in good if not _are_same(one.atoms, best.atoms)]
    if rivals:
        other = min(rivals, key=lambda one: (len(one.atoms.coefficients), -_distance(best.atoms, one.atoms)))
        doubts.append(
            f"other data explain the point as well: {len(other.atoms.coefficients)} samples of margin {other.margin:.6g}, up "
            f"to {_distance(best.atoms, other.atoms):.3g} away"
        )
    stated = observation.batch_size
    if stated is not None and stated > len(best.atoms.coefficients):
        doubts.append(
            f"of {stated} samples {len(best.atoms.coefficients)} suffice, and those without weight leave no trace"
        )
    if doubts and not (len(doubts) == 1 and doubts[0].startswith("of ")):
        doubts[0] = f"undetermined: {doubts[0]}"
    return doubts


def _splittable(arrangement: Arrangement, atoms: Atoms) -> int:
    """How many samples can move both ways along a line in their closed cells without changing kinks or the margin."""
    extended = arrangement.extended(atoms.points)
    values = extended @ (arrangement.signs[:, None] * arrangement.directions).T
    kinks = np.abs(values) <= AT_A_KINK * np.linalg.norm(extended, axis=1, keepdims=True)
    slopes = arrangement.slopes(((values > 0) & ~kinks).astype(np.float64))
    dimension, rank = arrangement.basis.shape
    count = 0
    for here, slope in zip(kinks, slopes, strict=True):
        fixed = np.vstack([arrangement.directions[here], slope / np.sum(arrangement.weights)])[:, :rank]
        count += int(np.linalg.matrix_rank(fixed, tol=AT_A_KINK)) < dimension
    return count


def _are_same(left: Atoms, right: Atoms) -> bool:
    """Whether two sets are one, whatever their multipliers."""
    scale = float(np.max(np.linalg.norm(left.points, axis=1), initial=0.0))
    return len(left.points) == len(right.points) and _distance(left, right) <= DIFFERENT * (1.0 + scale)


def _distance(left: Atoms, right: Atoms) -> float:
    """Largest distance of a sample of either set from the other set."""
    between = np.linalg.norm(left.points[:, None] - right.points[None], axis=2)
    return float(max(np.max(np.min(between, axis=0)), np.max(np.min(between, axis=1))))


def _explained(observation: Observation, arrangement: Arrangement, atoms: Atoms) -> tuple[float, float]:
    """Relative residual of stationarity in all neurons, with the multipliers found, and what counts as rounding."""
    network = FullyConnected.of(observation)
    outer = network.last.weight[0]
    incoming = network.first.weight
    extended = atoms.points @ arrangement.basis.T
    if network.first.bias is not None:
        incoming = np.column_stack([incoming, network.first.bias])
        extended = np.column_stack([extended, np.ones(len(extended))])
    states = np.zeros((len(extended), len(outer)))
    for position, group in enumerate(arrangement.members):
        states[:, group] = atoms.states[:, position : position + 1]
    weighted = atoms.coefficients[:, None] * states
    active = np.maximum(extended @ incoming.T, 0.0)
    first = outer[:, None] * (weighted.T @ extended) - incoming
    last = atoms.coefficients @ active - outer
    size = math.sqrt(float(np.sum(incoming**2) + np.sum(outer**2)))
    residual = math.sqrt(float(np.sum(first**2) + np.sum(last**2))) / size
    # Each sample's part, before they cancel.
    parts = np.sum((np.abs(weighted) @ np.abs(outer[:, None]) * np.linalg.norm(extended, axis=1, keepdims=True)) ** 2)
    condition = max(1.0, math.sqrt(float(parts)) / size)
    return residual, rounding_tolerance(observation, condition, atoms=len(extended))


METHOD = Method(NAME, supports, recover)
