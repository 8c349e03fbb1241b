"""R-GAP's index: the values of the authors' figure, and how it follows from the counts of each layer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, AvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, Residual, Tanh
from provable.architectures.zoo import from_zoo
from provable.errors import UnsupportedError
from provable.leakage.metrics import rgap_index

FIGURE = {1: -484, 2: 405, 3: 405, 4: -208, 5: 316}
"""Values of the rank-analysis figure that the authors published."""


@pytest.mark.parametrize(("column", "value"), FIGURE.items())
def test_the_figure_is_reproduced(column: int, value: int) -> None:
    assert rgap_index(from_zoo(f"rgap-figure-{column}")).value == value


def test_virtual_constraints_are_those_of_the_figure() -> None:
    for column, virtual in ((4, 528), (5, 64)):
        layers = rgap_index(from_zoo(f"rgap-figure-{column}")).layers
        assert [layer.virtual for layer in layers] == [0, virtual]


def test_shortages_are_handed_on() -> None:
    # the first layer is short of 2145 equations, which the second one, alone with a surplus of 3858, then lacks too
    first, second = rgap_index(from_zoo("cnn3_c4")).layers
    assert (first.missing, second.virtual, second.missing) == (2145, -2145, -3858 + 2145)


convolutions = st.lists(
    st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)), min_size=1, max_size=3
)


def network(shapes: list[tuple[int, int, int, int]], between: tuple[type, ...]) -> Architecture:
    """Convolutions of a 2×15×15 image with the given layers after each."""
    chain = []
    for channels, kernel, stride, padding in shapes:
        chain += [Conv2d(channels, kernel, stride, padding), *(layer() for layer in between)]
    return Architecture("drawn", (2, 15, 15), (*chain, Flatten(), Linear(2)), "cross_entropy")


@given(convolutions)
def test_only_the_convolutions_count(shapes: list[tuple[int, int, int, int]]) -> None:
    plain, busy = network(shapes, ()), network(shapes, (BatchNorm2d, Tanh))
    values = [layer.missing for layer in rgap_index(plain).layers]
    assert [layer.missing for layer in rgap_index(busy).layers] == values
    assert rgap_index(plain).value == max(values)
    # a later layer never lowers the maximum, and the first one is counted without virtual constraints
    assert rgap_index(network(shapes[:1], ())).value == values[0] <= max(values)


@given(convolutions, st.integers(1, 4))
def test_a_wider_first_layer_never_looks_safer(shapes: list[tuple[int, int, int, int]], more: int) -> None:
    channels, *rest = shapes[0]
    narrow, wide = network([shapes[0]], ()), network([(channels + more, *rest)], ())
    assert rgap_index(wide).value < rgap_index(narrow).value


def test_networks_without_convolutions_have_no_index() -> None:
    assert rgap_index(from_zoo("fcn3")).value is None


@pytest.mark.parametrize("layer", [AvgPool2d(2), Residual((Tanh(),))])
def test_layers_without_a_rule_are_refused(layer: AvgPool2d | Residual) -> None:
    chain = (Conv2d(2, 2), layer, Flatten(), Linear(1))
    with pytest.raises(UnsupportedError, match=rf"layer 1 \({layer.type}\): R-GAP's index has no rule"):
        rgap_index(Architecture("pooled", (1, 5, 5), chain, "squared"))
