"""Whether a kernel of a dense network is strictly positive definite, decided by theorem and never by a threshold.

For a finite set of points, a singular kernel comes with exact rational coefficients c such that Σ c_i k(·, x_i) = 0: the
signed measure Σ c_i δ_{x_i} is invisible. The proofs are in ``proofs/loo2024``.

References
----------
.. [1] I. J. Schoenberg, Positive definite functions on spheres, Duke Math. J. 9 (1942).
.. [2] C. A. Micchelli, Y. Xu, H. Zhang, Universal kernels, J. Mach. Learn. Res. 7 (2006).
.. [3] L. Carvalho, J. L. Costa, J. Mourão, G. Oliveira, The positivity of the neural tangent kernel, arXiv:2404.12928.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from provable.architectures.activations import (
    ELU,
    GELU,
    Activation,
    Erf,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.kernels import invisible_measures
from provable.kernels.coincidences import Place, Relation, places
from provable.kernels.dense import DenseKernel
from provable.kernels.parity import parts, positive_degrees

DEFINITE, SINGULAR, OPEN = "strictly positive definite", "singular", "not decided"


@dataclass(frozen=True)
class Definiteness:
    """Whether every Gram matrix of distinct points, or that of given points, is non-singular.

    Attributes
    ----------
    verdict : {"strictly positive definite", "singular", "not decided"}
        The answer.
    theorem : str
        What decides it.
    obstruction : str
        For a singular kernel, what is invisible; for an open case, what is not known.
    coefficients : tuple of Fraction
        For singular given points, c with Σ c_i k(·, x_i) = 0, one for each point.
    """

    verdict: str
    theorem: str
    obstruction: str = ""
    coefficients: tuple[Fraction, ...] = ()

    def to_json(self) -> str:
        """Write the answer as JSON.

        Returns
        -------
        str
            Fractions as strings.
        """
        return json.dumps(
            {
                "verdict": self.verdict,
                "theorem": self.theorem,
                "obstruction": self.obstruction,
                "coefficients": [str(number) for number in self.coefficients],
            }
        )


@dataclass(frozen=True)
class _Case:
    """What a theorem says: a relation between the points and its name, or None for strictly positive definite."""

    theorem: str
    relation: Relation | None = None
    obstruction: str = ""


def definiteness(kernel: DenseKernel, points: Any = None) -> Definiteness:
    """Decide strict positive definiteness of a kernel on a sphere or on given points.

    Parameters
    ----------
    kernel : DenseKernel
        Any depth, activation, biases and parametrisation.
    points : array_like of shape (n, d), optional
        Finitely many points, taken as the rational numbers that they are; default every finite subset of a sphere around the
        origin of R^d, d at least 2, where strictly positive definite and universal mean the same for these kernels.

    Returns
    -------
    Definiteness
        The verdict; ``"not decided"`` if no theorem here covers the case.

    Raises
    ------
    InputError
        If the points are not an array of finite rational numbers.

    Notes
    -----
    Whole spheres: all degrees of harmonics must occur, and that is decided from the parities of the activation [1]_, [2]_.
    Points, with non-polynomial activations:

    - random biases: distinct points suffice [3]_;
    - biases that start at zero and are trained, tangent kernel: distinct points suffice for smooth activations and ELU; for
      ReLU on every ray only Σ c and Σ c‖x‖ are visible, and with one hidden layer less than that of antipodal rays;
    - no biases (and Gaussian-process kernels with biases that start at zero): for ReLU, points on one ray merge, and with
      one hidden layer antipodal pairs of rays are singular if and only if their axes are linearly dependent; for odd
      activations x and -x are the same up to sign; other activations lie between.
    """
    if points is None:
        return _on_spheres(kernel)
    located = places(points)
    case = _decide(kernel, located)
    if case is None:
        return Definiteness(OPEN, "none here covers the case", _what_is_open(kernel, located))
    if case.relation is None:
        return Definiteness(DEFINITE, case.theorem)
    coefficients = tuple(case.relation.get(index, Fraction(0)) for index in range(len(located)))
    return Definiteness(SINGULAR, case.theorem, case.obstruction, coefficients)


def _on_spheres(kernel: DenseKernel) -> Definiteness:
    degrees = positive_degrees(kernel)
    theorem = "Schoenberg; Micchelli, Xu, Zhang: universal if and only if every degree of harmonics occurs"
    if degrees.all:
        return Definiteness(DEFINITE, theorem)
    missing = [
        f"no {name} degrees" if end < 0 else f"no {name} degrees above {_written(end)}"
        for name, end in (("even", degrees.even), ("odd", degrees.odd))
        if end != math.inf
    ]
    return Definiteness(SINGULAR, theorem, " and ".join(missing))


def _written(degree: float) -> str:
    # degrees of deep polynomials are integers of any length
    return f"{degree:.0f}" if degree < 10**6 else f"10^{math.log10(degree):.1f}"


def _decide(kernel: DenseKernel, located: list[Place]) -> _Case | None:
    relation = invisible_measures.coincident(located)
    if relation:
        return _Case("a measure is a function of its distinct points", relation, "two points coincide")
    activation = kernel.activation
    assert isinstance(activation, Activation)
    trained = kernel.tangent and kernel.biases == "zero-initialised"
    degrees = parts(activation)
    if kernel.depth == 0 or (degrees.even <= 0 and degrees.odd == 1):
        return _affine(located, constant=kernel.biases == "random" or trained or degrees.even == 0 < kernel.depth)
    if isinstance(activation, Polynomial):
        return None
    if kernel.biases == "random":
        return _Case("Carvalho et al.: random biases and an activation that is no polynomial see all distinct points")
    return _trained_biases(kernel, located) if trained else _without_biases(kernel, located)


def _affine(located: list[Place], *, constant: bool) -> _Case:
    relation = invisible_measures.affine(located, constant=constant)
    features = "(x, 1)" if constant else "x"
    return _Case(
        f"the kernel is that of linear functions of {features}", relation, f"the vectors {features} are dependent"
    )


def _without_biases(kernel: DenseKernel, located: list[Place]) -> _Case:
    activation, shallow = kernel.activation, kernel.depth == 1
    match activation:
        case LeakyReLU(negative_slope=-1.0):
            theorem = "bias-free networks of |z| see every axis once"
            relation = invisible_measures.same_axis(located)
            return _Case(theorem, relation, "two points lie on one axis, or one is zero")
        case ReLU() | LeakyReLU() | ELU(alpha=0.0):
            return _rectifiers_without_biases(located, shallow)
        case Erf() | Tanh():
            theorem = "bias-free networks of odd activations are odd, and see points up to their sign"
            return _Case(theorem, invisible_measures.opposite(located), "a point is zero, or two are opposite")
        case Sigmoid():
            theorem = "σ(z) + σ(-z) = 1: one hidden layer cannot tell centred pairs apart; deeper networks can"
            relation = invisible_measures.balanced_pairs(located) if shallow else None
            return _Case(theorem, relation, "two of: a pair of opposite points, another one, zero")
        case Softplus():
            theorem = "σ(z) - σ(-z) = z: one hidden layer sees opposite points up to linear functions; deeper ones all"
            relation = invisible_measures.dependent_pairs(located, exact=True) if shallow else None
            return _Case(theorem, relation, "pairs of opposite points are linearly dependent")
        case GELU() | SiLU():
            theorem = "σ(0) = 0, σ(z) - σ(-z) = z: see softplus, and zero is invisible"
            relation = invisible_measures.zero(located)
            if relation is None and shallow:
                relation = invisible_measures.dependent_pairs(located, exact=True)
            return _Case(theorem, relation, "a point is zero, or pairs of opposite points are linearly dependent")
    theorem = "ELU bends into an exponential on one side: distinct points other than zero are independent"
    return _Case(theorem, invisible_measures.zero(located), "a point is zero")


def _rectifiers_without_biases(located: list[Place], shallow: bool) -> _Case:
    theorem = "positive scaling: bias-free ReLU networks see Σ c‖x‖ of every ray"
    relation = invisible_measures.same_ray(located)
    if relation:
        return _Case(theorem, relation, "two points lie on one ray, or one is zero")
    if not shallow:
        return _Case("two or more hidden ReLU layers are universal on rays, by Schoenberg's theorem")
    theorem = "parity: one hidden ReLU layer sees the even part of a measure on rays and its first moment, nothing else"
    relation = invisible_measures.dependent_pairs(located, exact=False)
    return _Case(theorem, relation, "the axes of antipodal pairs are linearly dependent")


def _trained_biases(kernel: DenseKernel, located: list[Place]) -> _Case | None:
    activation = kernel.activation
    match activation:
        case LeakyReLU(negative_slope=-1.0):
            return None
        case ReLU() | LeakyReLU() | ELU(alpha=0.0):
            theorem = "biases that start at zero show Σ c and Σ c‖x‖ of every ray"
            relation = invisible_measures.three_on_a_ray(located)
            if relation:
                return _Case(theorem, relation, "three points lie on one ray")
            if not all(place.axis for place in located):
                return None
            if kernel.depth > 1:
                return _Case(theorem)
            theorem = "parity: one hidden ReLU layer shows less of antipodal rays with three or four points"
            relation = invisible_measures.crowded_axes(located)
            return _Case(theorem, relation, "axes with three or four points are dependent")
    return _Case("biases that start at zero show the even and the odd part of any measure, by Taylor coefficients")


def _what_is_open(kernel: DenseKernel, located: list[Place]) -> str:
    if isinstance(kernel.activation, Polynomial):
        return "for polynomials the rank of the Gram matrix has to be computed"
    if not all(place.axis for place in located):
        return "the derivative of the activation at zero, which a zero point meets, is a convention"
    return "absolute values with trained biases"
