"""Measures Σ c_i δ_{x_i} on given points that a kernel of a dense network maps to zero, with exact coefficients.

Every function looks for one kind of relation that a class of networks cannot see and returns its coefficients, or None.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction

from provable.kernels.coincidences import Place, Relation, dependency

ONE = Fraction(1)


def coincident(located: Sequence[Place]) -> Relation | None:
    """Two points that coincide: δ_x - δ_x.

    Parameters
    ----------
    located : sequence of Place
        The points.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    return _first_pair(located, lambda place: (place.axis, place.scale), lambda first, second: (ONE, -ONE))


def zero(located: Sequence[Place]) -> Relation | None:
    """A point at zero, for kernels with k(·, 0) = 0.

    Parameters
    ----------
    located : sequence of Place
        The points.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    return next(({index: ONE} for index, place in enumerate(located) if not place.axis), None)


def same_ray(located: Sequence[Place]) -> Relation | None:
    """Two points on one ray, or zero, for kernels with k(·, cx) = c·k(·, x), c ≥ 0.

    Parameters
    ----------
    located : sequence of Place
        The points.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    found = _first_pair(located, lambda place: place.ray, lambda first, second: (ONE, -first.scale / second.scale))
    return zero(located) or found


def same_axis(located: Sequence[Place]) -> Relation | None:
    """Two points on one axis, or zero, for kernels with k(·, cx) = |c|·k(·, x).

    Parameters
    ----------
    located : sequence of Place
        The points.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    found = _first_pair(
        located, lambda place: place.axis, lambda first, second: (ONE, -abs(first.scale / second.scale))
    )
    return zero(located) or found


def opposite(located: Sequence[Place]) -> Relation | None:
    """Points x and -x, or zero, for kernels with k(·, -x) = -k(·, x).

    Parameters
    ----------
    located : sequence of Place
        Distinct points.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    found = _first_pair(located, lambda place: (place.axis, abs(place.scale)), lambda first, second: (ONE, ONE))
    return zero(located) or found


def affine(located: Sequence[Place], *, constant: bool) -> Relation | None:
    """Linearly dependent points.

    Parameters
    ----------
    located : sequence of Place
        The points.
    constant : bool
        Whether the vectors are (x, 1) and not x.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    dimension = max((len(place.axis) for place in located), default=1)
    vectors = [
        [place.scale * entry for entry in place.axis or (0,) * dimension] + [ONE] * constant for place in located
    ]
    return _relation(dependency(vectors), lambda index, number: {index: number})


def balanced_pairs(located: Sequence[Place]) -> Relation | None:
    """Two of the measures δ_x + δ_{-x} and 2δ_0, whose difference vanishes for σ(z) + σ(-z) = 1.

    Parameters
    ----------
    located : sequence of Place
        Distinct points.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    centred = [{pair[0]: ONE, pair[1]: ONE} for pair in _opposite_pairs(located, exact=True)]
    centred += [{index: 2 * ONE} for index, place in enumerate(located) if not place.axis]
    if len(centred) < 2:
        return None
    return centred[0] | {index: -number for index, number in centred[1].items()}


def dependent_pairs(located: Sequence[Place], *, exact: bool) -> Relation | None:
    """Opposite points, linearly dependent, for kernels that see Σ β (δ_z - δ_{-z}) as Σ β z.

    Parameters
    ----------
    located : sequence of Place
        Distinct points, no two of them on one ray unless `exact`.
    exact : bool
        Whether only points x and -x are opposite, and not x and -cx, c > 0, up to the factor.

    Returns
    -------
    dict or None
        Coefficients by index.
    """
    pairs = _opposite_pairs(located, exact=exact)
    relation = dependency([located[first].axis for first, _ in pairs])

    def atoms(index: int, number: Fraction) -> Relation:
        return {point: number / located[point].scale for point in pairs[index]}

    return _relation(relation, atoms)


def three_on_a_ray(located: Sequence[Place]) -> Relation | None:
    """Three points on one ray, for kernels with k(·, rx) = r·A(x) + B(x).

    Parameters
    ----------
    located : sequence of Place
        Distinct points.

    Returns
    -------
    dict or None
        Coefficients by index, with Σ c = 0 and Σ c·r = 0.
    """
    for members in _groups(located, lambda place: place.ray):
        if len(members) > 2:
            i, j, k = members[:3]
            a, b, c = (located[index].scale for index in (i, j, k))
            return {i: b - c, j: c - a, k: a - b}
    return None


def crowded_axes(located: Sequence[Place]) -> Relation | None:
    """Three or four points on axes, for one hidden ReLU layer with biases that start at zero.

    Parameters
    ----------
    located : sequence of Place
        Distinct points other than zero, at most two on a ray.

    Returns
    -------
    dict or None
        Coefficients by index.

    Notes
    -----
    On a ray with direction u write m = Σ c‖x‖ and n = Σ c. The measure is invisible if and only if m is odd in u and n even,
    Σ m·u = 0 and Σ n = 0. So axes with one occupied ray, or with one point on either, carry nothing. With two points on one
    ray and one point x on the other the axis can carry multiples of (m·u, n) = (x, 1), with two points on both also those of
    (u, 0) and (0, 1).
    """
    vectors: list[list[Fraction]] = []
    carriers: list[tuple[list[int], list[int], Fraction, Fraction]] = []
    for members in _groups(located, lambda place: place.axis):
        positive = [index for index in members if located[index].scale > 0]
        negative = [index for index in members if located[index].scale < 0]
        axis = located[members[0]].axis
        if len(positive) + len(negative) == 4:
            moments = [(ONE, Fraction(0)), (Fraction(0), ONE)]
        elif len(positive) + len(negative) == 3:
            single = positive if len(positive) == 1 else negative
            moments = [(located[single[0]].scale, ONE)]
        else:
            continue
        for moment, mass in moments:
            vectors.append([moment * entry for entry in axis] + [mass])
            carriers.append((positive, negative, moment, mass))

    def atoms(index: int, number: Fraction) -> Relation:
        positive, negative, moment, mass = carriers[index]
        return _with_moments(located, positive, number * moment, number * mass) | _with_moments(
            located, negative, number * moment, number * mass
        )

    return _relation(dependency(vectors), atoms)


def _with_moments(located: Sequence[Place], members: list[int], moment: Fraction, mass: Fraction) -> Relation:
    """Coefficients on one ray with Σ c·scale = moment and Σ c = mass; scales are negative on the negative ray, where
    Σ c‖x‖ is minus the moment."""
    if len(members) == 1:
        return {members[0]: mass}
    first, second = (located[index].scale for index in members)
    share = (moment - second * mass) / (first - second)
    return {members[0]: share, members[1]: mass - share}


def _groups(located: Sequence[Place], key: Callable[[Place], Hashable]) -> Iterable[list[int]]:
    groups: dict[Hashable, list[int]] = {}
    for index, place in enumerate(located):
        if place.axis:
            groups.setdefault(key(place), []).append(index)
    return groups.values()


def _first_pair(
    located: Sequence[Place],
    key: Callable[[Place], Hashable],
    coefficients: Callable[[Place, Place], tuple[Fraction, Fraction]],
) -> Relation | None:
    zeros = [index for index, place in enumerate(located) if not place.axis]
    if len(zeros) > 1:
        return {zeros[0]: ONE, zeros[1]: -ONE}
    for members in _groups(located, key):
        if len(members) > 1:
            first, second = members[:2]
            return dict(zip((first, second), coefficients(located[first], located[second]), strict=True))
    return None


def _opposite_pairs(located: Sequence[Place], *, exact: bool) -> list[tuple[int, int]]:
    def key(place: Place) -> Hashable:
        return (place.axis, abs(place.scale)) if exact else place.axis

    groups = (members for members in _groups(located, key) if len(members) > 1)
    return [(members[0], members[1]) for members in groups]


def _relation(numbers: list[Fraction] | None, atoms: Callable[[int, Fraction], Relation]) -> Relation | None:
    if numbers is None:
        return None
    total: Relation = {}
    for index, number in enumerate(numbers):
        for point, coefficient in atoms(index, number).items() if number else ():
            total[point] = total.get(point, Fraction(0)) + coefficient
    return total
