r"""All measures that make a univariate network a stationary point with a given margin.

Given the margin m, the measure is a nonnegative combination of the columns of `univariate_equations`. A level (an interval
of :math:`|f| = m`) holds a support point in every solution if a combination ζ of the equations separates it,
:math:`E^T \zeta \le \mathbb 1_{level}` with :math:`\zeta \cdot g > 0`: then its mass is at least :math:`\zeta\cdot g`. By the
norm identity all masses together are :math:`\|W\|^2/m`, so lower bounds that add up to that are the masses themselves.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from provable.recovery.stationary_point.univariate_equations import (
    SAME_KNOT,
    Column,
    MomentEquation,
    columns_of,
    moment_equations,
    system,
)
from provable.stationarity.univariate import Level, UnivariateNetwork

Float = NDArray[np.float64]

TOLERANCES = (2.0**-36, 2.0**-30, 2.0**-23, 2.0**-17)
"""Relative errors of the margin that are allowed for, one after the other: a network is stationary up to some error."""

CONSTANT = 2**30
"""A neuron with a knot this far away, in the unit of the constant input, is as good as constant."""

MOST_EQUATIONS = 64
"""Of networks with more different neurons only the normalised margin is tried: every margin costs a fit."""

NEARBY = 2.0**-10
"""Relative distance of margins that are tried next to one that is accepted, far beyond its error."""

ACCEPTED = 64.0
"""A relative residual up to this multiple of the margin's error counts as stationary with that error."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """The best measure for one margin.

    Parameters
    ----------
    margin, tolerance : float
        m, and the relative error allowed for.
    levels : tuple of Level
        Where |f| = m up to that.
    equations : tuple of MomentEquation
        What was fitted.
    columns : tuple of Column
        Of which the measure consists.
    weights : array of shape (n,)
        The columns' weights.
    residual : float
        Relative to the norm of the first layer.
    kink : float
        How near to a knot a point may have any slope there.
    """

    margin: float
    tolerance: float
    levels: tuple[Level, ...]
    equations: tuple[MomentEquation, ...]
    columns: tuple[Column, ...]
    weights: Float
    residual: float
    kink: float

    @property
    def accepted(self) -> bool:
        """Whether the measure explains the network up to the error allowed for."""
        return self.residual <= ACCEPTED * self.tolerance


def length_of(network: UnivariateNetwork) -> float:
    """Give the unit of length of a network: the median |knot|, at least one.

    Knots from `CONSTANT` on are those of neurons that are constant but for rounding, and left out.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.

    Returns
    -------
    float
        The unit.
    """
    knots = [abs(float(knot)) for knot in network.knots if abs(knot) < CONSTANT]
    return max(1.0, float(np.median(knots or [1.0])))


def narrow(tolerance: float, unit: float) -> float:
    """Give the width up to which a level counts as a point.

    Parameters
    ----------
    tolerance : float
        Relative error of the margin.
    unit : float
        Unit of length.

    Returns
    -------
    float
        √tolerance units: a level is as wide as the margin's error over the slope, so wider ones belong to pieces that are
        as good as constant.
    """
    return float(tolerance**0.5) * unit


def fit(network: UnivariateNetwork, equations: tuple[MomentEquation, ...], margin: float, tolerance: float) -> Fit:
    """Find the measure on |f| = m that explains the network best.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.
    equations : tuple of MomentEquation
        Its equations.
    margin, tolerance : float
        m and the relative error allowed for.

    Returns
    -------
    Fit
        By nonnegative least squares, weighted like the first layer of θ.
    """
    exact, error, unit = Fraction(margin), Fraction(tolerance), length_of(network)
    levels = network.levels(exact * (1 - error), exact * (1 + error))
    kink = 64 * tolerance * unit
    columns = columns_of(equations, levels, kink, narrow(tolerance, unit))
    sizes = np.repeat([equation.size for equation in equations], 2)
    matrix, right = system(equations, columns)
    norm = float(np.linalg.norm(right * sizes)) or 1.0
    if not columns:
        return Fit(margin, tolerance, levels, equations, columns, np.zeros(0), 1.0, kink)
    weights = _nonnegative(matrix * sizes[:, None], right * sizes)
    residual = float(np.linalg.norm((matrix @ weights - right) * sizes)) / norm
    return Fit(margin, tolerance, levels, equations, columns, weights, residual, kink)


def _nonnegative(matrix: Float, right: Float) -> Float:
    from scipy.optimize import lsq_linear, nnls  # loaded only when it is needed

    try:
        return np.asarray(nnls(matrix, right)[0])
    except RuntimeError:  # its active set goes in circles, as happens with dependent columns
        return np.maximum(lsq_linear(matrix, right, bounds=(0, np.inf)).x, 0.0)


def possible_margins(network: UnivariateNetwork, equations: tuple[MomentEquation, ...]) -> tuple[float, ...]:
    """List the margins that follow if some cell holds one support point only, or a support point lies on a knot.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.
    equations : tuple of MomentEquation
        Its equations.

    Returns
    -------
    tuple of float
        One, the margin by which problems are normalised, and |f| at the ratio of the moments between two neighbouring
        knots of one side, beyond the last, and at the knots; ascending behind the one. That one alone if there are more
        than `MOST_EQUATIONS`.
    """
    moments = {side: [np.zeros(2)] * (side < 0) for side in (-1, 0, 1)}
    for equation in sorted(equations, key=_by_knot):
        moments[equation.side].append(np.array(equation.moments))
    moments[1].append(np.zeros(2))
    cells = [b - a for side in (-1, 1) for a, b in zip(moments[side], moments[side][1:], strict=False)]
    totals = [*moments[0], moments[1][0], moments[-1][-1]]  # the last two are totals if no data lie beyond the knot
    cells += totals + [total - end for total in totals for end in (moments[1][0], moments[-1][-1])]
    with np.errstate(all="ignore"):
        ratios = [float(cell[0] / cell[1]) for cell in cells]
    knots = [equation.knot for equation in equations]
    if len(equations) > MOST_EQUATIONS:
        return (1.0,)
    points = [Fraction(point) for point in (*ratios, *knots) if np.isfinite(point)]
    return (1.0, *sorted({abs(float(network(point))) for point in points} - {0.0, 1.0}))


def _by_knot(equation: MomentEquation) -> float:
    return equation.knot


def best_fits(network: UnivariateNetwork) -> tuple[Fit, ...]:
    """Find the margins with which a network is a stationary point, as far as single points in cells tell.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.

    Returns
    -------
    tuple of Fit
        The normalised margin one, with the smallest error with which it is accepted, and all others that are with the same;
        if it is not, those accepted with the smallest error with which one is; if none is, the one that fits best.
    """
    smallest: Fit | None = None
    normalised: Fit | None = None
    for tolerance in TOLERANCES:
        equations = moment_equations(network, max(SAME_KNOT, ACCEPTED * tolerance))
        each = fit(network, equations, 1.0, tolerance)
        if each.accepted:
            normalised = each
            break
        smallest = each if smallest is None or each.residual < smallest.residual else smallest
    for tolerance in TOLERANCES if normalised is None else (normalised.tolerance,):
        equations = moment_equations(network, max(SAME_KNOT, ACCEPTED * tolerance))
        fits = [fit(network, equations, margin, tolerance) for margin in possible_margins(network, equations)[1:]]
        if found := [each for each in (normalised, *fits) if each is not None and each.accepted]:
            return _distinct(found)
        smallest = min([*fits, *([] if smallest is None else [smallest])], key=_by_residual)
    assert smallest is not None  # the first margin was not accepted, so it is there
    return (smallest,)


def nearby_margins(network: UnivariateNetwork, found: Fit) -> list[float]:
    """Find margins next to one that are consistent as well: where all cells hold two points, an interval of margins is.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.
    found : Fit
        An accepted fit.

    Returns
    -------
    list of float
        Those accepted of two, one on each side, with the error allowed for in the fit.
    """
    step = max(NEARBY, ACCEPTED**2 * found.tolerance)
    fits = [
        fit(network, found.equations, found.margin * factor, found.tolerance)
        for factor in (1.0 / (1 + step), 1.0 + step)
    ]
    return [each.margin for each in fits if each.accepted]


def _by_residual(found: Fit) -> float:
    return found.residual


def _distinct(fits: list[Fit]) -> tuple[Fit, ...]:
    """Of margins that agree up to their error the one with the smallest residual, unless one of them is one."""
    groups: list[list[Fit]] = []
    for each in sorted(fits, key=_by_margin):
        if groups and each.margin <= groups[-1][-1].margin * (1 + 4 * each.tolerance):
            groups[-1].append(each)
        else:
            groups.append([each])
    chosen = [next((f for f in group if f.margin == 1), min(group, key=_by_residual)) for group in groups]
    return tuple(sorted(chosen, key=_one_first))


def _by_margin(found: Fit) -> float:
    return found.margin


def _one_first(found: Fit) -> tuple[bool, float]:
    return found.margin != 1, found.residual


def separating_multipliers(found: Fit, level: int) -> tuple[Float, float]:
    r"""Find the combination of the equations that shows best that a level holds a support point.

    Parameters
    ----------
    found : Fit
        A fit.
    level : int
        Index of one of its levels.

    Returns
    -------
    multipliers : array of shape (E, 2)
        ζ with :math:`E^T \zeta \le \mathbb 1_{level}` up to the error of the linear program.
    mass : float
        :math:`\zeta \cdot g`, what the level holds at least in exact arithmetic, if that is positive.
    """
    from scipy.optimize import linprog  # loaded only when it is needed

    matrix, right = system(found.equations, found.columns)
    target = np.array([float(column.level == level) for column in found.columns])
    sizes = np.repeat([equation.size for equation in found.equations], 2)
    # errors of θ are amplified by ζ/size; the bound keeps the program bounded where equations contradict one another
    price = found.tolerance * float(np.max(sizes)) / sizes
    outcome = linprog(
        np.concatenate([price - right, price + right]),
        A_ub=np.hstack([matrix.T, -matrix.T]),
        b_ub=target,
        bounds=(0, 2.0**20),
        method="highs",
    )
    if outcome.status != 0 or outcome.x is None:
        return np.zeros((len(found.equations), 2)), 0.0
    positive, negative = np.split(outcome.x, 2)
    multipliers = positive - negative
    return multipliers.reshape(-1, 2), float(multipliers @ right)
