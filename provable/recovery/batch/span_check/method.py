r"""The method `span-check`: every sample of a batch is found on its own, by the spaces that the gradients span.

For every linear layer whose observed gradient :math:`G_l = \Delta_l \tilde H_{l-1}^T` has the rank B of the batch, a sample x
meets two conditions that no other sample enters: (row) the layer's input at x lies in the row space of :math:`G_l`;
(column) its sensitivity there, for some direction of the loss, lies in the column space. Both spaces are known to the
accuracy of the data. For the first layer's input and the last layer's sensitivity the conditions are linear and
parametrise the unknowns; the others are solved by Levenberg-Marquardt from many starts, B unknowns at most at a time
(`search`). Every sample found shrinks the spaces of the others, exactly, by its dual functional (`deflation`).

Notes
-----
The row condition alone, at the second layer and with discrete candidates, is the span check of DAGER. The column condition,
the dual functionals and their combination are derived here; ``proofs/foundations`` has the theorems.

References
----------
I. Petrov et al., DAGER: exact gradient inversion for large language models, arXiv:2405.15586.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Identity
from provable.errors import UnsupportedError
from provable.networks.activations import value
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch.chain import FullyConnected, is_affine, is_homogeneous, reason_against
from provable.recovery.batch.judgement import judge
from provable.recovery.batch.precision import precision
from provable.recovery.batch.span_check.charts import Chart
from provable.recovery.batch.span_check.deflation import Atom
from provable.recovery.batch.span_check.scales import choose_factors
from provable.recovery.batch.span_check.search import plan, search
from provable.recovery.batch.span_check.signs import choose_signs
from provable.recovery.batch.span_check.spaces import Spaces, has_affine_slope
from provable.recovery.method import Method
from provable.recovery.result import Recovery

Float = NDArray[np.float64]

NAME = "span-check"


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
    spaces = _spaces(observation)
    return spaces if isinstance(spaces, str) else None


def _spaces(observation: Observation) -> Spaces | str:
    """What the gradients span, or the reason why that is not enough."""
    if (reason := reason_against(observation)) is not None:
        return reason
    network = FullyConnected.of(observation)
    where = f"layer {network.first.index} (linear)"
    if len(network.layers) == 1:
        return "the architecture has one linear layer, and nothing behind it tells samples apart"
    if all(is_affine(layer.activation) for layer in network.layers[:-1]):
        return "every hidden activation is affine, and then all samples together look like few others"
    if network.first.weight_gradient is None:
        return f"the gradient of {network.first.index}/weight was not observed"
    if not np.any(network.first.weight_gradient):
        return f"no sample is visible in {where}: every entry of its gradient is zero"
    spaces = Spaces.of(network, precision(observation))
    if observation.batch_size is not None and spaces.rank > observation.batch_size:
        return (
            f"the gradients have numerical rank {spaces.rank}, and the observation says that it is of "
            f"{observation.batch_size} samples"
        )
    if (observation.batch_size or 0) > spaces.rank == network.first.weight.shape[1] and not spaces.row_layers:
        return (
            f"the observation is of {observation.batch_size} samples of {spaces.rank} numbers each, and with so many the "
            "first layer's gradient shows neither the space of the samples nor that of their sensitivities"
        )
    charts = _charts(spaces)
    if all(plan(spaces, chart.remaining([])[1].shape[1]) is None for chart in charts):
        return _too_few_equations(spaces)
    if has_affine_slope(spaces.activations[0]) and not spaces.row_layers:
        return f"the derivative of {spaces.activations[0].type} is affine, so the gradient shows second moments only"
    return spaces


def _too_few_equations(spaces: Spaces) -> str:
    width = len(spaces.network.first.weight)
    found = f"the gradients have rank {spaces.rank}"
    if all(is_homogeneous(activation) for activation in spaces.activations) and not spaces.row_layers:
        return (
            f"{found} in the first layer alone, and the column space of piecewise linear activations holds patterns of "
            "two slopes, which no descent finds: that needs a second hidden layer or more outputs than samples"
        )
    return (
        f"{found}, which is too large for {width} neurons in the first hidden layer: conditions on single samples need at "
        f"least {2 * spaces.rank + 1}"
    )


def _charts(spaces: Spaces) -> list[Chart]:
    """Parametrisations to try: the row space; all samples if it may be too small."""
    span = spaces.spans[0]
    assert span is not None
    charts = []
    if span.rank < span.right.shape[0] or spaces.complete(1) is not None:
        charts.append(Chart.of(spaces, span))
    if spaces.complete(1) is None:
        charts.append(Chart.of(spaces, None))
    return charts


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover a batch sample by sample.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws starts, neurons and the perturbations with which conditions are measured.

    Returns
    -------
    Recovery
        ``consistent`` if all samples together explain the gradient at the level of rounding; ``partial`` if fewer were
        found than the rank says, each of which meets all conditions; otherwise ``failed``.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    spaces = _spaces(observation)
    if isinstance(spaces, str):
        raise UnsupportedError(f"method {NAME}: {spaces}")
    with np.errstate(all="ignore"):
        return _recover(observation, spaces, rng)


def _recover(observation: Observation, spaces: Spaces, rng: np.random.Generator) -> Recovery:
    atoms: list[Atom] = []
    for chart in _charts(spaces):
        if len(atoms) < spaces.rank:
            found = search(spaces, chart, rng, unit_norm=bool(observation.unit_norm))
            atoms = max(atoms, found, key=len)
    remarks = []
    if observation.batch_size is not None and observation.batch_size > spaces.rank:
        remarks.append(
            f"the gradients have numerical rank {spaces.rank}, so of {observation.batch_size} samples at most "
            f"{spaces.rank} can be told apart: others repeat them, or leave no trace above rounding"
        )
    verdict = None
    if len(atoms) == spaces.rank:
        verdict = _judged(observation, spaces, atoms, remarks, rng)
        if verdict.status != "failed":
            return verdict
    # Alone, only those count that the conditions determine. The whole may have failed for samples that cannot be told apart.
    atoms = [atom for atom in atoms if atom.certain]
    if len(atoms) < spaces.rank or (observation.batch_size or 0) > spaces.rank:
        if not atoms:
            remarks.append(
                f"no point meets the conditions on single samples, although the rank {spaces.rank} promises that many; "
                f"rounding leaves the spaces of the first layer known to {_error(spaces):.0e}"
            )
            return nothing_found(observation, NAME, "; ".join(remarks))
        if len(atoms) < spaces.rank:
            remarks.append(f"{len(atoms)} of {spaces.rank} samples were found, each by its own conditions")
        return _judged(observation, spaces, atoms, remarks, rng, incomplete=True)
    assert verdict is not None
    return verdict


def _error(spaces: Spaces) -> float:
    first = spaces.spans[0]
    assert first is not None
    return first.error


def _judged(
    observation: Observation,
    spaces: Spaces,
    atoms: list[Atom],
    remarks: list[str],
    rng: np.random.Generator,
    *,
    incomplete: bool = False,
) -> Recovery:
    """The verdict on samples; signs are chosen only for whole batches."""
    network = spaces.network
    points, coefficients, remarks = np.array([atom.point for atom in atoms]), None, list(remarks)
    symmetries = ["positive-scaling"] if spaces.degree == 1 else []
    if spaces.degree > 1:
        remarks.append(f"the norms of samples are open: (x, c) and (t x, c / t^{spaces.degree}) look alike")
    if spaces.even:
        remarks.append("the signs of samples are open: (x, c) and (-x, c) look alike")
    if not incomplete and all(atom.sensitivity is not None for atom in atoms):
        sensitivities = np.array([atom.sensitivity for atom in atoms])
        points, sensitivities, remark, open_signs = _signed(network, atoms, points, sensitivities)
        remarks += [remark] if remark else []
        symmetries += ["joint-sign"] if open_signs else []
        if spaces.degree and not observation.unit_norm and network.last.bias_gradient is not None:
            factors = choose_factors(sensitivities, network.last.bias_gradient)
            points = points * factors[:, None] ** (-1 / spaces.degree)
            sensitivities = sensitivities * factors[:, None]
        if isinstance(network.last.activation, Identity):
            coefficients = sensitivities
    elif any(atom.mirrored for atom in atoms):
        symmetries.append("joint-sign")
    judged = partial(
        judge,
        observation,
        points.reshape(len(points), *observation.architecture.input_shape),
        method=NAME,
        rng=rng,
        symmetries=tuple(symmetries),
        reason="; ".join(remarks),
        incomplete=incomplete,
    )
    verdict = judged(coefficients)
    if verdict.status == "failed" and coefficients is not None:
        # Where neurons are saturated, single samples may leave the direction of the loss open; together they do not.
        again = judged(None)
        return verdict if again.status == "failed" else again
    return verdict


def _signed(
    network: FullyConnected, atoms: list[Atom], points: Float, sensitivities: Float
) -> tuple[Float, Float, str, bool]:
    """Points and sensitivities with the signs that the last layer's gradient shows; whether they are open."""
    chosen = np.array([atom.mirrored for atom in atoms])
    observed = network.last.gradient
    if observed is None and network.last.bias_gradient is not None:
        observed = network.last.bias_gradient[:, None]
    if not np.any(chosen):
        return points, sensitivities, "", False
    if observed is None:
        return points, sensitivities, "", True

    def traces(sign: float) -> Float:
        features = sign * points
        for layer in network.layers[:-1]:
            features = features @ layer.weight.T
            features = value(layer.activation, features if layer.bias is None else features + layer.bias)
        if network.last.weight_gradient is None:
            features = features[:, :0]
        if network.last.bias_gradient is not None:
            features = np.column_stack([features, np.ones(len(features))])
        return np.asarray((sign * sensitivities[:, :, None] * features[:, None, :]).reshape(len(points), -1))

    plus, minus = traces(1.0), traces(-1.0)
    rest = observed.reshape(-1) - plus[~chosen].sum(axis=0)
    signs, remark = choose_signs(plus[chosen], minus[chosen], rest, 1e-9)
    if signs is None:
        return points, sensitivities, remark, True
    factors = np.ones(len(points))
    factors[chosen] = signs
    return factors[:, None] * points, factors[:, None] * sensitivities, remark, False


METHOD = Method(NAME, supports, recover)
