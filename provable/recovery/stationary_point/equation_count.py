r"""How many samples a stationary point can determine: equations against unknowns, before any search.

At a stationary point :math:`\theta = \sum_i c_i \nabla_\theta f(x_i; \theta)` every parameter is one equation for the samples
and their coefficients, but far from all of them are new ones:

* a neuron whose weights are a positive multiple of another's (with homogeneous activations), or the same (otherwise), repeats
  its equations: it counts once;
* with an activation that is positively homogeneous, of degree p, each hidden neuron has one redundant equation, since the
  incoming weights' product with their gradient is p times that of the outgoing ones for every measure (balance: for two
  layers of ReLUs :math:`\|w_k\| = |v_k|`);
* a kink of a neuron on a sample brings one equation, :math:`w_k^T x_i + b_k = 0`, and one unknown, its multiplier
  :math:`s_{ik} \in [0, 1]`: it changes nothing;
* each sample brings what its loss says of its coefficient: the margin :math:`y_i f(x_i) = m` or, with weight decay w,
  :math:`w c_i = -\ell'(f(x_i), y_i)`, with one unknown m or w for all samples;
* without any bias and with homogeneous activations, of degree p, (x, c) and (t x, c / tᵖ) look alike, and margins merely fix
  these scales.

For two layers of ReLUs with first-layer bias, n distinct neurons and d inputs these are :math:`n (d + 1) + N` equations for
:math:`N (d + 1) + 1` unknowns, so at most :math:`(n (d + 1) - 1) / d` samples can be determined.

Notes
-----
The count bounds the rank of the Jacobian from above (``proofs/haim2022/equation_count.py``, which finds the rank of the
stationarity equations exactly): where it says ``undetermined``, other data with the same stationary point exist near the true
ones. Where it does not, the samples may still be undetermined, for instance by neurons that see them alike.
Samples with a zero coefficient leave no trace at all and are not among those counted.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.cluster.hierarchy
from numpy.typing import NDArray

from provable.architectures import Activation, Identity, Polynomial
from provable.errors import InputError, UnsupportedError
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected, is_affine, is_homogeneous, is_odd, reason_against
from provable.symmetries import scaling_degree

Float = NDArray[np.float64]

DEAD = 1e-6
"""Neurons whose weights are this small relative to the layer's largest are dead: decay takes them to zero, slowly."""

BALANCED = 1e-9
"""Norms of incoming and outgoing weights that differ by less, relatively, are those of a finished training."""

_ROUNDING = 1e-12
"""Differences of normalised weights below this are rounding: a few hundred units of it."""

_LARGEST_DIFFERENCE = 1e-2
"""Neurons farther apart than this, relative to their size, are never taken for one."""


@dataclasses.dataclass(frozen=True)
class EquationCount:
    """Equations and unknowns of the samples behind a stationary point.

    Parameters
    ----------
    samples : int or None
        N, if it is known.
    neurons : tuple of int
        Widths of the hidden layers.
    distinct : tuple of int
        How many neurons of each are alive and distinct.
    within, between : float
        The largest difference of two neurons that were taken for one (along a chain of neighbours), and the smallest of two
        that were not, relative to their size; 0 and infinity if there is none.
    imbalance : float
        Largest difference of the norms of a neuron's incoming and outgoing weights, relative to the larger: 0 at a stationary
        point of a homogeneous network, and not a number otherwise.
    rank : int
        Numerical rank of the first layer's weights, biases included: at least so many samples are behind the point.
    rank_gap : tuple of (float, float)
        The singular values before and behind that gap, relative to the largest.
    unknowns_per_sample : int
        Entries of a sample and of its coefficients, less one for ``cross_entropy``, where these add up to zero.
    equations : int
        Independent equations of stationarity at most.
    equations_per_sample : int
        Equations that each sample adds by its margin or loss.
    common_unknowns : int
        1 if these share an unknown margin or weight decay.
    scaling : bool
        Whether samples are counted up to positive scaling, one scale for all if their margins are equations.
    largest : int
        The largest number of samples that can be determined.
    """

    samples: int | None
    neurons: tuple[int, ...]
    distinct: tuple[int, ...]
    within: float
    between: float
    imbalance: float
    rank: int
    rank_gap: tuple[float, float]
    unknowns_per_sample: int
    equations: int
    equations_per_sample: int
    common_unknowns: int
    scaling: bool
    largest: int

    @property
    def verdict(self) -> str:
        """``undetermined`` if there are more unknowns than equations, otherwise ``not excluded``; for N or, where it is not
        known, the smallest number of samples possible.

        Returns
        -------
        str
            The word.
        """
        return "undetermined" if (self.samples or max(self.rank, 1)) > self.largest else "not excluded"

    @property
    def sentence(self) -> str:
        """The numbers behind the verdict.

        Returns
        -------
        str
            One sentence, without a full stop, beginning with the verdict where that is ``undetermined``.
        """
        distinct = " and ".join(map(str, self.distinct))
        of = " and ".join(map(str, self.neurons))
        known = f"{distinct} distinct of {of} hidden neurons give {self.equations} equations"
        if self.imbalance > _LARGEST_DIFFERENCE:
            known += (
                f" (if the point is stationary: norms of incoming and outgoing weights, equal at one, differ by "
                f"{self.imbalance:.1%})"
            )
        per_sample = self.unknowns_per_sample - self.equations_per_sample - self._fewer
        extra = f" and {self.common_unknowns} in common" if self.common_unknowns else ""
        scale = " up to scale" if self.scaling else ""
        own = " beyond its margin or loss" if self.equations_per_sample else ""
        net = f"{per_sample} unknown{'' if per_sample == 1 else 's'} a sample{scale}{own}{extra}"
        most = f"at most {self.largest} sample{'' if self.largest == 1 else 's'} can be determined"
        if self.verdict != "undetermined":
            return f"{most}: {known} for {net}"
        count = self.samples or max(self.rank, 1)
        number = f"{'' if self.samples else 'at least '}{count} {'is' if count == 1 else 'are'} behind the point"
        return f"undetermined: {most}, and {number}: {known} for {net}"

    @property
    def _fewer(self) -> int:
        return 1 if self.scaling and not self.equations_per_sample else 0


def count_equations(
    observation: Observation,
    *,
    samples: int | None = None,
    tolerance: float | None = None,
    common_known: bool = False,
    margins: bool = True,
) -> EquationCount:
    """Count the equations that a stationary point gives, and the unknowns of the samples behind it.

    Parameters
    ----------
    observation : Observation
        A stationary point of a chain of linear layers and activations.
    samples : int, optional
        N, the number of samples with a coefficient that is not zero; by default what the observation says.
    tolerance : float, optional
        Neurons whose weights differ by at most this, relative to their size, are one; by default where the differences have
        their widest gap.
    common_known : bool, optional
        Whether the margin, or the weight decay, is known.
    margins : bool, optional
        Whether margins or losses are counted as equations of the samples.

    Returns
    -------
    EquationCount
        The numbers and the verdict.

    Raises
    ------
    InputError
        If the observation is of another kind, or `samples` or `tolerance` is not positive.
    UnsupportedError
        If the network is no such chain.
    """
    if observation.kind != "stationary-point":
        raise InputError(f"kind: found {observation.kind}; a stationary-point is accepted")
    if (reason := reason_against(observation)) is not None:
        raise UnsupportedError(f"counting equations: {reason}")
    if samples is not None and samples < 1:
        raise InputError(f"samples: found {samples}; a positive number is accepted")
    if tolerance is not None and not 0 < tolerance < 1:
        raise InputError(f"tolerance: found {tolerance}; a number between 0 and 1 is accepted")
    if samples is None:
        samples = observation.batch_size if observation.labels is None else len(observation.labels)
    network = FullyConnected.of(observation)
    groups = [neuron_groups(network, layer, tolerance) for layer in range(len(network.layers) - 1)]
    inputs, outputs = network.first.weight.shape[1], len(network.last.weight)
    distinct = [groups_.count for groups_ in groups]
    equations, before = 0, inputs
    for layer, count in zip(network.layers, [*distinct, outputs], strict=True):
        equations += count * (before + (layer.bias is not None))
        before = count
    for layer, count in zip(network.layers, distinct, strict=False):
        equations -= count if is_homogeneous(layer.activation) or len(_degrees(layer.activation)) == 1 else 0
    equations = int(min(equations, _moments(network)))
    first = (
        network.first.weight
        if network.first.bias is None
        else np.column_stack([network.first.weight, network.first.bias])
    )
    rank, gap = _rank(first)
    loss = observation.architecture.loss
    unknowns = inputs + outputs - (loss == "cross_entropy")
    own = _own_equations(observation, outputs) if margins else 0
    scaling = any(map(scaling_degree, network.symmetries))
    common = 1 if own and not common_known and not scaling else 0
    free = unknowns - own - (1 if scaling and not own else 0)
    return EquationCount(
        samples=samples,
        neurons=tuple(len(layer.weight) for layer in network.layers[:-1]),
        distinct=tuple(distinct),
        within=max((one.within for one in groups), default=0.0),
        between=min((one.between for one in groups), default=math.inf),
        imbalance=max((one.imbalance for one in groups), default=math.nan),
        rank=rank,
        rank_gap=gap,
        unknowns_per_sample=unknowns,
        equations=equations,
        equations_per_sample=own,
        common_unknowns=common,
        scaling=scaling,
        largest=max(equations - common, 0) // free,
    )


def imbalance_remark(observation: Observation) -> str:
    """Say of an observation how far it is from any stationary point, as far as the parameters alone show it.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str
        The largest difference of the norms of a neuron's incoming and outgoing weights; empty if it is below `BALANCED`, for
        other observations and networks, and where activations are not homogeneous, so that nothing is known of these norms.
    """
    try:
        imbalance = count_equations(observation).imbalance
    except (InputError, UnsupportedError):
        return ""
    if not imbalance > BALANCED:
        return ""
    return (
        "the parameters are at no stationary point: the norms of a neuron's incoming and outgoing weights differ by "
        f"{imbalance:.2g} times the larger"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class NeuronGroups:
    """The neurons of one hidden layer, those with the same equations together.

    Parameters
    ----------
    members : tuple of array of int
        Positions of the neurons of each group, the dead ones left out.
    within, between, imbalance : float
        As in `EquationCount`.
    """

    members: tuple[NDArray[np.intp], ...]
    within: float
    between: float
    imbalance: float

    @property
    def count(self) -> int:
        """The number of groups.

        Returns
        -------
        int
            How many distinct neurons there are.
        """
        return len(self.members)


def neuron_groups(network: FullyConnected, layer: int, tolerance: float | None = None) -> NeuronGroups:
    """Put the neurons of a hidden layer together that have the same equations.

    Parameters
    ----------
    network : FullyConnected
        The network.
    layer : int
        Which of its linear layers, from 0; not the last.
    tolerance : float, optional
        Difference of weights, relative to their size, up to which neurons are one, by single linkage; by default where the
        differences have their widest gap below one per cent.

    Returns
    -------
    NeuronGroups
        With a homogeneous activation by the directions of (incoming weights, bias, outgoing weights), otherwise by these
        weights themselves, relative to the layer's largest, and up to their common sign if the activation is odd.
    """
    here, behind = network.layers[layer], network.layers[layer + 1]
    incoming = here.weight if here.bias is None else np.column_stack([here.weight, here.bias])
    power = -int(np.frexp(max(float(np.max(np.abs(incoming))), float(np.max(np.abs(behind.weight)))))[1])
    incoming, outgoing = np.ldexp(incoming, power), np.ldexp(behind.weight.T, power)
    weights = np.hstack([incoming, outgoing])
    sizes = np.linalg.norm(weights, axis=1)
    alive = np.flatnonzero(sizes > DEAD * np.max(sizes, initial=0.0))
    if not len(alive):
        return NeuronGroups((), 0.0, math.inf, math.nan)
    imbalance = math.nan
    if is_homogeneous(here.activation):
        norms = np.linalg.norm(incoming[alive], axis=1), np.linalg.norm(outgoing[alive], axis=1)
        imbalance = float(np.max(np.abs(norms[0] - norms[1]) / np.maximum(*norms)))
        rows = weights[alive] / sizes[alive, None]
    else:
        rows = weights[alive] / np.max(sizes)
    if is_odd(here.activation):
        largest = np.take_along_axis(rows, np.argmax(np.abs(rows), axis=1)[:, None], axis=1)
        rows = rows * np.sign(largest)
    if len(alive) == 1:
        return NeuronGroups((alive,), 0.0, math.inf, imbalance)
    linkage = scipy.cluster.hierarchy.linkage(rows, "single")
    heights = linkage[:, 2]
    if tolerance is None:
        tolerance = _widest_gap(heights, imbalance)
    names = scipy.cluster.hierarchy.fcluster(linkage, tolerance, "distance")
    members = tuple(alive[names == name] for name in range(1, int(np.max(names)) + 1))
    members = tuple(sorted(members, key=lambda group: int(group[0])))
    within = float(np.max(heights[heights <= tolerance], initial=0.0))
    between = float(np.min(heights[heights > tolerance], initial=math.inf))
    return NeuronGroups(members, within, between, imbalance)


def _widest_gap(heights: Float, imbalance: float) -> float:
    """Where the distances at which neurons join have their widest gap; what is below the error of θ is all the same."""
    error = max(_ROUNDING, min(imbalance, _LARGEST_DIFFERENCE) if math.isfinite(imbalance) else 0.0)
    levels = np.concatenate([[error], np.sort(heights[heights <= _LARGEST_DIFFERENCE])])
    levels = np.maximum(levels, error)
    above = np.min(heights[heights > _LARGEST_DIFFERENCE], initial=2.0)
    gaps = np.append(levels[1:], above) / levels
    return float(levels[int(np.argmax(gaps))])


def _rank(matrix: Float) -> tuple[int, tuple[float, float]]:
    """Numerical rank by the widest gap of the singular values, and the two next to it, relative to the largest."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    if singular[0] == 0:
        return 0, (0.0, 0.0)
    relative = np.append(singular / singular[0], 0.0)
    raised = np.maximum(relative, _ROUNDING)
    rank = 1 + int(np.argmax(raised[:-1] / raised[1:]))
    return rank, (float(relative[rank - 1]), float(relative[rank]))


def _own_equations(observation: Observation, outputs: int) -> int:
    loss = observation.architecture.loss
    if loss == "squared":  # a label that is not known is as good as its coefficient
        return 0 if observation.labels is None else outputs
    return outputs - (loss == "cross_entropy")


def _moments(network: FullyConnected) -> float:
    """So many numbers of the data enter at all, if one hidden layer has a polynomial activation; infinite otherwise."""
    if len(network.layers) != 2:
        return math.inf
    degrees = _degrees(network.first.activation)
    if not degrees:
        return math.inf
    inputs, outputs = network.first.weight.shape[1], len(network.last.weight)
    if network.first.bias is not None:
        degrees = tuple(range(max(degrees) + 1))
    elif network.last.bias is not None:
        degrees = tuple({0, *degrees})
    return outputs * sum(math.comb(inputs + degree - 1, degree) for degree in degrees)


def _degrees(activation: Activation) -> tuple[int, ...]:
    if isinstance(activation, Polynomial):
        return tuple(degree for degree, number in enumerate(activation.coefficients) if number)
    return (1,) if isinstance(activation, Identity) or is_affine(activation) else ()
