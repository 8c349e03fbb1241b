r"""All samples of a two-layer ReLU network of one input, from its parameters at a KKT point of the max-margin problem.

The neurons give the moments of the measure :math:`\sum_i \lambda_i y_i \delta_{x_i}` on the sides of their knots, and support
points lie where :math:`|f| = m`, at two positions per affine piece at most. Given m the multipliers follow linearly, and a
level that every solution needs holds a sample. The parameters do not tell m: :math:`m = 1`, to which the problem is
normalised, is taken where it is consistent; otherwise the margin that is, if there is one alone. All that is certified is
so given this margin: if θ was not rescaled to m = 1, data of another margin may be the true ones, and the fibre says "margin"
where others were found to be consistent.

Notes
-----
Where f is constant at ±m on a whole piece, only the moments of the samples there are determined: any samples with the same
moments explain the network as well. Such samples are given merged into one, and the fibre says so. Where other margins are
consistent, with other samples, the fibre names ``"margin"``: what is certified is certified for the margin taken.

References
----------
G. Smorodinsky, G. Vardi, I. Safran, arXiv:2410.07632: a finite set a quarter of which are samples. That all samples follow
is derived here; see the theorems ``smorodinsky2024``.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.method import Method
from provable.recovery.result import Recovery
from provable.recovery.stationary_point.univariate_equations import SMALLEST
from provable.recovery.stationary_point.univariate_measures import (
    Fit,
    best_fits,
    length_of,
    narrow,
    nearby_margins,
    separating_multipliers,
)
from provable.stationarity.univariate import UnivariateNetwork, read_network, unsupported

Float = NDArray[np.float64]

NAME = "univariate"

LARGEST_IMBALANCE = 2.0**-10
"""Relative difference between a neuron's incoming and outgoing weights beyond which a network is at no stationary point."""

LARGEST_OUTSIDE = 2.0**-10
"""Share of all weight that may lie outside the certified points if these are to be called all of them."""


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
        return f"it needs the parameters at a stationary point, and the observation is of kind {observation.kind}"
    return unsupported(observation.architecture)


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover the support points and their multipliers.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Not used: nothing is random.

    Returns
    -------
    Recovery
        ``certified`` if for the margin taken, which is 1 or the only one found, every measure that explains the first layer
        has its samples within the stated distance of the points, and next to no weight elsewhere (claim
        ``univariate-support``); ``partial`` if that is shown of some points only, or if points stand for merged samples;
        ``consistent`` if the points explain the network and others do as well, or with margins of which none is 1; ``failed``
        if it is at no KKT point for any margin tried, with the residual. Coefficients are λ_i y_i, labels their signs.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    network = read_network(observation.architecture, observation.parameters)
    if not network.neurons:
        return nothing_found(observation, NAME, "all parameters are zero, which no sample explains")
    largest = max(abs(number) for neuron in network.neurons for number in (neuron.weight, neuron.bias, neuron.outer))
    if not SMALLEST < largest < 1 / SMALLEST:
        reason = f"the largest parameter is {float(largest):.2g}; {SMALLEST:.2g} to {1 / SMALLEST:.2g} is accepted"
        return nothing_found(observation, NAME, reason)
    unbalance = imbalance(network)
    if unbalance > LARGEST_IMBALANCE:
        reason = f"not at a stationary point: incoming and outgoing weights differ by {unbalance:.2g} of their norm"
        return nothing_found(observation, NAME, reason)
    fits = best_fits(network)
    best = fits[0]
    alternatives = [each.margin for each in fits[1:]] or nearby_margins(network, best)
    if not best.accepted:
        reason = (
            f"not at a KKT point of the max-margin problem: with the best margin tried, {best.margin:.6g}, the relative "
            f"residual is {best.residual:.2g}"
        )
        return nothing_found(observation, NAME, reason)
    return _judged(observation, network, best, alternatives)


def imbalance(network: UnivariateNetwork) -> float:
    r"""Measure by how much the neurons violate :math:`\|(w_k, b_k)\| = |v_k|`, which holds at every stationary point.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.

    Returns
    -------
    float
        :math:`\sqrt{\sum_k (\|(w_k, b_k)\| - |v_k|)^2 / \sum_k v_k^2}`.
    """
    inner = np.array([math.hypot(float(n.weight), float(n.bias)) for n in network.neurons])
    outer = np.array([abs(float(n.outer)) for n in network.neurons])
    size = float(np.linalg.norm(np.hypot(inner, outer)))
    return float(np.linalg.norm(inner - outer)) / size


@dataclasses.dataclass(frozen=True)
class _Atom:
    """All columns of one level together."""

    level: int
    point: float
    coefficient: float
    slopes: tuple[float, ...]
    merged: bool


def _atoms(found: Fit, unit: float) -> list[_Atom]:
    """One atom for a level that is as good as a point, and one for each end or knot that is used of others."""
    atoms = []
    smallest = found.tolerance * float(np.sum(found.weights))
    for index, level in enumerate(found.levels):
        chosen = [k for k, column in enumerate(found.columns) if column.level == index and found.weights[k] > 0]
        merged = level.width > narrow(found.tolerance, unit)
        bounded = all(math.isfinite(found.columns[k].point) for k in chosen)
        places = sorted({found.columns[k].point for k in chosen}) if merged and bounded else [None]
        for place in places:
            part = [k for k in chosen if place is None or found.columns[k].point == place]
            finite = [k for k in part if math.isfinite(found.columns[k].point)]
            mass = float(np.sum(found.weights[finite]))
            if mass <= smallest:
                continue
            # what goes to infinity moves the mean by its weight
            moment = math.fsum(found.weights[k] * found.columns[k].point for k in finite)
            moment += math.fsum(found.weights[k] * np.sign(found.columns[k].point) for k in part if k not in finite)
            slopes = sum(found.weights[k] * np.abs(found.columns[k].slopes) for k in finite) / mass
            point = _within(moment / mass, level.left, level.right)
            atoms.append(_Atom(index, point, level.sign * mass, tuple(np.clip(slopes, 0.0, 1.0).tolist()), merged))
    return atoms


def _within(x: float, left: Fraction | None, right: Fraction | None) -> float:
    """The float in an interval that is nearest to x, if there is one."""
    for end, direction in ((left, math.inf), (right, -math.inf)):
        if end is not None and (Fraction(x) - end) * (1 if direction > 0 else -1) < 0:
            x = float(end)
            if (Fraction(x) - end) * (1 if direction > 0 else -1) < 0:
                x = math.nextafter(x, direction)
    return x


def _judged(observation: Observation, network: UnivariateNetwork, found: Fit, alternatives: list[float]) -> Recovery:
    # Ball arithmetic and the checker are loaded only when there is something to prove.
    from provable import checker
    from provable.rigor.certificates import Refusal
    from provable.rigor.univariate_support import Member, certify

    atoms = _atoms(found, length_of(network))
    kept: list[_Atom] = []
    members: list[Member] = []
    others: list[Member] = []
    for atom in atoms:
        multipliers, mass = separating_multipliers(found, atom.level)
        forced = not atom.merged and mass > found.tolerance**0.5 * abs(atom.coefficient)
        zeta = _by_neuron(found, multipliers) if forced else {}
        (members if forced else others).append(Member(atom.point, atom.coefficient, _open_slopes(found, atom), zeta))
        kept += [atom] if forced else []
    exact, error = Fraction(found.margin), Fraction(found.tolerance)
    size = math.sqrt(float(sum(n.weight**2 + n.bias**2 for n in network.neurons)))
    outcome = certify(
        network,
        observation.sha256,
        members,
        others,
        (exact * (1 - error), exact * (1 + error)),
        found.kink,
        found.tolerance * size,
    )
    margin = f"given margin {found.margin:.12g}"
    reasons = [margin if not alternatives else f"{margin}; {_listed(alternatives)} would be consistent as well"]
    text, shown, share = None, False, 1.0
    if isinstance(outcome, Refusal):
        reasons.append(f"no certificate: {outcome.reason}")
    else:
        text = outcome.to_json()
        verdict = checker.check(text, observation=observation.to_bytes())
        shown = verdict.valid
        share = float(Fraction(outcome.data["outside"])) * found.margin / size**2
        if not shown:
            reasons.append(f"no certificate: the independent checker rejects it ({verdict.reason})")
            text = None
    merged = [atom for atom in atoms if atom.merged]
    complete = shown and share <= LARGEST_OUTSIDE
    if alternatives and found.margin != 1 and shown:
        # the claim holds for its margin, but nothing prefers this margin to the others
        complete, shown, text = False, False, None
        reasons.append("no certificate: the margin is open, and none of those found is the normalised one")
    # merged samples are no sample, so a measure that holds them is not one to be certified as it is
    status = "certified" if complete else ("partial" if shown or merged else "consistent")
    if not shown:
        kept = atoms
    elif others:
        reasons.append(f"{len(others)} of {len(atoms)} points that explain the network are not forced, and not given")
    fibre: tuple[str, ...] = ()
    if status != "certified":
        # at least one more for the positions on every piece where the network is constant
        opened = open_directions(found) + len({atom.level for atom in merged})
        fibre = (f"null-space:{opened}",) if opened else ()
    if alternatives:
        fibre = (*fibre, "margin")
    if merged:
        where = ", ".join(
            _weight_and_mean([a for a in merged if a.level == k]) for k in sorted({a.level for a in merged})
        )
        reasons.append(
            "where the network is constant at its margin only the weight and the mean of the samples are determined, not how "
            f"many they are: {where}"
        )
    signs = np.array([np.sign(atom.coefficient) for atom in kept])
    return Recovery(
        points=np.array([[atom.point] for atom in kept]),
        coefficients=np.array([[atom.coefficient] for atom in kept]),
        labels=signs if observation.architecture.loss == "logistic" else None,
        residual=found.residual,
        method=NAME,
        fibre=fibre,
        status=status,
        certificate=text,
        reason="; ".join(reasons),
    )


def _weight_and_mean(atoms: list[_Atom]) -> str:
    weight = sum(atom.coefficient for atom in atoms)
    return f"{abs(weight):.6g} about {sum(atom.coefficient * atom.point for atom in atoms) / weight:.6g}"


def _listed(margins: list[float]) -> str:
    shown = ", ".join(f"{margin:.6g}" for margin in margins[:3])
    return shown if len(margins) <= 3 else f"{shown} and {len(margins) - 3} more"


def _by_neuron(found: Fit, multipliers: Float) -> dict[int, tuple[float, float]]:
    """Spread the multiplier of an equation over its neurons, so that their norm is least."""
    result = {}
    for equation, (first, zeroth) in zip(found.equations, multipliers.tolist(), strict=True):
        if first or zeroth:
            for neuron in equation.neurons:
                factor = float(neuron.outer) / equation.size**2
                result[neuron.index] = (first * factor, zeroth * factor)
    return result


def _open_slopes(found: Fit, atom: _Atom) -> dict[int, float]:
    return {
        neuron.index: slope
        for equation, slope in zip(found.equations, atom.slopes, strict=True)
        if equation.side and abs(atom.point - equation.knot) <= found.kink
        for neuron in equation.neurons
        if abs(atom.point - float(neuron.knot)) <= found.kink
    }


def open_directions(found: Fit) -> int:
    """Count the directions in which the multipliers are open, given the margin.

    Parameters
    ----------
    found : Fit
        A fit.

    Returns
    -------
    int
        Dimension of the solutions of the linear system that use the columns which some solution uses; splits of the same
        point over slopes count.
    """
    from scipy.optimize import linprog  # loaded only when it is needed

    from provable.recovery.stationary_point.univariate_equations import system

    matrix, _ = system(found.equations, found.columns)
    right = matrix @ found.weights
    used = []
    for k, cost in enumerate(-np.eye(len(found.columns))):
        outcome = linprog(cost, A_eq=matrix, b_eq=right, bounds=(0, None), method="highs")
        largest = float(found.weights[k]) if outcome.fun is None else -outcome.fun
        if outcome.status == 3 or largest > found.tolerance**0.5 * float(np.sum(found.weights)):  # 3: unbounded
            used.append(k)
    if not used:
        return 0
    part = matrix[:, used]
    return len(used) - int(np.linalg.matrix_rank(part, tol=found.tolerance**0.5 * float(np.linalg.norm(part, 2))))


METHOD = Method(NAME, supports, recover)
