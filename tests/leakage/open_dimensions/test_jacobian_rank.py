"""Lower bounds of the rank of x ↦ all gradients against exact Jacobians, balls, upper bounds and published networks."""

from __future__ import annotations

import dataclasses

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    SiLU,
)
from provable.architectures.layers import Erf, Sigmoid, Softplus, Tanh
from provable.architectures.zoo import from_zoo
from provable.arithmetic import RATIONAL, Arithmetic
from provable.errors import InputError
from provable.leakage.open_dimensions import jacobian_rank as subject
from provable.leakage.open_dimensions.activation_cells import find_cell
from provable.leakage.open_dimensions.jacobian_rank import JacobianRank, JacobianRefusal, jacobian_rank
from provable.leakage.open_dimensions.nested_rank import nested_rank_bound
from provable.networks import Parameters, gradient_jacobian

seeds = st.integers(0, 2**32 - 1)
BALLS = Arithmetic("ball", bits=2500)
TINY = flint.arb(2) ** -1500
PIECEWISE = [Identity(), LeakyReLU(0.25), ReLU(), Polynomial((0.0, 2.0)), Polynomial((1.0, 1.0, 0.5))]
SMOOTH = [Tanh(), Sigmoid(), Softplus(), SiLU(), LeakyReLU(0.25), ELU(0.5), Erf(), GELU()]


def point(network, seed):
    """A point of the cell that `jacobian_rank` looks at with this seed."""
    cell = find_cell(network, seed=seed)
    return Parameters(network, dict(cell.parameters)), cell.sample[None]


def witness(network, seed):
    """The rank found with either of two draws of residues: one falls short with a probability below 10⁻³."""
    results = [jacobian_rank(network, seed=seed)]
    if isinstance(results[0], JacobianRank):
        cell = find_cell(network, seed=seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subject, "find_cell", lambda network, seed: cell)
            results.append(jacobian_rank(network, seed=seed + 1))
    return max(results, key=lambda result: getattr(result, "value", -1))


def ball_rank(matrix):
    """Number of pivots that are certainly not zero, and whether all that is left is at most 2⁻¹⁵⁰⁰."""
    rows = [list(row) for row in matrix]
    found = 0
    while rows and rows[0]:
        sizes = [(float(abs(entry).lower()), i, j) for i, row in enumerate(rows) for j, entry in enumerate(row)]
        largest, i, j = max(sizes)
        if largest < 1e-290:  # exp(-z²) is greater for |z| < 25; rounding is at 2⁻²⁵⁰⁰ times what elimination adds
            return found, all(abs(entry).upper() < TINY for row in rows for entry in row)
        pivot = rows.pop(i)
        factors = [row[j] / pivot[j] for row in rows]
        rows = [
            [
                entry - factor * above
                for column, (entry, above) in enumerate(zip(row, pivot, strict=True))
                if column != j
            ]
            for row, factor in zip(rows, factors, strict=True)
        ]
        found += 1
    return found, True


@settings(max_examples=settings.default.max_examples // 4)  # rationals of a few networks are long
@given(st.data(), seeds)
def test_equal_to_the_exact_rank_in_the_same_cell(networks, systems, jacobian, data, seed):
    network = data.draw(networks(PIECEWISE))
    result = witness(network, seed)
    if isinstance(result, JacobianRefusal):  # two entries of a window are the same value: no point has one winner
        assert "rounding leaves open" in result.reason
        assert any(isinstance(layer, MaxPool2d) for layer in network.layers)
        return
    parameters, sample = point(network, seed)
    label = np.random.default_rng(seed).standard_normal((1, network.output_size))
    matrix = jacobian(network, *(RATIONAL.convert(part) for part in (parameters, sample, label)))
    exact = flint.fmpq_mat(*matrix.shape, matrix.ravel().tolist()).rank()
    assert result.value == exact <= nested_rank_bound(network, systems(network)).value
    assert result.nullity == network.input_size - exact


@given(st.data(), seeds, st.sampled_from(["squared", "cross_entropy", "logistic"]))
def test_never_above_the_rank_at_a_random_point(networks, jacobian, data, seed, loss):
    """Ranks of balls of 2500 bits at a point of the cell; free values may be refused, but never give too high a rank."""
    network = data.draw(networks(SMOOTH, loss))
    result = witness(network, seed)
    if isinstance(result, JacobianRefusal):
        assert "not proved to be free" in result.reason or "rounding leaves open" in result.reason
        return
    parameters, sample = point(network, seed)
    labels = {"squared": np.full((1, network.output_size), 0.7), "cross_entropy": [0], "logistic": [1]}[loss]
    with BALLS.working():
        converted = [BALLS.convert(part) for part in (parameters, sample)]
        label = BALLS.convert(labels) if loss == "squared" else np.array(labels)
        size = network.input_size
        units = BALLS.convert(np.eye(size).reshape(size, 1, *network.input_shape))
        matrix = gradient_jacobian(network, *converted, label).push_forward(units)
        found, is_clear = ball_rank(matrix)
    assert is_clear
    assert result.value == found


def test_both_bounds_meet_on_most_analytic_chains(systems):
    """Random chains of convolutions with tanh: the two proved bounds decide nearly all, without them being generous."""
    rng = np.random.default_rng(0)
    met = total = 0
    for _ in range(60):
        channels, kernels, strides = (rng.integers(1, high, 2).tolist() for high in (5, 4, 3))
        chain = [Conv2d(*sizes, bias=False) for sizes in zip(channels, kernels, strides, strict=True)]
        layers = (chain[0], Tanh(), chain[1], Tanh(), Flatten(), Linear(3))
        network = Architecture("chain", (2, 8, 8), layers, "cross_entropy")
        upper = nested_rank_bound(network, systems(network)).value
        lower = jacobian_rank(network, target=upper).value
        assert lower <= upper
        met, total = met + (lower == upper), total + 1
    assert met >= 0.95 * total, f"{met} of {total}"


NULLITY = {
    "cnn2_c0": (2821, False),
    "cnn2_c1": (0, True),
    "cnn2_c2": (1470, False),
    "cnn2_c4": (2146, False),
    "cnn2_c5": (0, True),
    "cnn2_c6": (189, True),
    "cnn3_c1": (2043, False),
    "cnn3_c2": (2484, False),
    "cnn3_c3": (0, True),
    "cnn3_c4": (2146, False),
    "cnn3_c8": (1818, False),
    "cnn3_c9": (0, True),
    "cnn4_c1": (1836, False),
    "cnn4_c2": (189, True),
    "cnn4_c3": (189, True),
    "lenet2": (0, True),
    "lenet": (0, True),
    "cnn6": (0, True),
    "cnn6-d": (0, True),
    "rgap-figure-1": (0, True),
    "rgap-figure-2": (414, True),
    "rgap-figure-3": (414, True),
    "rgap-figure-4": (0, True),
    "rgap-figure-5": (36, True),
}
"""N* and whether the network is slow. Measured by singular values elsewhere, but 36 for the last (38 in another cell)."""


@pytest.mark.parametrize(
    ("name", "nullity"),
    [pytest.param(name, row[0], id=name, marks=[pytest.mark.deep] if row[1] else []) for name, row in NULLITY.items()],
)
def test_published_networks_from_both_sides(systems, name, nullity):
    network = from_zoo(name)
    upper = nested_rank_bound(network, systems(network))
    lower = jacobian_rank(network, target=upper.value)
    assert upper.nullity == nullity == lower.nullity
    assert bool(lower.assumptions) == (network.loss == "logistic"), "leaky ReLU has cells"


def images(*layers, shape=(2, 6, 6), loss="cross_entropy"):
    return Architecture("net", shape, (*layers, Flatten(), Linear(3)), loss)


def test_normalisation_gives_what_a_bias_gives():
    """γ ∂L/∂γ + β ∂L/∂β is known from the next layer's gradients or the forward map, so only β tells something new."""
    for activation in (Tanh(), Softplus(), Identity()):
        folded = jacobian_rank(images(Conv2d(2, 3, 2), activation, AvgPool2d(2)))
        whole = jacobian_rank(images(Conv2d(2, 3, 2, bias=False), BatchNorm2d(), activation, AvgPool2d(2)))
        assert folded.value <= whole.value <= folded.value + 2
    before = jacobian_rank(images(BatchNorm2d(), Conv2d(4, 3), Tanh()))
    assert before.value == 72, "an invertible map of the input hides nothing"


def test_residual_blocks_and_maxima_are_followed():
    block = Residual((Conv2d(2, 3, 1, 1), Tanh(), Conv2d(2, 3, 1, 1)))
    network = images(Conv2d(2, 3, 1, 1), MaxPool2d(2), block, Sigmoid(), loss="squared")
    upper = nested_rank_bound(network).value
    assert 0 < jacobian_rank(network).value <= upper
    assert len(jacobian_rank(network).assumptions) == 2


def test_pooling_of_single_pixels_changes_nothing():
    plain = images(Conv2d(2, 6), Tanh())
    pooled = images(Conv2d(2, 6), AvgPool2d(1), Tanh(), MaxPool2d(1), AvgPool2d(1))
    assert jacobian_rank(plain).value == jacobian_rank(pooled).value > 0


def test_results_are_reproducible_and_stop_at_the_target():
    network = from_zoo("cnn-digits")
    first, second = jacobian_rank(network, seed=3), jacobian_rank(network, seed=3)
    assert first == second and first.value == 64 and first.nullity == 0 and first.assumptions == ()
    assert jacobian_rank(network, target=10).value == 10
    assert jacobian_rank(network, target=0).value == 0
    assert "seed 3" in first.how


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((AvgPool2d(2), Conv2d(2, 2), Erf()), "layer 2 (erf)"),
        ((Conv2d(2, 2), Tanh(), AvgPool2d(2), Conv2d(2, 2), GELU()), "layer 4 (gelu)"),
        ((Conv2d(2, 3), GELU(), GELU()), "layer 2 (gelu)"),
        ((Conv2d(2, 3), Tanh(), Tanh()), "layer 2 (tanh)"),
        ((Conv2d(2, 3), Polynomial((0.0, 0.0, 1.0)), Conv2d(2, 2), Tanh()), "layer 3 (tanh)"),
        ((Conv2d(2, 1, padding=1, bias=False), Tanh()), "layer 1 (tanh)"),
        ((Conv2d(2, 1, padding=1), Sigmoid()), "layer 1 (sigmoid)"),
        ((Conv2d(2, 3, 1, 1), Residual((Tanh(),), (Sigmoid(),))), "layer 1.0 (tanh)"),
        ((Conv2d(2, 3), ReLU(), Tanh()), "layer 2 (tanh)"),
        ((Conv2d(2, 3), MaxPool2d(3, 1), Tanh()), "layer 2 (tanh)"),
        ((Conv2d(2, 3), AvgPool2d(2, 1, 1), Tanh()), "layer 2 (tanh)"),
    ],
)
def test_values_that_are_not_proved_to_be_free_are_refused(layers, reason):
    result = jacobian_rank(images(*layers))
    assert isinstance(result, JacobianRefusal) and result.reason.startswith(reason) and result.memory is None


def test_other_labels_are_covered_if_the_last_layer_can_be_relabelled():
    last = jacobian_rank(Architecture("net", (1, 4, 4), (Conv2d(2, 3, bias=False), Flatten()), "cross_entropy"))
    assert last.assumptions == ("the label 0 of the cross entropy",)
    assert jacobian_rank(images(Conv2d(2, 3), Tanh())).assumptions == ()


def test_an_activation_before_the_loss_is_refused_unless_the_loss_is_squared():
    layers = (Linear(4), Tanh(), Linear(3), Tanh())
    refusal = jacobian_rank(Architecture("net", (5,), layers, "cross_entropy"))
    assert isinstance(refusal, JacobianRefusal) and "cross_entropy" in refusal.reason
    assert jacobian_rank(Architecture("net", (5,), layers, "squared")).value == 5


@pytest.mark.parametrize("name", ["resnet18", "vgg11"])
def test_what_is_too_large_is_refused_before_it_is_computed(name):
    refusal = jacobian_rank(from_zoo(name))
    assert isinstance(refusal, JacobianRefusal)
    assert f"{refusal.memory} bytes" in refusal.reason
    assert refusal.memory > subject.LARGEST_MEMORY or "multiplications" in refusal.reason


@pytest.mark.parametrize("field", ["seed", "target"])
@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
def test_wrong_numbers_are_refused(field, value):
    with pytest.raises(InputError, match=field):
        jacobian_rank(from_zoo("cnn-digits"), **{field: value})


def test_networks_without_parameters_have_rank_zero():
    network = Architecture("net", (3,), (Tanh(),), "squared")
    assert jacobian_rank(network).value == 0
    assert dataclasses.asdict(jacobian_rank(network))["unknowns"] == 3
