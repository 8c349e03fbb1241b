r"""Was a sample used in training? A test on the network's output, with a proved bound of its false positives.

At a KKT point of the max-margin problem of :math:`f(x) = \sum_k v_k\,\mathrm{relu}(w_k \cdot \tilde x)` with margin m,
:math:`\tilde x = x` or, with a first-layer bias, :math:`(x, 1)`, members have :math:`|f| \ge m`, support vectors
:math:`|f| = m`. What is fresh has less where inputs are nearly orthogonal:

* Let :math:`g_k = w_k/v_k = \sum_i \lambda_i y_i s_{ik} \tilde x_i`, of norm one. As :math:`\sum_k v_k^2 = \|\theta\|^2/2 =
  m\Lambda` with :math:`\Lambda = \sum_i \lambda_i`, every x with :math:`|\tilde x \cdot \tilde x_i| \le \delta` for all i
  has :math:`|f(x)| \le \sum_k v_k^2 |g_k \cdot \tilde x| \le m \delta \Lambda^2`. With a bias the inner products are
  :math:`x \cdot x_i + 1`, so that inputs have to be long to be nearly orthogonal.
* For x uniform on a sphere the law of f(x) is known: its mean in closed form, and its spread by concentration, for f is
  Lipschitz with constant :math:`\sum_k v_k^2 \|w_k/v_k\|` at most. No sample is needed for that.
* Who can only query f compares with its values at fresh inputs of the same law: the rank of an exchangeable value is uniform.

References
----------
G. Smorodinsky, G. Vardi, I. Safran, arXiv:2410.07632, for :math:`O(nm\delta/\Delta)`, with constants in `published_bound`
that are derived here; D. Bakry, M. Émery 1985 and I. Herbst for concentration on the sphere (log-Sobolev constant d - 1).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.architectures import Architecture, Linear
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.networks import Parameters, forward

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Membership:
    """What a membership test found.

    Parameters
    ----------
    outputs : array of shape (n,)
        f at the candidates.
    false_positive_bounds : array of shape (n,)
        For each candidate a bound of the probability that a fresh input has an output as far out.
    member : array of bool, shape (n,)
        Whether that bound is at most the level asked for.
    level : float
        The probability accepted with which one fresh input is taken for a member.
    """

    outputs: Float
    false_positive_bounds: Float
    member: NDArray[np.bool_]
    level: float


@dataclasses.dataclass(frozen=True)
class FreshOutputs:
    r"""What is known of the output at an input that is uniform on a sphere and independent of the network.

    Parameters
    ----------
    mean : float
        Its expectation.
    lipschitz : float
        A Lipschitz constant L of the network.
    dimension : int
        d, at least 3.
    radius : float
        R of the sphere.
    """

    mean: float
    lipschitz: float
    dimension: int
    radius: float

    def tail(self, output: ArrayLike) -> Float:
        r"""Bound the probability of an output as far from the mean, to either side.

        Parameters
        ----------
        output : array_like of shape (n,)
            Outputs t.

        Returns
        -------
        array of shape (n,)
            :math:`\min(1, 2\exp(-(d-1)(t - \mathrm{mean})^2/(2L^2R^2)))`.
        """
        distance = np.abs(np.asarray(output, dtype=np.float64) - self.mean)
        scale = self.lipschitz * self.radius
        if scale == 0:
            return np.where(distance > 0, 0.0, 1.0)
        bound: Float = np.minimum(1.0, 2 * np.exp(-(self.dimension - 1) * (distance / scale) ** 2 / 2))
        return bound

    def threshold(self, level: float) -> float:
        """Give the distance from the mean that a fresh input reaches with a given probability at most.

        Parameters
        ----------
        level : float
            The probability, between 0 and 1.

        Returns
        -------
        float
            The distance.
        """
        return self.lipschitz * self.radius * math.sqrt(2 * math.log(2 / level) / (self.dimension - 1))


def neurons(architecture: Architecture, parameters: Parameters) -> tuple[Float, Float, Float]:
    """Read the neurons of a two-layer ReLU network with at most a first-layer bias.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        θ.

    Returns
    -------
    weight : array of shape (K, d)
        The w_k.
    bias : array of shape (K,)
        The b_k, zero if there is none.
    outer : array of shape (K,)
        The v_k.

    Raises
    ------
    InputError
        If the architecture is another one.
    """
    layers = architecture.layers
    kinds = [layer.type for layer in layers]
    if kinds != ["linear", "relu", "linear"]:
        raise InputError(f"architecture: the layers are {', '.join(kinds)}; linear, relu, linear are accepted")
    first, last = layers[0], layers[2]
    assert isinstance(first, Linear) and isinstance(last, Linear)
    if last.bias or last.out_features != 1:
        raise InputError(
            "architecture: the last layer has a bias or several outputs; one output and no bias are accepted"
        )
    weight = np.asarray(parameters["0/weight"])
    bias = np.asarray(parameters["0/bias"]) if first.bias else np.zeros(len(weight))
    return weight, bias, np.asarray(parameters["2/weight"])[0]


def total_multiplier(parameters: Parameters, margin: float) -> float:
    r"""Read :math:`\Lambda = \sum_i \lambda_i = \|\theta\|^2/(2m)` from the parameters of a two-layer network at a KKT point.

    Parameters
    ----------
    parameters : Parameters
        θ.
    margin : float
        m > 0.

    Returns
    -------
    float
        Λ.

    Raises
    ------
    InputError
        If the margin is not positive.
    """
    if not margin > 0:
        raise InputError(f"margin: {margin} was found; a positive number is accepted")
    total: float = float(np.sum(parameters.vector() ** 2)) / (2 * margin)
    return total


def fresh_bound(parameters: Parameters, margin: float, inner_product: float) -> float:
    r"""Bound the output at every input that is nearly orthogonal to all support vectors: :math:`m\delta\Lambda^2`.

    Parameters
    ----------
    parameters : Parameters
        θ of a two-layer network at a KKT point.
    margin : float
        m.
    inner_product : float
        :math:`\delta \ge \max_i |\tilde x \cdot \tilde x_i|`; with a first-layer bias that is :math:`|x \cdot x_i + 1|`.

    Returns
    -------
    float
        The bound; it tells members from fresh inputs if it is below m, so if :math:`\delta\Lambda^2 < 1`.
    """
    return margin * inner_product * total_multiplier(parameters, margin) ** 2


def published_bound(samples: int, margin: float, inner_product: float, squared_norm: float) -> float:
    r"""Bound the output at a fresh input by the data's geometry alone.

    Parameters
    ----------
    samples : int
        n, the number of support vectors.
    margin : float
        m.
    inner_product : float
        :math:`\delta`, at least all :math:`|\tilde x_i \cdot \tilde x_j|`, i ≠ j, and :math:`|\tilde x \cdot \tilde x_i|`.
    squared_norm : float
        :math:`\Delta \le \|\tilde x_i\|^2` for all i.

    Returns
    -------
    float
        :math:`\frac{nm\delta}{\Delta}\bigl(1 + \frac{n^{3/2}\delta}{\Delta-(n-1)\delta}\bigr)`; infinite if (n - 1)δ ≥ Δ. So
        O(nmδ/Δ) needs δ = O(Δ n^{-3/2}).
    """
    gap = squared_norm - (samples - 1) * inner_product
    if gap <= 0:
        return math.inf
    return samples * margin * inner_product / squared_norm * (1 + samples * math.sqrt(samples) * inner_product / gap)


def fresh_outputs(architecture: Architecture, parameters: Parameters, radius: float) -> FreshOutputs:
    """Find the mean and spread of the output at an input that is uniform on a sphere about zero.

    Parameters
    ----------
    architecture : Architecture
        A two-layer ReLU network with at most a first-layer bias, on at least three inputs. It need not be trained.
    parameters : Parameters
        θ.
    radius : float
        R > 0.

    Returns
    -------
    FreshOutputs
        Its `tail` holds for an input that is drawn independently of θ.

    Raises
    ------
    InputError
        If the architecture is another one or the radius is not positive.
    """
    weight, bias, outer = neurons(architecture, parameters)
    dimension = weight.shape[1]
    if dimension < 3:
        raise InputError(f"architecture: it has {dimension} inputs; at least 3 are accepted")
    if not radius > 0:
        raise InputError(f"radius: {radius} was found; a positive number is accepted")
    norms = np.linalg.norm(weight, axis=1)
    mean = float(outer @ mean_of_relu(norms * radius, bias, dimension))
    return FreshOutputs(mean, float(np.abs(outer) @ norms), dimension, radius)


def mean_of_relu(scale: Float, shift: Float, dimension: int) -> Float:
    r"""Integrate relu(a u + b) over a coordinate u of the unit sphere.

    Parameters
    ----------
    scale, shift : array of shape (K,)
        a ≥ 0 and b.
    dimension : int
        d ≥ 3.

    Returns
    -------
    array of shape (K,)
        The means: :math:`a\,C\,(1-u_0^2)^{(d-1)/2}/(d-1) + b\,P(u > u_0)` with :math:`u_0 = -b/a` clipped to [-1, 1] and
        :math:`C = \Gamma(d/2)/(\sqrt\pi\,\Gamma((d-1)/2))` from the density :math:`C(1-u^2)^{(d-3)/2}`.
    """
    from scipy.special import betainc, gammaln  # loaded only when it is needed

    constant = math.exp(float(gammaln(dimension / 2) - gammaln((dimension - 1) / 2))) / math.sqrt(math.pi)
    with np.errstate(divide="ignore", invalid="ignore"):
        start = np.clip(np.where(scale > 0, -shift / scale, -np.sign(shift)), -1.0, 1.0)
    above = np.asarray(betainc((dimension - 1) / 2, (dimension - 1) / 2, (1 - start) / 2))
    mean: Float = scale * constant * (1 - start**2) ** ((dimension - 1) / 2) / (dimension - 1) + shift * above
    return mean


def membership_test(
    architecture: Architecture, parameters: Parameters, candidates: ArrayLike, *, radius: float, level: float = 1e-6
) -> Membership:
    """Decide which candidates are members, knowing the parameters.

    Parameters
    ----------
    architecture : Architecture
        A two-layer ReLU network with at most a first-layer bias.
    parameters : Parameters
        θ.
    candidates : array_like of shape (n, d)
        Inputs of norm `radius`.
    radius : float
        What all inputs, members or not, have as norm.
    level : float, optional
        The largest probability with which one fresh input, uniform on the sphere, may be taken for a member.

    Returns
    -------
    Membership
        Members need not be found: they are if m is beyond the threshold.

    Raises
    ------
    InputError
        If candidates have another norm or shape, or the level is not between 0 and 1.
    """
    _check_level(level)
    points = np.asarray(candidates, dtype=np.float64)
    if points.ndim != 2 or points.shape[1:] != tuple(architecture.input_shape):
        raise InputError(f"candidates: have shape {points.shape}; (n, {architecture.input_shape[0]}) is accepted")
    norms = np.linalg.norm(points, axis=1)
    # a norm is exact to (d + 2) ε/2, the candidates themselves to ε
    off = float(np.max(np.abs(norms - radius), initial=0.0))
    if off > (points.shape[1] + 4) * EPSILON * radius:
        raise InputError(
            f"candidates: a norm differs from {radius:.6g} by {off:.2g}; inputs on the sphere are accepted"
        )
    outputs = forward(architecture, parameters, points)[:, 0]
    bounds = fresh_outputs(architecture, parameters, radius).tail(outputs)
    return Membership(outputs, bounds, bounds <= level, level)


def rank_test(outputs: ArrayLike, fresh: ArrayLike, *, level: float = 0.01) -> Membership:
    """Decide which candidates are members, from outputs alone.

    Parameters
    ----------
    outputs : array_like of shape (n,)
        f at the candidates.
    fresh : array_like of shape (q,)
        f at inputs that are surely no members, drawn independently from the law that a fresh candidate would have.
    level : float, optional
        The largest probability with which one fresh input may be taken for a member; at least 1/(q + 1) to find any.

    Returns
    -------
    Membership
        With the bounds (1 + number of fresh |f| that are at least the candidate's)/(q + 1): among q + 1 exchangeable values
        the rank of one is uniform, or lower where values are tied. Nothing is assumed of the network.

    Raises
    ------
    InputError
        If the level is not between 0 and 1 or no fresh output is given.
    """
    _check_level(level)
    values, known = np.asarray(outputs, dtype=np.float64), np.sort(np.abs(np.asarray(fresh, dtype=np.float64)))
    if values.ndim != 1 or known.ndim != 1 or not len(known):
        raise InputError(
            f"fresh: shapes {values.shape} and {known.shape} were found; (n,) and (q,) with q > 0 are accepted"
        )
    at_least = len(known) - np.searchsorted(known, np.abs(values), side="left")
    bounds = (1 + at_least) / (len(known) + 1)
    return Membership(values, bounds, bounds <= level, level)


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(f"level: {level} was found; a number between 0 and 1 is accepted")
