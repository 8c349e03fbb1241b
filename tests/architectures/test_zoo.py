"""The named architectures: their published sizes, and how a wrong name is refused."""

from __future__ import annotations

import math

import pytest

from provable.architectures import Architecture, Conv2d, Linear, load
from provable.architectures.zoo import from_zoo, zoo
from provable.errors import InputError

# What the released code of both papers builds: inputs of the first linear layer, as counted there.
FEATURES = {
    "cnn2_c0": 225,
    "cnn2_c1": 5400,
    "cnn2_c2": 1350,
    "cnn2_c4": 900,
    "cnn2_c5": 3072,
    "cnn2_c6": 2352,
    "cnn3_c1": 588,
    "cnn3_c2": 147,
    "cnn3_c3": 7056,
    "cnn3_c4": 4704,
    "cnn3_c8": 588,
    "cnn3_c9": 5488,
    "cnn4_c1": 363,
    "cnn4_c2": 4608,
    "cnn4_c3": 2304,
    "lenet2": 768,
    "lenet": 768,
    "cnn6": 3200,
    "cnn6-d": 3200,
}

# Parameter counts printed in the rank-analysis figure of R-GAP.
PARAMETERS = {
    "rgap-figure-1": 3556,
    "rgap-figure-2": 2667,
    "rgap-figure-4": 3388,
    "rgap-figure-5": 3056,
}


@pytest.mark.parametrize(("name", "features"), FEATURES.items())
def test_first_linear_layer_has_the_published_number_of_inputs(name, features):
    network = from_zoo(name)
    position = next(index for index, layer in enumerate(network.layers) if isinstance(layer, Linear))
    assert network.shapes[position] == (features,)
    assert network.input_shape == (3, 32, 32)


@pytest.mark.parametrize(("name", "count"), PARAMETERS.items())
def test_parameter_counts_of_the_figure(name, count):
    assert from_zoo(name).parameter_count == count


def test_the_third_network_of_the_figure_has_the_wide_layer():
    widths = [layer.out_features for layer in from_zoo("rgap-figure-3").layers if isinstance(layer, Linear)]
    assert widths == [500, 1]


@pytest.mark.parametrize("name", list(zoo()))
def test_every_network_is_found_under_its_own_name_and_survives_json(name):
    network = zoo()[name]
    assert network.name == name == name.lower()
    assert from_zoo(name.upper().replace("-", "_")) == network == load(name)
    assert Architecture.from_json(network.to_json()) == network
    last = [layer for layer in network.layers if isinstance(layer, Conv2d | Linear)][-1]
    assert last.bias == (network.loss == "cross_entropy" or network.name == "kernel-relu")


def test_digit_networks_take_digits():
    digits = [network for name, network in zoo().items() if math.prod(network.input_shape) == 64]
    names = {"two-layer-tanh", "two-layer-relu", "wide-tanh", "wide-relu", "mlp-digits", "cnn-digits"}
    one_output = {"kernel-relu", "kernel-relu-bias-free", "margin-relu"}
    assert {network.name for network in digits} == names | one_output
    assert all(network.output_size == (1 if network.name in one_output else 10) for network in digits)


def test_the_maximal_margin_network_has_a_bias_in_its_first_layer_only():
    network = from_zoo("margin-relu")
    assert [layer.bias for layer in network.layers if isinstance(layer, Linear)] == [True, False]
    assert network.parameter_count == 65 * 200 + 200 and network.loss == "logistic"


def test_the_zoo_cannot_be_changed():
    with pytest.raises(TypeError):
        zoo()["mine"] = from_zoo("cnn6")


@pytest.mark.parametrize(("name", "near"), [("cnn7-d", "cnn6-d"), ("two_layer_tan", "two-layer-tanh"), ("??", "fcn3")])
def test_a_wrong_name_is_refused_with_the_nearest_names(name, near):
    with pytest.raises(InputError) as caught:
        from_zoo(name)
    message = str(caught.value)
    assert name in message and near in message and "\n" not in message
