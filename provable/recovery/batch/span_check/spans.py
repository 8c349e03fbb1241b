r"""The row and the column space that one layer's gradient shows, and how precisely.

The gradient of a linear layer is :math:`G = \Delta \tilde H^T` with sensitivities Δ and inputs :math:`\tilde H`. If it has
rank B, the number of samples, then its rows span the inputs and its columns span the sensitivities, exactly. Where the
gradient of the bias was observed it is a last column, the entry 1 of an extended input; that column and entry are scaled by
a power of two u, :math:`\tilde h = (h, u)`, so that no unit of measurement decides which singular values are small.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.recovery.batch.chain import LinearLayer

Float = NDArray[np.float64]

_FIRST_SKETCH = 96
"""Random vectors with which a large matrix is multiplied at first; then twice as many, and so on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Span:
    r"""The spaces of one layer's gradient, :math:`G \approx U \mathrm{diag}(s) V^T`.

    Parameters
    ----------
    left : array of shape (m, r)
        U, an orthonormal basis of the column space.
    singular : array of shape (r,)
        s, in decreasing order, those above the level of rounding.
    right : array of shape (k, r) or (k + 1, r)
        V, an orthonormal basis of the row space.
    unit : float
        The last entry u of every extended input; 0 if the gradient of the bias was not observed.
    error : float
        Sine of the angle by which rounding may have turned the spaces, an upper estimate: the level of rounding divided by
        the last singular value.
    """

    left: Float
    singular: Float
    right: Float
    unit: float
    error: float

    @property
    def rank(self) -> int:
        """The number of singular values above the level of rounding."""
        return len(self.singular)

    @classmethod
    def of(cls, layer: LinearLayer, precision: float) -> Span | None:
        """Decompose what was observed of a layer's gradient.

        Parameters
        ----------
        layer : LinearLayer
            The layer.
        precision : float
            Unit of rounding of the observed numbers.

        Returns
        -------
        Span or None
            None if the gradient of the weight was not observed.
        """
        if layer.weight_gradient is None:
            return None
        matrix = layer.weight_gradient
        unit = 0.0
        if layer.bias_gradient is not None:
            unit = _power_of_two(_norm(matrix), _norm(layer.bias_gradient))
            matrix = np.column_stack([matrix, unit * layer.bias_gradient])
        power = -math.frexp(float(np.max(np.abs(matrix), initial=0.0)))[1]
        # Independent errors of one unit of rounding per entry; the products behind an entry cancel, hence the factor 16.
        level = 16 * precision * (math.sqrt(matrix.shape[0]) + math.sqrt(matrix.shape[1]))
        scaled = np.ldexp(matrix, power)
        level *= float(np.max(np.abs(scaled), initial=0.0))
        left, singular, right = leading_singular(scaled, level)
        rank = int(np.count_nonzero(singular > level))
        error = level / float(singular[rank - 1]) if rank else 1.0
        return cls(left[:, :rank], np.ldexp(singular[:rank], -power), right[:rank].T, unit, error)

    def coordinates(self, extended: Float) -> Float:
        """Coordinates of extended inputs in the row space.

        Parameters
        ----------
        extended : array of shape (k,) or (k + 1,)
            An extended input, as `extended` makes it.

        Returns
        -------
        array of shape (r,)
            With respect to `right`.
        """
        return self.right.T @ extended

    def extended(self, inputs: Float) -> Float:
        """Extend inputs of the layer by the entry of the bias.

        Parameters
        ----------
        inputs : array of shape (..., k)
            Inputs h.

        Returns
        -------
        array of shape (..., k) or (..., k + 1)
            (h, u), or h itself if the gradient of the bias was not observed.
        """
        if not self.unit:
            return inputs
        return np.concatenate([inputs, np.full((*inputs.shape[:-1], 1), self.unit)], axis=-1)

    def dual(self, sensitivity: Float) -> Float:
        r"""The functional on the row space that a sensitivity is.

        Parameters
        ----------
        sensitivity : array of shape (m,)
            A multiple of column i of Δ.

        Returns
        -------
        array of shape (r,)
            :math:`q = (G V)^+ \delta_i`. With :math:`\tilde H = V C`, G V = Δ Cᵀ, so q is that multiple of row i of
            :math:`C^{-1}`: it vanishes on the coordinates of every other sample.
        """
        return np.asarray((self.left.T @ sensitivity) / self.singular)


def leading_singular(matrix: Float, level: float) -> tuple[Float, Float, Float]:
    """Singular values and vectors, all those above a level at least.

    Large matrices of small rank are projected first: on the range of their product with random vectors, and of one more
    product with their transpose and themselves. If what is left has a spectral norm below the level, nothing is lost.

    Parameters
    ----------
    matrix : array of shape (m, k)
        Finite numbers.
    level : float
        Singular values below it are of no interest.

    Returns
    -------
    left, singular, right : arrays of shape (m, r), (r,) and (r, k)
        Those of a decomposition.

    References
    ----------
    N. Halko, P.-G. Martinsson and J. Tropp, Finding structure with randomness, SIAM Review 53 (2011), Algorithm 4.4.
    """
    size, largest = _FIRST_SKETCH, min(matrix.shape)
    # The same vectors every time: the outcome does not depend on them but for rounding.
    generator = np.random.default_rng(0)
    while 3 * size <= largest:
        range_basis = np.linalg.qr(matrix @ generator.standard_normal((matrix.shape[1], size)))[0]
        range_basis = np.linalg.qr(matrix @ np.linalg.qr(matrix.T @ range_basis)[0])[0]
        inside = range_basis.T @ matrix
        if _spectral_norm(matrix - range_basis @ inside, generator) <= level:
            left, singular, right = np.linalg.svd(inside, full_matrices=False)
            return range_basis @ left, singular, right
        size *= 2
    return np.linalg.svd(matrix, full_matrices=False)


def _spectral_norm(matrix: Float, generator: np.random.Generator) -> float:
    """The largest singular value, from below but for a few per cent: by ten steps of the power method on eight vectors."""
    vectors = generator.standard_normal((matrix.shape[1], 8))
    norm = 0.0
    for _ in range(10):
        image = matrix @ np.linalg.qr(vectors)[0]
        norm = float(np.linalg.norm(image, 2))
        vectors = matrix.T @ image
        if not np.any(vectors):
            break
    return norm


def _norm(array: Float) -> float:
    largest = float(np.max(np.abs(array), initial=0.0))
    return largest * float(np.linalg.norm(array / largest)) if largest else 0.0


def _power_of_two(numerator: float, denominator: float) -> float:
    """The power of two next to a quotient of norms; 1 if one of them vanishes."""
    if not numerator or not denominator:
        return 1.0
    return math.ldexp(1.0, round(math.log2(numerator) - math.log2(denominator)))
