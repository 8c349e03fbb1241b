"""The recogniser on graphs written by hand: expressions become activations, sums of branches residual blocks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    GELU,
    Conv2d,
    Erf,
    Identity,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.architectures.layers import MOST_LAYERS
from provable.architectures.readers.expressions import Expression, X, activation_of, evaluate, number
from provable.architectures.readers.graph import MOST_STEPS, AddedBias, Graph, Padded, Scalar, Step, Unchanged
from provable.architectures.readers.structure import recognise
from provable.errors import InputError, UnsupportedError


def graph(*steps: tuple, output: str | None = None) -> Graph:
    """Steps as (output, inputs, action) with the letters of the inputs in one string."""
    made = [
        Step(name, tuple(inputs), f"step {name}", action, {"weight": name, "bias": f"{name}'"})
        for name, inputs, action in steps
    ]
    return Graph("x", (2, 8, 8), output or made[-1].output, tuple(made))


def compute(operation, *operands: Expression) -> Expression:
    result = evaluate(operation, list(operands))
    assert result is not None
    return result


SIGMOID = compute("reciprocal", compute("add", number(1.0), compute("exp", compute("negate", X))))


@pytest.mark.parametrize(
    ("expression", "activation"),
    [
        (X, Identity()),
        (compute(ReLU(), X), ReLU()),
        (SIGMOID, Sigmoid()),
        (compute("multiply", X, SIGMOID), SiLU()),
        (compute("divide", X, compute("add", number(1.0), compute("exp", compute("negate", X)))), SiLU()),
        (compute("log", compute("add", number(1.0), compute("exp", X))), Softplus()),
        (compute("where", compute("greater", X, number(20.0)), X, compute(Softplus(), X)), Softplus()),
        (compute("subtract", compute("power", X, number(3.0)), number(0.5)), Polynomial((-0.5, 0.0, 0.0, 1.0))),
        (compute(ReLU(), compute(Tanh(), X)), None),
        (compute("multiply", number(2.0), compute(Tanh(), X)), None),
        (compute("exp", X), None),
        (compute("add", X, compute(ReLU(), X)), None),
    ],
)
def test_expressions_are_recognised(expression: Expression, activation) -> None:
    assert activation_of(expression) == activation


@pytest.mark.parametrize("operation", ["divide", "power", "where"])
def test_what_is_not_expanded(operation: str) -> None:
    cases = {
        "divide": [[X, number(0.0)]],
        "power": [[X, X], [X, number(0.5)], [X, number(-1.0)], [X, number(256.0)], [X, number(math.inf)]],
        "where": [[compute("greater", X, number(19.0)), X, compute(Softplus(), X)], [X, X, X]],
    }
    for operands in cases[operation]:
        assert evaluate(operation, operands) is None


coefficients = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=5)


@given(coefficients, coefficients, st.floats(-2, 2))
def test_expressions_multiply_and_add_as_functions_do(left: list[float], right: list[float], x: float) -> None:
    def polynomial(numbers: list[float]) -> Expression:
        total = number(0.0)
        for power, value in enumerate(numbers):
            total = compute("add", total, compute("multiply", number(value), compute("power", X, number(float(power)))))
        return total

    def value(expression: Expression) -> float:
        found = activation_of(expression)
        terms = {Identity: lambda: x}.get(type(found))
        return terms() if terms else sum(a * x**k for k, a in enumerate(found.coefficients))

    p, q = polynomial(left), polynomial(right)
    a, b = (sum(c * x**k for k, c in enumerate(numbers)) for numbers in (left, right))
    # at most 10 terms of sizes up to 81 * 2^8: rounding stays under 1e-9
    assert value(compute("multiply", p, q)) == pytest.approx(a * b, abs=1e-9)
    assert value(compute("subtract", p, q)) == pytest.approx(a - b, abs=1e-9)


CONV = Conv2d(2, 3, 1, 1)


def test_nested_and_projected_blocks() -> None:
    found = recognise(
        graph(
            ("a", "x", CONV),
            ("b", "a", CONV),
            ("c", "ab", Scalar("add", ("a", "b"))),
            ("d", "x", CONV),
            ("e", "dc", Scalar("add", ("d", "c"))),
            ("f", "e", ReLU()),
            ("g", "f", Tanh()),
            ("h", "gf", Scalar("add", ("g", "f"))),
        )
    )
    assert found.layers == (Residual((CONV,), (CONV, Residual((CONV,)))), ReLU(), Residual((Tanh(),)))
    places = {name: source for name, source in found.parameters.items() if name.endswith("weight")}
    assert places == {"0.0/weight": "d", "0.shortcut.0/weight": "a", "0.shortcut.1.0/weight": "b"}


@pytest.mark.parametrize("order", ["cb", "bc"])
def test_a_shortcut_may_pass_through_steps_that_change_nothing(order: str) -> None:
    steps = [
        ("a", "x", Unchanged()),
        ("b", "a", Unchanged()),
        ("c", "x", CONV),
        ("d", order, Scalar("add", tuple(order))),
    ]
    assert recognise(graph(*steps)).layers == (Residual((CONV,)),)


def test_the_longest_activation_wins() -> None:
    steps = [
        ("a", "x", CONV),
        ("b", "a", Scalar("divide", ("a", math.sqrt(2)))),
        ("c", "b", Erf()),
        ("d", "c", Scalar("add", ("c", 1.0))),
        ("e", "ad", Scalar("multiply", ("a", "d"))),
        ("f", "e", Unchanged()),
        ("g", "f", Scalar("multiply", (0.5, "f"))),
        ("h", "g", ReLU()),
        ("i", "h", ReLU()),
    ]
    assert recognise(graph(*steps)).layers == (CONV, GELU(), ReLU(), ReLU())


def test_margins_and_constants_are_taken_in() -> None:
    bare = Conv2d(2, 3, bias=False)
    found = recognise(
        graph(("a", "x", Padded((1, 2), 0.0)), ("b", "a", Unchanged()), ("c", "b", bare), ("d", "c", AddedBias()))
    )
    assert found.layers == (Conv2d(2, 3, 1, (1, 2)),)
    assert found.parameters == {"0/weight": "c", "0/bias": "d'"}
    pool = graph(("a", "x", Padded((1, 1), -math.inf)), ("b", "a", MaxPool2d(2)))
    assert recognise(pool).layers == (MaxPool2d(2, 2, 1),)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([("a", "x", Padded((1, 1), 0.0)), ("b", "a", ReLU())], "step a: found a padding of its own"),
        (
            [("a", "x", Padded((1, 1), 0.0)), ("b", "a", MaxPool2d(2))],
            "step a: found a padding with 0.0 before step b; -inf",
        ),
        ([("a", "x", Padded((2, 2), -math.inf)), ("b", "a", MaxPool2d(2))], "at most half the kernel"),
        ([("a", "x", CONV), ("b", "a", AddedBias())], "step b: found the sum with an array of constants"),
        ([("a", "x", ReLU()), ("b", "a", AddedBias())], "step b: found the sum with an array of constants"),
        ([("a", "x", CONV), ("b", "ax", Scalar("multiply", ("a", "x")))], "step b: found an operation on every entry"),
        ([("a", "x", Scalar("exp", ("x",)))], "step a: found an operation on every entry that makes no activation"),
    ],
)
def test_what_is_not_recognised(steps: list[tuple], words: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        recognise(graph(*steps))
    assert words in str(caught.value)


def test_sizes_are_limited() -> None:
    chain = [("a0", ["x"], ReLU())] + [(f"a{index}", [f"a{index - 1}"], ReLU()) for index in range(1, MOST_STEPS + 1)]
    with pytest.raises(InputError, match=f"found {MOST_STEPS + 1} operations"):
        recognise(graph(*chain))
    with pytest.raises(InputError, match=f"found more than {MOST_LAYERS} layers in a row"):
        recognise(graph(*chain[:MOST_STEPS]))
    idle = [("a0", ["x"], Unchanged())] + [(f"a{index}", [f"a{index - 1}"], Unchanged()) for index in range(1, 60)]
    with pytest.raises(UnsupportedError, match="step b: found a sum of two empty branches"):
        recognise(graph(*idle, ("b", ["a59", "x"], Scalar("add", ("a59", "x")))))
    nested = [("a0", ["x"], CONV)]
    for index in range(1, 19):  # every sum begins at the input and contains the sum before it
        nested += [
            (f"b{index}", [f"a{index - 1}"], CONV),
            (f"a{index}", [f"b{index}", "x"], Scalar("add", (f"b{index}", "x"))),
        ]
    with pytest.raises(UnsupportedError, match="nested deeper than 16"):
        recognise(graph(*nested))


def test_an_output_without_the_input() -> None:
    with pytest.raises(InputError, match="found an output that does not depend on the input"):
        recognise(graph(("a", "x", ReLU()), output="z"))
