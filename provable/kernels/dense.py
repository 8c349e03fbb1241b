"""Tangent kernel and Gaussian-process kernel of infinitely wide dense networks of any depth, with or without biases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.architectures.activations import Activation
from provable.arithmetic import Array, Float
from provable.errors import ArithmeticUnsupported, InputError
from provable.kernels import activations, covariances, gram_blocks, input_derivatives
from provable.kernels.input_derivatives import Partials
from provable.kernels.layer_recursion import Recursion
from provable.measures import as_numbers

DEEPEST = 1000
"""The largest number of hidden layers."""

BIASES = ("absent", "zero-initialised", "random")
"""What there is of biases; each gives a kernel of its own."""

PARAMETRISATIONS = ("ntk", "standard")
"""Whether the factor √(σ_w²/fan-in) stands in the network or in the distribution of its weights."""


@dataclass(frozen=True)
class DenseKernel:
    """The kernel of an infinitely wide dense network; call it with two sets of points.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    activation : str or Activation
        The activation of every hidden layer, by its name in ``provable-architecture/1`` or as its description; kept as the
        description.
    weight_variance : float
        σ_w².
    bias_variance : float
        σ_b²: positive for random biases, 0 for the other two kinds.
    tangent : bool
        Whether it is the tangent kernel, not the Gaussian-process kernel.
    biases : {"absent", "zero-initialised", "random"}, optional
        Whether there are biases, and how they start; they are trained. Default ``"random"`` if σ_b² is positive, else
        ``"absent"``.
    parametrisation : {"ntk", "standard"}, optional
        Of the tangent kernel.
    width : int, optional
        The width n of the hidden layers, for ``"standard"`` alone.

    Raises
    ------
    InputError
        If a number is out of range, the activation is unknown, or options contradict each other.

    Notes
    -----
    With d inputs, S¹ = σ_w² x·z/d + σ_b², and for each hidden layer, with K = E[σ(a)σ(b)] and K̇ = E[σ'(a)σ'(b)] under the
    covariance S, S ← σ_w² K + σ_b²; the Gaussian-process kernel is the last S. The tangent kernel is the last Θ of [1]_

    - ``"ntk"``: layers √(σ_w²/fan-in)·Wh + σ_b·b, all entries of W and b from N(0, 1):
      Θ¹ = σ_w² x·z/d + β and Θ ← σ_w² K + β + σ_w² Θ K̇;
    - ``"standard"``: layers Wh + b with entries from N(0, σ_w²/fan-in) and N(0, σ_b²), hidden width n:
      Θ¹ = x·z + β and Θ ← n K + β + σ_w² Θ K̇. This is the leading order in n of every layer's own contribution; the
      corrections are smaller by a factor of the order 1/√n for one network and 1/n for their mean.

    β is what the biases of a layer contribute: 0 if absent; in ``"standard"`` 1; in ``"ntk"`` σ_b² for random biases, and 1
    for biases that start at zero and are added as they are (as in Flax).

    References
    ----------
    .. [1] A. Jacot, F. Gabriel, C. Hongler, Neural tangent kernel, NeurIPS 2018, Theorem 1 and Proposition 1.
    """

    depth: int
    activation: str | Activation
    weight_variance: float
    bias_variance: float
    tangent: bool
    biases: str | None = None
    parametrisation: str = "ntk"
    width: int | None = None

    def __post_init__(self) -> None:
        if (
            isinstance(self.depth, bool)
            or not isinstance(self.depth, int | np.integer)
            or not 0 <= self.depth <= DEEPEST
        ):
            raise InputError(f"depth: found {self.depth!r:.60}; an integer from 0 to {DEEPEST} is accepted")
        object.__setattr__(self, "depth", int(self.depth))
        object.__setattr__(self, "activation", activations.described(self.activation))
        for name, lowest in (("weight_variance", "a positive"), ("bias_variance", "a nonnegative")):
            number = getattr(self, name)
            real = (
                isinstance(number, int | float | np.integer | np.floating)
                and not isinstance(number, bool)
                and math.isfinite(number)
            )
            if not real or number < 0 or (number == 0 and name == "weight_variance"):
                raise InputError(f"{name}: found {number!r:.60}; {lowest} finite number is accepted")
            object.__setattr__(self, name, float(number))
        if self.biases is None:
            object.__setattr__(self, "biases", "random" if self.bias_variance > 0 else "absent")
        if self.biases not in BIASES:
            raise InputError(f"biases: found {self.biases!r:.60}; {', '.join(BIASES)} are accepted")
        if (self.biases == "random") != (self.bias_variance > 0):
            accepted = "a positive number" if self.biases == "random" else "0"
            raise InputError(
                f"bias_variance: found {self.bias_variance} with {self.biases} biases; {accepted} is accepted"
            )
        if self.parametrisation not in PARAMETRISATIONS:
            raise InputError(
                f"parametrisation: found {self.parametrisation!r:.60}; {', '.join(PARAMETRISATIONS)} are accepted"
            )
        whole = isinstance(self.width, int | np.integer) and not isinstance(self.width, bool) and self.width > 0
        if self.width is not None and self.parametrisation == "ntk":
            raise InputError(f"width: found {self.width!r:.60}; it is accepted with the standard parametrisation alone")
        if self.parametrisation == "standard" and not whole:
            raise InputError(f"width: found {self.width!r:.60}; the standard parametrisation needs a positive integer")

    def __call__(self, X: Any, Z: Any = None) -> Array:
        """Evaluate the kernel.

        Parameters
        ----------
        X : array_like of shape (n, d)
            Points, float64 or an object array of balls.
        Z : array_like of shape (m, d), optional
            Other points in the same arithmetic; default the same.

        Returns
        -------
        ndarray of shape (n, m)
            Kernel values. For piecewise linear activations, and for erf and GELU with σ_w² ≤ 4, the error in float64 is at
            most 1e-14·√(k(x, x) k(z, z)) up to five layers, for points at any distance. For the others it grows with σ_w² and
            depth, as the sensitivity to the inputs does. The tangent kernel of erf has a peak at x = z, as narrow as one over
            the standard deviation s of the first pre-activations, and its error has a factor of up to 1 + s/10 more.
            k(x, x) comes from the recursion of the variances alone.

        Raises
        ------
        InputError
            If the shapes do not fit, a number is not finite, a norm or the kernel is out of the range of float64, or the
            arithmetics differ.
        ArithmeticUnsupported
            For rationals and residues, in which the kernel has no value.
        UnsupportedError
            If the matrix would not fit into memory; the message says how much it needs. If the activation has no closed form
            and its Hermite series converges too slowly for its digits to be right, or none does.

        Notes
        -----
        Many float64 points go through `gram`, by blocks and on all cores.
        """
        left, right, recursion = self._checked(X, Z)
        if left.dtype != object and len(left) * len(right) >= gram_blocks.LEAST_PAIRS:
            return gram_blocks.matrix_of(recursion, left, right)
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported
            values = recursion.values(covariances.of_inputs(left, right))
        recursion.require_finite(values)
        return values

    def gradient(self, X: Any, Z: Any, coefficients: Any) -> Float:
        """Gradients in x of h(x) = Σ_j α_j k(x, z_j), without the array of all pairs' gradients.

        Parameters
        ----------
        X : array_like of shape (n, d)
            The points x at which to differentiate, float64.
        Z : array_like of shape (m, d)
            The points z_j.
        coefficients : array_like of shape (m,) or (n, m)
            α_j, or a row of them for every point x.

        Returns
        -------
        ndarray of shape (n, d)
            ∇h at every x. The gradient of Σ_ij G_ij k(x_i, z_j) in X is ``gradient(X, Z, G)``, and that of
            Σ_ij G_ij k(x_i, x_j) is ``gradient(X, X, G + G.T)``.

        Raises
        ------
        InputError
            If the shapes do not fit, a number is not finite, or a point x is zero where the kernel has a kink at zero.

        Notes
        -----
        For activations with a kink (all piecewise linear ones but the identity), the tangent kernel has a conical singularity
        in x where the pre-activations of x and z agree or are opposite: at x = z, and without random biases on the whole line
        through z. There the directional derivatives have a mean, which is returned: the angular part is 0, the rest smooth.
        At x = z this is half of the gradient of k(x, x). Angles below 8·2⁻⁵² count as none. Relative to
        ‖x‖⁻¹√(k(x, x)k(z, z)), the error is a small multiple of (depth + d)·2⁻⁵²/sin θ, with θ the angle between the points,
        to which a random bias adds a coordinate; this is also how much rounding x changes the gradient.
        """
        left, right, recursion = self._checked(X, Z, derivatives=True)
        return input_derivatives.gradient(recursion, left, right, coefficients)

    def hessian(self, X: Any, Z: Any, coefficients: Any, directions: Any = None) -> Float:
        """Hessians in x of h(x) = Σ_j α_j k(x, z_j).

        Parameters
        ----------
        X : array_like of shape (n, d)
            The points x at which to differentiate, float64.
        Z : array_like of shape (m, d)
            The points z_j.
        coefficients : array_like of shape (m,) or (n, m)
            α_j, or a row of them for every point x.
        directions : array_like of shape (d, w), optional
            Columns W; default all of space.

        Returns
        -------
        ndarray of shape (n, w, w)
            WᵀHW with the Hessian H at every x. On the singularities that `gradient` describes H is infinite for the tangent
            kernel; its infinite terms are left out there.

        Raises
        ------
        InputError
            If the shapes do not fit, a number is not finite, or a point x is zero where the kernel has a kink at zero.
        """
        left, right, recursion = self._checked(X, Z, derivatives=True)
        return input_derivatives.hessian(recursion, left, right, coefficients, directions)

    def partials(self, X: Any, Z: Any) -> Partials:
        """Partial derivatives of k(x, z) by t = x·z and r = ‖x‖².

        Parameters
        ----------
        X : array_like of shape (n, d)
            The points x, float64.
        Z : array_like of shape (m, d)
            The points z.

        Returns
        -------
        Partials
            k, k_t, k_r, k_tt, k_tr and k_rr, each (n, m). On the singularities that `gradient` describes, infinite terms are
            left out.

        Raises
        ------
        InputError
            If the shapes do not fit, a number is not finite, or a point x is zero where the kernel has a kink at zero.
        UnsupportedError
            If they would not fit into memory; the message says how much they need.
        """
        left, right, recursion = self._checked(X, Z, derivatives=True)
        return input_derivatives.partials(recursion, left, right)

    def recursion(self, points: Array) -> Recursion:
        """The constants of the layer recursion.

        Parameters
        ----------
        points : ndarray of shape (n, d)
            Points, which tell the number of inputs and the arithmetic.

        Returns
        -------
        Recursion
            What evaluates the kernel on covariances of inputs.
        """
        weight, bias, one = (
            arithmetic.constant(value, points) for value in (self.weight_variance, self.bias_variance, 1.0)
        )
        first = weight / points.shape[1]
        standard = self.parametrisation == "standard"
        trained = 0 * one if self.biases == "absent" else one
        return Recursion(
            dual=activations.dual(self.activation),
            depth=self.depth,
            input_variance=first,
            weight_variance=weight,
            bias_variance=bias,
            tangent=self.tangent,
            input_gain=one if standard else first,
            gain=one * self.width if standard else weight,
            bias_gain=bias if self.biases == "random" and not standard else trained,
        )

    def _checked(self, X: Any, Z: Any, *, derivatives: bool = False) -> tuple[Array, Array, Recursion]:
        left, right = _pair(X, Z)
        recursion = self.recursion(left)
        for points, what in ((left, "X"), (right, "Z")):
            recursion.require_range(points, what, derivatives=derivatives)
        return left, right, recursion


def _pair(X: Any, Z: Any) -> tuple[Array, Array]:
    left = _points(X, "X")
    right = left if Z is None else _points(Z, "Z")
    if left.shape[1] != right.shape[1]:
        raise InputError(f"Z: found points of dimension {right.shape[1]}; {left.shape[1]} is accepted")
    if left.size and right.size and arithmetic.kind(left) != arithmetic.kind(right):
        raise InputError(
            f"Z: found {arithmetic.kind(right)} numbers with {arithmetic.kind(left)} numbers in X; "
            "numbers of one arithmetic are accepted"
        )
    return left, right


def _points(values: Any, what: str) -> Array:
    points = as_numbers(values, what)
    if points.ndim != 2 or points.shape[1] == 0:
        raise InputError(f"{what}: found shape {points.shape}; (n, d) with d at least 1 is accepted")
    if arithmetic.kind(points) in ("rational", "modular"):
        raise ArithmeticUnsupported(
            f"kernels have no values in {arithmetic.kind(points)} arithmetic; float64 and ball are accepted"
        )
    return points


def ntk(
    depth: int,
    activation: str | Activation,
    *,
    weight_variance: float = 2.0,
    bias_variance: float = 0.0,
    biases: str | None = None,
    parametrisation: str = "ntk",
    width: int | None = None,
) -> DenseKernel:
    """The tangent kernel of an infinitely wide dense network.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    activation : str or Activation
        The activation of every hidden layer: a name, such as ``"relu"``, or a description, such as ``LeakyReLU(0.2)``.
    weight_variance : float, optional
        σ_w²; 2 keeps the variance of ReLU layers constant.
    bias_variance : float, optional
        σ_b² of random biases.
    biases : {"absent", "zero-initialised", "random"}, optional
        Three different kernels. Default ``"random"`` if σ_b² is positive, else ``"absent"``; ``"zero-initialised"``, for
        biases that start at zero and are trained, has to be asked for.
    parametrisation : {"ntk", "standard"}, optional
        Whether the factor √(σ_w²/fan-in) stands in the network or in the distribution of its weights.
    width : int, optional
        The width of the hidden layers, for ``"standard"`` alone: that kernel grows with it.

    Returns
    -------
    DenseKernel
        A callable ``kernel(X, Z=None)``, (n, d) and (m, d) to (n, m), with ``kernel.gradient(X, Z, coefficients)``,
        ``kernel.hessian(…)`` and ``kernel.partials(X, Z)``.

    Notes
    -----
    One hidden ReLU layer without bias: k(x, z) = σ_w⁴/(2d)·‖x‖‖z‖·(uκ₀(u) + κ₁(u)) with u the cosine of the angle.
    """
    return DenseKernel(
        depth,
        activation,
        weight_variance,
        bias_variance,
        tangent=True,
        biases=biases,
        parametrisation=parametrisation,
        width=width,
    )


def nngp(
    depth: int, activation: str | Activation, *, weight_variance: float = 2.0, bias_variance: float = 0.0
) -> DenseKernel:
    """The covariance of the Gaussian process that an infinitely wide dense network is at initialisation.

    Parameters
    ----------
    depth : int
        Number of hidden layers.
    activation : str or Activation
        The activation of every hidden layer: a name, such as ``"relu"``, or a description, such as ``LeakyReLU(0.2)``.
    weight_variance : float, optional
        σ_w²; 2 keeps the variance of ReLU layers constant.
    bias_variance : float, optional
        σ_b² of random biases. Biases that start at zero play no part here, nor does the parametrisation.

    Returns
    -------
    DenseKernel
        A callable ``kernel(X, Z=None)``, (n, d) and (m, d) to (n, m), with ``kernel.gradient(X, Z, coefficients)``,
        ``kernel.hessian(…)`` and ``kernel.partials(X, Z)``.
    """
    return DenseKernel(depth, activation, weight_variance, bias_variance, tangent=False)
