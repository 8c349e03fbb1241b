r"""Clarke's tangents of chains with kinked activations, at samples on which pre-activations are zero.

Notes
-----
For a kinked activation with slopes a left and b right of zero (ReLU 0 and 1), backpropagation with any slope s in [a, b] at
each pre-activation that is zero gives an element of the convex hull of the limits of gradients, which is Clarke's
subdifferential of θ ↦ Φ(θ; x), provided that the kinks can be perturbed on their own: each layer with kinks has a nonzero
input there. For two dense layers the kinked units have separate weights, so that all sides occur together and the
subdifferential is exactly the set of these tangents with one s_k in [a, b] for every kinked unit. (If the input of a deeper
layer is zero, or if places of a convolution share weights, the set formed here may be larger than Clarke's: `free_kinks`.)

In the slopes of one layer the tangent is affine,

.. math:: \nabla\Phi(s) = \nabla\Phi(a) + \sum_k \frac{s_k - a}{b - a}\, (b - a)\, g_k \nabla_\theta z_k ,

with z_k the pre-activation and g_k the gradient of Φ at the unit's output; z_k depends on the layers up to this one only.
With kinks in several layers it is affine in each and not in all. Here one layer keeps its slopes free (the *open* layer) and
the others take all combinations of one-sided slopes: the convex hull of the resulting *cells* is the whole set.
For a sample with too many combinations only the first ones are formed, and others on demand: those that a residual asks for.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures import Activation, Architecture
from provable.arithmetic import Array
from provable.errors import UnsupportedError
from provable.networks import Parameters, activations, layers, trace
from provable.stationarity.kinks import kinks_among, one_sided_slopes, relative_heights

MOST_COMBINATIONS = 64
"""Combinations of one-sided slopes in the layers that are not open, for one sample; with more, only some are tried."""

LARGEST_CELLS = 2**32
"""Bytes that the tangents of all cells may take."""

STARTS = 32
"""Starts of the search of slopes that a residual asks for."""

SWEEPS = 20
"""Sweeps over the layers in the search of slopes that a residual asks for."""


@dataclass(frozen=True, eq=False)
class ClarkeCells:
    """Sets of tangents base_g + Σ_k t_k step_k, 0 ≤ t_k ≤ 1, whose convex hulls are the sets of Clarke tangents.

    Attributes
    ----------
    constraints : ndarray of int, shape (G,)
        The function to which each cell belongs.
    base : ndarray of shape (G, P)
        The tangents with left slopes at the kinks of the open layer.
    steps : ndarray of shape (K, P)
        What moving one slope of the open layer from left to right adds; kinks that add nothing are left out.
    owners, units : ndarray of int, shape (K,)
        The cell and the unit to which each step belongs.
    open_layer : str or None
        The path of the activation whose slopes are free; None without kinks.
    slopes : mapping of str to ndarray of shape (G, units)
        The slopes of the kinked activations that the bases are formed with.
    kinks : mapping of str to ndarray of bool, shape (n, units)
        What `find_kinks` gives, by sample.
    """

    constraints: NDArray[np.intp]
    base: Array
    steps: Array
    owners: NDArray[np.intp]
    units: NDArray[np.intp]
    open_layer: str | None
    slopes: Mapping[str, Array]
    kinks: Mapping[str, NDArray[np.bool_]]

    def joined(self, other: ClarkeCells) -> ClarkeCells:
        """Put cells of the same functions together.

        Parameters
        ----------
        other : ClarkeCells
            More cells.

        Returns
        -------
        ClarkeCells
            These cells, then the others.
        """
        return dataclasses.replace(
            self,
            constraints=np.concatenate([self.constraints, other.constraints]),
            base=np.concatenate([self.base, other.base]),
            steps=np.concatenate([self.steps, other.steps]),
            owners=np.concatenate([self.owners, other.owners + len(self.constraints)]),
            units=np.concatenate([self.units, other.units]),
            slopes={path: np.concatenate([slopes, other.slopes[path]]) for path, slopes in self.slopes.items()},
        )

    def selected(self, cells: NDArray[np.intp]) -> ClarkeCells:
        """Take some cells.

        Parameters
        ----------
        cells : ndarray of int
            Their indices, increasing.

        Returns
        -------
        ClarkeCells
            These cells only.
        """
        steps = np.flatnonzero(np.isin(self.owners, cells))
        return dataclasses.replace(
            self,
            constraints=self.constraints[cells],
            base=self.base[cells],
            steps=self.steps[steps],
            owners=np.searchsorted(cells, self.owners[steps]),
            units=self.units[steps],
            slopes={path: slopes[cells] for path, slopes in self.slopes.items()},
        )


class ClarkeTangents:
    """The Clarke tangents of the functions θ ↦ Σ_k e_ck f_k(θ; x_i), as cells.

    Parameters
    ----------
    architecture : Architecture
        A chain of layers: dense ones or convolutions, and activations of which ReLU, leaky ReLU and ELU have kinks.
    parameters : Parameters
        θ, floats or rationals.
    points : array_like of shape (n, *input_shape)
        The samples, in the arithmetic of the parameters.
    samples : ndarray of int, shape (q,)
        The sample i of each function.
    cotangents : ndarray of shape (q, C)
        The combination e_c of outputs of each function.
    tolerance : float, optional
        As for `find_kinks`.

    Raises
    ------
    UnsupportedError
        For a residual block or max-pooling.
    """

    def __init__(
        self,
        architecture: Architecture,
        parameters: Parameters,
        points: Any,
        samples: NDArray[np.intp],
        cotangents: Array,
        *,
        tolerance: float | None = None,
    ) -> None:
        self.architecture, self.parameters = architecture, parameters
        self.samples, self.cotangents = np.asarray(samples, dtype=np.intp), cotangents
        self.traced = trace(architecture, parameters, points)
        self.heights = relative_heights(architecture, parameters, self.traced)
        self.kinks = kinks_among(self.heights, tolerance)
        counts = {path: int(where[self.samples].sum()) for path, where in self.kinks.items()}
        self.open_layer = max(counts, key=counts.__getitem__) if any(counts.values()) else None
        others = [where for path, where in self.kinks.items() if path != self.open_layer]
        per_sample = sum((where.sum(axis=1) for where in others), np.zeros(len(self.traced.output)))
        self._places = per_sample[self.samples]

    def next_height(self) -> float:
        """How far the pre-activation next to a kink is from counting as zero.

        Returns
        -------
        float
            The smallest |z| relative to |w||x| among those that do not count as zero; infinity if there is none.
        """
        return min(
            (float(height[~self.kinks[path]].min(initial=np.inf)) for path, height in self.heights.items()),
            default=np.inf,
        )

    def truncated(self, most: int = MOST_COMBINATIONS) -> NDArray[np.bool_]:
        """Which functions have more combinations of one-sided slopes outside the open layer than a number.

        Parameters
        ----------
        most : int, optional
            The number.

        Returns
        -------
        ndarray of bool, shape (q,)
            Of these functions `first_cells` does not form all cells.
        """
        return np.asarray(self._places > math.log2(most), dtype=np.bool_)

    def first_cells(self, most: int = MOST_COMBINATIONS) -> ClarkeCells:
        """The cells of all combinations of one-sided slopes outside the open layer, up to a number for each function.

        Parameters
        ----------
        most : int, optional
            The number.

        Returns
        -------
        ClarkeCells
            The open layer is the one with most kinks at the samples used.

        Raises
        ------
        UnsupportedError
            If the tangents need more than 4 GiB.
        """
        constraints: list[int] = []
        sides: dict[str, list[Array]] = {path: [] for path in self.kinks}
        for constraint, sample in enumerate(self.samples):
            for combination in itertools.islice(self._combinations(int(sample)), most):
                constraints.append(constraint)
                for path, right in combination.items():
                    sides[path].append(right)
        owners = np.array(constraints, dtype=np.intp)
        shapes = {path: (len(owners), where.shape[1]) for path, where in self.kinks.items()}
        return self._cells(owners, {path: np.reshape(right, shapes[path]) for path, right in sides.items()})

    def _combinations(self, sample: int) -> Iterator[dict[str, Array]]:
        """Which kinks outside the open layer take their right slope, in all combinations."""
        kinks = self.kinks
        places = [
            (path, unit) for path in kinks if path != self.open_layer for unit in np.flatnonzero(kinks[path][sample])
        ]
        for chosen in itertools.product((False, True), repeat=len(places)):
            result = {path: np.zeros(where.shape[1], dtype=np.bool_) for path, where in kinks.items()}
            for (path, unit), side in zip(places, chosen, strict=True):
                result[path][unit] = side
            yield result

    def better_cells(self, direction: Array, constraints: NDArray[np.intp]) -> ClarkeCells:
        """Cells with a large inner product with a direction, one for each of some functions.

        Parameters
        ----------
        direction : ndarray of shape (P,)
            A residual.
        constraints : ndarray of int
            The functions.

        Returns
        -------
        ClarkeCells
            Their slopes come from an ascent layer by layer, in which the product is affine; it need not be the largest.

        Raises
        ------
        UnsupportedError
            If the tangents need more than 4 GiB.
        """
        along = Parameters.from_vector(self.architecture, direction)
        repeated = np.repeat(constraints, STARTS)
        sides, values = self._ascend(repeated, along, self._starts(repeated, along))
        table = values.reshape(len(constraints), STARTS)
        best = [k * STARTS + max(range(STARTS), key=row.__getitem__) for k, row in enumerate(table)]
        chosen = {path: right[best] for path, right in sides.items()}
        if self.open_layer is not None:
            chosen[self.open_layer][...] = False
        return self._cells(constraints, chosen)

    def _starts(self, constraints: NDArray[np.intp], along: Parameters) -> dict[str, Array]:
        """Sides to begin with: all left, all right, those to which the direction pushes, and random ones."""
        rows, generator = self.samples[constraints], np.random.default_rng(0)
        sides = {path: generator.random((len(rows), where.shape[1])) < 0.5 for path, where in self.kinks.items()}
        for path, right in sides.items():
            right[::STARTS], right[1::STARTS] = False, True
            pushed = self._pushed(rows, self._slopes(rows, sides), along)[path]
            right[2::STARTS] = np.asarray(pushed[2::STARTS] > 0, dtype=np.bool_)
        return sides

    def _ascend(
        self, constraints: NDArray[np.intp], along: Parameters, sides: dict[str, Array]
    ) -> tuple[dict[str, Array], Array]:
        """Choose sides of kinks, one layer after the other, by the sign of what a right slope adds."""
        rows = self.samples[constraints]
        last = len(self.architecture.layers) - 1
        for _ in range(SWEEPS):
            moved = False
            for path, where in self.kinks.items():
                slopes = self._slopes(rows, sides)
                pushed = self._pushed(rows, slopes, along)[path]
                seen = self._pulled(rows, slopes, self.cotangents[constraints], last)[path]
                right = np.asarray(pushed * seen.reshape(pushed.shape) > 0, dtype=np.bool_) & where[rows]
                moved |= bool(np.any(right != sides[path] & where[rows]))
                sides[path] = right
            if not moved:
                break
        outputs = self._pushed(rows, self._slopes(rows, sides), along)[""]
        return sides, (outputs * self.cotangents[constraints]).sum(axis=1)

    def _inputs(self, rows: NDArray[np.intp]) -> dict[str, Array]:
        return {path: array[rows] for path, array in self.traced.inputs.items()}

    def _slopes(self, rows: NDArray[np.intp], sides: Mapping[str, Array]) -> dict[str, Array]:
        """The slopes of the kinked activations with given sides at kinks."""
        slopes: dict[str, Array] = {}
        for path, where in self.kinks.items():
            layer, output = self.architecture.layers[int(path)], self.traced.output
            assert isinstance(layer, Activation)
            left, right = (arithmetic.constant(slope, output) for slope in one_sided_slopes(layer) or (1, 1))
            before = self.traced.inputs[path].reshape(len(output), -1)
            values = activations.derivative(layer, before)[rows]
            values[where[rows] & ~sides[path]], values[where[rows] & sides[path]] = left, right
            slopes[path] = values
        return slopes

    def _pushed(self, rows: NDArray[np.intp], slopes: Mapping[str, Array], along: Parameters) -> dict[str, Array]:
        """Directional derivatives of the inputs of the kinked activations, and of the outputs under the empty name."""
        inputs = self._inputs(rows)
        pushed: dict[str, Array] = {}
        current = inputs["0"] * 0
        for index, layer in enumerate(self.architecture.layers):
            path = str(index)
            if path in slopes:
                pushed[path] = current.reshape(len(rows), -1)
                current = current * slopes[path].reshape(current.shape)
            elif isinstance(layer, Activation):
                current = current * activations.derivative(layer, inputs[path])
            else:
                current = layers.linear_part(layer, path, self.parameters, current)
                if layer.parameter_shapes(inputs[path].shape[1:]):
                    current = current + layers.apply(layer, path, along, inputs[path])
        return pushed | {"": current}

    def _pulled(
        self, rows: NDArray[np.intp], slopes: Mapping[str, Array], cotangent: Array, last: int
    ) -> dict[str, Array]:
        """Backpropagate one row for each sample in `rows` from the output of layer `last`: cotangents at all outputs."""
        inputs = self._inputs(rows)
        seen: dict[str, Array] = {}
        current = cotangent
        for index in reversed(range(last + 1)):
            layer, path = self.architecture.layers[index], str(index)
            seen[path] = current
            if path in slopes:
                current = current * slopes[path].reshape(current.shape)
            elif index:
                current = layers.pull_back(layer, path, self.parameters, inputs[path], current)
        return seen

    def _gradients(self, rows: NDArray[np.intp], pulled: Mapping[str, Array]) -> Array:
        """The gradients, (rows, P), that belong to cotangents."""
        result = arithmetic.full((len(rows), self.architecture.parameter_count), 0, self.traced.output)
        start = 0
        for index, layer in enumerate(self.architecture.layers):
            path = str(index)
            inputs = self.traced.inputs[path]
            if path not in pulled:  # behind the place where the cotangents began
                start += sum(math.prod(shape) for shape in layer.parameter_shapes(inputs.shape[1:]).values())
                continue
            for gradient in layers.sample_gradients(layer, inputs[rows], pulled[path]).values():
                stop = start + math.prod(gradient.shape[1:])
                result[:, start:stop] = gradient.reshape(len(rows), stop - start)
                start = stop
        return result

    def _cells(self, constraints: NDArray[np.intp], sides: Mapping[str, Array]) -> ClarkeCells:
        """One cell for each entry of `constraints`, with given sides of the kinks outside the open layer."""
        rows, last = self.samples[constraints], len(self.architecture.layers) - 1
        width = 0 if self.open_layer is None else int(self.kinks[self.open_layer][rows].sum())
        if 8 * self.architecture.parameter_count * (len(rows) + width) > LARGEST_CELLS:
            raise UnsupportedError(
                f"points: found {len(rows)} tangents and {width} kinks with {self.architecture.parameter_count} parameters; "
                f"at most {LARGEST_CELLS} bytes of tangents are accepted: take fewer samples"
            )
        slopes = self._slopes(rows, sides)
        pulled = self._pulled(rows, slopes, self.cotangents[constraints], last)
        base = self._gradients(rows, pulled)
        owners, units = np.zeros((2, 0), dtype=np.intp)
        steps = base[:0]
        if self.open_layer is not None:
            behind = pulled[self.open_layer]
            flat = behind.reshape(len(rows), -1)
            owners, units = np.nonzero(self.kinks[self.open_layer][rows] & np.asarray(flat != 0, dtype=np.bool_))
            layer = self.architecture.layers[int(self.open_layer)]
            left, right = (arithmetic.constant(slope, base) for slope in one_sided_slopes(layer) or (1, 1))
            single = arithmetic.full((len(owners), flat.shape[1]), 0, base)
            single[np.arange(len(owners)), units] = (right - left) * flat[owners, units]
            own = {path: array[owners] for path, array in slopes.items()}
            single = single.reshape(len(owners), *behind.shape[1:])
            steps = self._gradients(rows[owners], self._pulled(rows[owners], own, single, int(self.open_layer) - 1))
        return ClarkeCells(constraints, base, steps, owners, units, self.open_layer, slopes, self.kinks)
