"""The networks of Chen and Campbell and of R-GAP: every deficit, c(M), and the bounds of N* around measured values."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from provable.architectures.zoo import from_zoo
from provable.leakage import LayerSystem, audit
from provable.leakage.open_dimensions.coverage import dead_inputs
from provable.networks import Parameters, backpropagate, forward, losses, trace

# name: deficits of the convolutions, c(M), N*. The deficits are ranks of float64 matrices along real forward and backward
# passes, computed independently by singular values; N* is the nullity of the Jacobian of (input -> all gradients), computed
# the same way. For the last one 38 was measured on an image on which two channels of the first layer keep their signs; in
# other cells it is 36.
TABLE = {
    "cnn2_c0": ([2821], -2821, 2821),
    "cnn2_c1": ([0], 0, 0),
    "cnn2_c2": ([1470], -1470, 1470),
    "cnn2_c4": ([2146], -2146, 2146),
    "cnn2_c5": ([0], 0, 0),
    "cnn2_c6": ([189], -189, 189),
    "cnn3_c1": ([0, 4533], -2266, 2043),
    "cnn3_c2": ([1470, 1050], -1995, 2484),
    "cnn3_c3": ([0, 0], 0, 0),
    "cnn3_c4": ([2146, 0], -2146, 2146),
    "cnn3_c8": ([0, 7089], -3544, 1818),
    "cnn3_c9": ([0, 0], 0, 0),
    "cnn4_c1": ([0, 3965, 386], -2772, 1836),
    "cnn4_c2": ([0, 9316, 0], -6211, 189),
    "cnn4_c3": ([0, 330, 0], -220, 189),
    "lenet2": ([0, 0, 0], 0, 0),
    "lenet": ([0, 0, 0], 0, 0),
    "cnn6": ([0, 0, 0, 0, 0, 0], 0, 0),
    "cnn6-d": ([0, 280, 0, 0, 0, 0], -233, 0),
    "rgap-figure-1": ([0], 0, 0),
    "rgap-figure-2": ([414], -414, 414),
    "rgap-figure-3": ([414], -414, 414),
    "rgap-figure-4": ([0, 336], -168, 0),
    "rgap-figure-5": ([0, 396], -198, 36),
}


@functools.cache
def audited(name):
    return audit(from_zoo(name))


@pytest.mark.parametrize(
    ("name", "deficits", "metric", "nullity"),
    [pytest.param(name, *row, id=name) for name, row in TABLE.items()],
)
def test_deficits_and_open_dimensions_are_proved_from_both_sides(name, deficits, metric, nullity):
    result = audited(name)
    convolutions = [layer for layer in result.layers if layer.type == "conv2d"]
    assert [layer.deficit_lower for layer in convolutions] == deficits
    assert [layer.deficit_upper for layer in convolutions] == deficits
    assert result.c_metric == metric
    assert all(set(layer.certificates) == {"lower", "upper"} for layer in convolutions)
    assert (result.ambiguity.lower, result.ambiguity.upper) == (nullity, nullity)
    assert result.verdict == ("ambiguous" if nullity else "identifiable")


def test_unused_border_is_found_behind_the_first_layer():
    """cnn4_c2: its first layer sees every pixel, but nothing looks at the last row and column of what it makes."""
    counts = {name: dead_inputs(from_zoo(name)) for name in TABLE}
    border = 3 * (32**2 - 31**2)
    names = ("cnn2_c0", "cnn2_c6", "cnn4_c2", "cnn4_c3")
    assert {name: count for name, count in counts.items() if count} == dict.fromkeys(names, border)


def test_the_second_layer_of_cnn6_d_in_numbers():
    layer = audited("cnn6-d").layers[1]
    assert (layer.unknowns, layer.forward_equations, layer.gradient_equations) == (3468, 1620, 2160)
    assert (layer.rank_lower, layer.rank_upper, layer.how_lower, layer.how_upper) == (
        3188,
        3188,
        "witness mod p",
        "dependency law",
    )
    assert layer.unknowns - layer.forward_equations - layer.gradient_equations == -312, "what mere counting says"


@pytest.mark.deep
def test_sensitivities_made_by_the_network_give_the_same_rank():
    """cnn6-d, second convolution: numerical rank along a real backward pass, with the gap in the singular values."""
    network = from_zoo("cnn6-d")
    rng = np.random.default_rng(0)
    parameters = Parameters.random(network, rng=rng)
    sample = rng.uniform(0, 1, (1, *network.input_shape))
    traced = trace(network, parameters, sample)
    residual = losses.residual(network.loss, forward(network, parameters, sample), np.array([1.0]))
    sensitivity = backpropagate(network, parameters, traced, residual).outputs["2"][0]
    system = LayerSystem.of_layer(network.layers[2], network.shapes[2])
    block = system.gradient_block(sensitivity / np.abs(sensitivity).max())
    _, singular, rows = np.linalg.svd(block)
    attained = int(np.sum(singular > 1e-10 * singular[0]))
    assert attained == 164 and singular[attained - 1] > 1e-4 * singular[0]
    null = rows[attained:].T
    weight = system.forward_matrix(parameters["2/weight"]).reshape(-1, system.pixels)
    restricted = (weight @ null).reshape(system.forward_equations, -1)
    singular = np.linalg.svd(restricted, compute_uv=False)
    found = int(np.sum(singular > 1e-10 * singular[0]))
    assert singular[found - 1] > 1e-5 * singular[0], "a gap of five decades between the last value and rounding"
    assert system.in_channels * attained + found == 3188
