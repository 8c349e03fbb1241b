r"""Sparse vectors of a linear subspace: the columns of a matrix with many zeros, from the span of these columns.

Let U be a basis of the space, and :math:`D = U Q` with D having many zeros. If the rows A are zero in column i of D and
:math:`\mathrm{rank}\, U_A = n - 1`, then the kernel of :math:`U_A` is spanned by column i of Q
(``proofs/dimitrov2024/null_vectors.py``). Such rows are found in two ways.

- *Sampling*: n - 1 rows at random; the kernel is kept if U times it has many zeros more (Dimitrov et al. 2024). The expected
  number of draws grows like :math:`2^{n-1}` for columns that are half zeros.
- *Descent*: :math:`\sum_j |U_j q|^{1/2}` is lowered on the sphere from a random start by reweighted least squares,
  orthogonally to what was found before, until many entries vanish. What the zeros leave open, if the kernel has more than
  one dimension, is a span of fewer columns, in which sampling takes few draws.

Neither is complete. Vectors with many zeros that are no column of D exist as well (two columns that are zero in the same
rows, combined); they are for others to exclude.

References
----------
D. I. Dimitrov, M. Baader, M. N. Müller, M. Vechev, SPEAR: Exact gradient inversion of batches in federated learning, 2024,
known here by its abstract and captions; the statements used are derived in ``proofs/dimitrov2024``. That descent finds
columns of large batches is the subject of its sequel, SPEAR++, known by its abstract; the algorithm here is not theirs.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
import scipy.special
from numpy.typing import NDArray

from provable.recovery.batch.column_space import ColumnSpace

Float: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.int64]

DRAWS_AT_ONCE = 1024
"""Submatrices whose kernels are computed together."""

_RATIO = 30.0
_LOOSE = 2.0**10
_SAME = 2.0**-24
_LARGEST_KERNEL = 8
_DRAWS_IN_KERNEL = 16


@dataclasses.dataclass(frozen=True, eq=False)
class SparseSearch:
    """A subspace prepared for the search.

    Parameters
    ----------
    rows : array of shape (m', n)
        The rows of the basis that stand out of its error, scaled to norm 1.
    tolerance : array of shape (m',)
        An entry of a vector, of norm 1 in coordinates, is zero up to this.
    decided : array of bool of shape (m,)
        Which rows of the basis those are.
    """

    rows: Float
    tolerance: Float
    decided: Bools

    @classmethod
    def of(cls, space: ColumnSpace) -> SparseSearch:
        """Prepare a column space.

        Parameters
        ----------
        space : ColumnSpace
            Of dimension 1 at least.

        Returns
        -------
        SparseSearch
            Without the rows in which an entry of usual size is not told from zero.
        """
        lengths = np.linalg.norm(space.basis, axis=1)
        tolerance = _RATIO * space.error / np.where(lengths > 0, lengths, 1.0)
        decided = (lengths > 0) & (_LOOSE * tolerance < 2.0**-6)
        return cls(space.basis[decided] / lengths[decided, None], tolerance[decided], decided)

    def zeros(self, directions: Float) -> Bools:
        """Tell which entries of vectors are zero.

        Parameters
        ----------
        directions : array of shape (n, c)
            Coordinates of norm 1, as accurate as `polished` makes them.

        Returns
        -------
        array of bool of shape (m', c)
            True for zeros up to the tolerance.
        """
        return np.abs(self.rows @ directions) <= _LOOSE * self.tolerance[:, None]

    def sampled(self, count: int, fewest: int, rng: np.random.Generator) -> list[Float]:
        """Draw submatrices of n - 1 rows and keep kernels that are sparse.

        Parameters
        ----------
        count : int
            Number of draws.
        fewest : int
            Zeros that a vector must have to be kept.
        rng : numpy.random.Generator
            Draws the rows.

        Returns
        -------
        list of array of shape (n,)
            Coordinates of norm 1, polished, possibly repeated.
        """
        width, dimension = self.rows.shape
        if dimension == 1:
            return [np.ones(1)]
        if width < dimension - 1:
            return []
        chosen = np.argpartition(rng.random((count, width)), dimension - 2, axis=1)[:, : dimension - 1]
        # The last column of a complete QR factor of the transpose is orthogonal to all rows.
        kernels = np.linalg.qr(np.swapaxes(self.rows[chosen], 1, 2), mode="complete")[0][:, :, -1]
        sparse = np.count_nonzero(self.zeros(kernels.T), axis=0) >= fewest
        return [one for kernel in kernels[sparse] for one in self.polished(kernel, fewest, rng)]

    def descended(self, found: list[Float], fewest: int, rng: np.random.Generator) -> list[Float]:
        """Descend from a random start to a sparse vector.

        Parameters
        ----------
        found : list of array of shape (n,)
            Directions to begin orthogonally to, fewer than n; in a space with an orthonormal basis different columns are
            seldom far from orthogonal.
        fewest : int
            Zeros that a vector must have to be kept.
        rng : numpy.random.Generator
            Draws the start.

        Returns
        -------
        list of array of shape (n,)
            What was found, coordinates of norm 1, polished.
        """
        dimension = self.rows.shape[1]
        start = rng.standard_normal((dimension,))
        if found:
            complement = np.linalg.svd(np.array(found))[2][len(found) :].T
            projected = np.asarray(complement.T @ start)
            inside = _reweighted(self.rows @ complement, projected, smoothing=0.3, until=0.03, steps=25)
            lifted = np.asarray(complement @ inside)
            direction = _reweighted(self.rows, lifted, smoothing=0.1, until=1e-9, steps=50)
        else:
            direction = _reweighted(self.rows, start, smoothing=0.3, until=1e-9, steps=50)
        return self.polished(direction, fewest, rng)

    def descended_within(self, found: Float, fewest: int, rng: np.random.Generator) -> list[Float]:
        """Descend among the rows in which a known direction vanishes, where similar samples have more zeros.

        Parameters
        ----------
        found : array of shape (n,)
            The known direction, to which the descent is orthogonal.
        fewest : int
            Zeros that a vector must have to be kept.
        rng : numpy.random.Generator
            Draws the start.

        Returns
        -------
        list of array of shape (n,)
            What was found, coordinates of norm 1, polished; the known direction may be among them.
        """
        dimension = self.rows.shape[1]
        rows = np.flatnonzero(self.zeros(found[:, None])[:, 0])
        if dimension < 3 or len(rows) < dimension:
            return []
        complement = np.linalg.svd(found[None])[2][1:].T
        start = rng.standard_normal((dimension - 1,))
        inside = _reweighted(self.rows[rows] @ complement, start, smoothing=0.3, until=1e-9, steps=50)
        zero = np.zeros(len(self.rows), dtype=bool)
        zero[rows] = np.abs(self.rows[rows] @ (complement @ inside)) <= _LOOSE * self.tolerance[rows]
        return self.kernel(zero, fewest, rng, divide=True)

    def polished(self, direction: Float, fewest: int, rng: np.random.Generator, *, divide: bool = True) -> list[Float]:
        """Replace a direction by the kernel of all rows in which it vanishes.

        Parameters
        ----------
        direction : array of shape (n,)
            Coordinates of norm 1, approximately those of a sparse vector.
        fewest : int
            Zeros that a vector must have.
        rng : numpy.random.Generator
            For sampling in a kernel of several dimensions.
        divide : bool, optional
            Whether to look for sparser vectors in such a kernel.

        Returns
        -------
        list of array of shape (n,)
            One direction if the kernel has one dimension; sparse ones inside if it has a few; none otherwise.
        """
        zero = np.abs(self.rows @ direction) <= _LOOSE * self.tolerance
        if np.count_nonzero(zero) < max(fewest, self.rows.shape[1] - 1):
            return []
        return self.kernel(zero, fewest, rng, divide=divide)

    def kernel(self, zero: Bools, fewest: int, rng: np.random.Generator, *, divide: bool = True) -> list[Float]:
        """Find sparse vectors in the kernel of chosen rows.

        Parameters
        ----------
        zero : array of bool of shape (m',)
            The rows.
        fewest, rng, divide
            As for `polished`.

        Returns
        -------
        list of array of shape (n,)
            As for `polished`.
        """
        dimension = self.rows.shape[1]
        if np.count_nonzero(zero) < dimension - _LARGEST_KERNEL:
            return []
        singular, turned = np.linalg.svd(self.rows[zero])[1:]
        if len(singular) < dimension:
            singular = np.concatenate([singular, np.zeros(dimension - len(singular))])
        nullity = int(np.count_nonzero(singular <= np.linalg.norm(self.tolerance[zero])))
        if nullity <= 1:
            enough = np.count_nonzero(self.zeros(turned[-1][:, None])) >= fewest
            # A row that alone makes the rank n - 1 singles out any vector of a plane: no evidence for a column.
            inside = self.rows[zero] @ turned[:-1].T / np.maximum(singular[:-1], np.finfo(np.float64).tiny)
            leverage = np.max(np.sum(inside**2, axis=1), initial=0.0)
            return [turned[-1]] if enough and leverage < 1 - 2.0**-20 else []
        if nullity > _LARGEST_KERNEL or not divide:
            return []
        kernel = turned[-nullity:].T
        within = self.rows[~zero] @ kernel
        lengths = np.linalg.norm(within, axis=1)
        usable = self.tolerance[~zero] < lengths * 2.0**-6 / _LOOSE
        if np.count_nonzero(usable) < nullity:
            return []
        inside = SparseSearch(
            within[usable] / lengths[usable, None], self.tolerance[~zero][usable] / lengths[usable], usable
        )
        draws = _DRAWS_IN_KERNEL * 2**nullity
        more = inside.repeated_rows() if nullity == 2 else inside.sampled(draws, nullity + 1, rng)
        return [one for part in more for one in self.polished(kernel @ part, fewest, rng, divide=False)]

    def repeated_rows(self) -> list[Float]:
        """Find all vectors of a plane that are zero in more than one row, those with most zeros first.

        Returns
        -------
        list of array of shape (2,)
            Unit vectors orthogonal to rows that are parallel to another row, at most eight.
        """
        normals = np.stack([-self.rows[:, 1], self.rows[:, 0]])
        zeros = self.zeros(normals)
        counts, found = np.count_nonzero(zeros, axis=0), list[Float]()
        for place in np.argsort(-counts, kind="stable"):
            if counts[place] < 2 or len(found) == _LARGEST_KERNEL:
                break
            if is_new(normals[:, place], found):
                found.append(normals[:, place])
        return found


def _reweighted(rows: Float, start: Float, *, smoothing: float, until: float, steps: int) -> Float:
    r"""Lower :math:`\sum_j (|u_j q|^2 + \epsilon^2)^{1/4}` on the sphere, with ε shrinking, by reweighted least squares."""
    direction = start / np.linalg.norm(start)
    for _ in range(steps):
        # The derivative of t ↦ (t + ε²)^(1/4) at t = (u_j q)², up to a factor.
        weights = ((rows @ direction) ** 2 + smoothing**2) ** -0.75
        following = np.linalg.eigh((rows.T * weights) @ rows)[1][:, 0]
        moved = 1 - abs(float(following @ direction))
        direction = following
        if smoothing <= until and moved < 1e-12:
            break
        if moved < 1e-3:
            smoothing = max(0.3 * smoothing, until)
    return direction


def is_new(direction: Float, found: list[Float]) -> bool:
    """Tell whether a direction is none of those found.

    Parameters
    ----------
    direction : array of shape (n,)
        Coordinates of norm 1.
    found : list of array of shape (n,)
        Others.

    Returns
    -------
    bool
        Whether its angle to all of them is above 2⁻²⁴.
    """
    if not found:
        return True
    others = np.array(found)
    products = others @ direction
    return bool(np.min(np.linalg.norm(direction - products[:, None] * others, axis=1)) > _SAME)


def expected_draws(zeros: Integers, width: int, dimension: int) -> float:
    r"""Expected number of submatrices of n - 1 rows until every column has been hit.

    A draw hits column i if all its rows are zeros of it, with probability
    :math:`q_i = \binom{z_i}{n-1} / \binom{m}{n-1}`. Two columns are never hit by one draw of rank n - 1, so the expected time
    until all are hit is
    :math:`\sum_{S \ne \emptyset} (-1)^{|S|+1} / \sum_{i \in S} q_i = \int_0^\infty 1 - \prod_i (1 - e^{-q_i t})\, dt`
    (``proofs/dimitrov2024/expected_draws.py``). Draws of lower rank, which hit nothing, are not counted in: with them the
    number is larger, by a third for n = 6 and columns of half zeros with independent entries.

    Parameters
    ----------
    zeros : array of int of shape (n,)
        The numbers z_i of zeros of the columns.
    width : int
        The number m of rows.
    dimension : int
        n.

    Returns
    -------
    float
        The expectation; infinite if a column has fewer than n - 1 zeros.
    """
    size = dimension - 1
    if np.any(np.asarray(zeros) < size):
        return float("inf")

    def log_binomial(total: Float) -> Float:
        return np.asarray(
            scipy.special.gammaln(total + 1) - scipy.special.gammaln(size + 1) - scipy.special.gammaln(total - size + 1)
        )

    hits = np.exp(log_binomial(np.asarray(zeros, dtype=np.float64)) - log_binomial(np.asarray(float(width))))
    # In log t the integrand is analytic and falls off at both ends, so that the trapezoidal rule converges geometrically.
    logarithms = np.linspace(np.log(1e-20 / hits.max()), np.log(60 / hits.min()), 2000)
    times = np.exp(logarithms)
    # 1 - Π(1 - e^{-qt}) without cancellation, for large t as well.
    exponents = np.clip(np.outer(times, hits), 1e-300, None)
    missing = -np.expm1(np.sum(np.log(-np.expm1(-exponents)), axis=1))
    return float(np.trapezoid(missing * times, logarithms))
