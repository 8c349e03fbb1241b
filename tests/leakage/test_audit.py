"""The audit: verdicts against exact and numerical oracles, certificates, JSON and refusals."""

from __future__ import annotations

import json
from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import checker
from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    SiLU,
    Tanh,
)
from provable.architectures.layers import AvgPool2d, Erf
from provable.architectures.zoo import from_zoo
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.leakage import LayerSystem, audit, rank_bounds
from provable.leakage.audit import c_metric
from provable.leakage.metrics import rgap_index
from provable.leakage.result import LayerAudit
from provable.networks import Parameters, backpropagate, gradient_jacobian, loss_gradient, losses, trace
from provable.rigor.modular_rank import rank_mod


def network(shape, *layers, loss="cross_entropy"):
    return Architecture("small", shape, layers, loss)


SMALL = {
    "solvable": network((1, 6, 6), Conv2d(3, 3, padding=1, bias=False), Tanh(), Flatten(), Linear(4)),
    "short": network((2, 6, 6), Conv2d(1, 3, 2, bias=False), Tanh(), Flatten(), Linear(4)),
    "border": network((1, 7, 7), Conv2d(3, 2, 2), Tanh(), Flatten(), Linear(3)),
    "short-then-solvable": network(
        (2, 6, 6), Conv2d(1, 3, bias=False), Tanh(), Conv2d(3, 2, bias=False), Tanh(), Flatten(), Linear(4)
    ),
    "unused-behind": network(
        (1, 6, 6), Conv2d(4, 2, bias=False), Tanh(), Conv2d(2, 2, 2, bias=False), Tanh(), Flatten(), Linear(4)
    ),
    "tiled": network((2, 6, 6), Conv2d(3, 2, 2), Tanh(), Flatten(), Linear(4)),
    "no-bias-anywhere": network(
        (1, 5, 5), Conv2d(2, 3, bias=False), Tanh(), Flatten(), Linear(1, bias=False), loss="logistic"
    ),
    "fully-connected": network((5,), Linear(3), ReLU(), Linear(4)),
    "fully-connected-without-bias": network(
        (5,), Linear(3, bias=False), Tanh(), Linear(2, bias=False), Tanh(), Linear(1, bias=False), loss="logistic"
    ),
    "gelu": network((1, 5, 5), Conv2d(3, 3, padding=1, bias=False), GELU(), Flatten(), Linear(3)),
}


VERDICTS = {
    "solvable": ("identifiable", 0, 0),
    "short": ("ambiguous", 51, 51),
    "border": ("ambiguous", 19, 19),
    "short-then-solvable": ("ambiguous", 39, 39),
    "unused-behind": ("ambiguous", 11, 11),
    "tiled": ("ambiguous", 30, 30),
    "no-bias-anywhere": ("identifiable", 0, 0),
    "fully-connected": ("identifiable", 0, 0),
    "fully-connected-without-bias": ("identifiable", 0, 0),
    "gelu": ("identifiable", 0, 0),
}


def label(architecture):
    return np.array([1]) if architecture.loss == "cross_entropy" else np.array([1.0])


@pytest.mark.parametrize("name", SMALL)
def test_ambiguity_encloses_the_nullity_of_the_jacobian(name):
    """Central differences of all gradients with respect to the input, and their singular values."""
    architecture = SMALL[name]
    result = audit(architecture)
    assert (result.verdict, result.ambiguity.lower, result.ambiguity.upper) == VERDICTS[name]
    rng = np.random.default_rng(3)
    parameters = Parameters.random(architecture, rng=rng)
    x = rng.uniform(-1, 1, (1, *architecture.input_shape))
    step = 1e-5  # error about step² + 2⁻⁵²/step = 1e-10, relative to gradients of size 1
    columns = []
    for unit in np.eye(architecture.input_size).reshape(-1, *x.shape):
        sides = (loss_gradient(architecture, parameters, x + s * step * unit, label(architecture)) for s in (1, -1))
        above, below = (side.vector() for side in sides)
        columns.append((above - below) / (2 * step))
    singular = np.linalg.svd(np.array(columns), compute_uv=False)
    rank = int(np.sum(singular > 1e-7 * singular[0]))
    assert singular[rank - 1] > 1e-3 * singular[0], "four decades lie between what counts and what does not"
    nullity = architecture.input_size - rank
    assert result.ambiguity.lower <= nullity
    assert nullity == (result.ambiguity.lower if result.ambiguity.upper is None else result.ambiguity.upper)


@given(
    st.sampled_from([(2, 3, 2, 0), (1, 2, 1, 1), (3, 3, 3, 0), (2, 1, 2, 0)]),
    st.sampled_from([ReLU(), LeakyReLU(0.5), Polynomial((0.0, 1.0, 0.5))]),
    st.integers(0, 2**32),
)
def test_the_null_space_of_the_first_layer_changes_no_gradient(shape, activation, seed):
    """Exactly, in rationals, for null vectors of any length: the fibre is global."""
    out_channels, kernel, stride, padding = shape
    architecture = network(
        (2, 5, 5), Conv2d(out_channels, kernel, stride, padding), activation, Flatten(), Linear(2), loss="squared"
    )
    rng = np.random.default_rng(seed)

    def rationals(size):
        numbers = [flint.fmpq(int(k), 7) for k in rng.integers(-20, 20, int(np.prod(size)))]
        return np.array(numbers, dtype=object).reshape(size)

    arrays = {name: rationals(size) for name, size in architecture.parameter_shapes.items()}
    parameters, x, y = Parameters(architecture, arrays), rationals((1, 2, 5, 5)), rationals((1, 2))
    traced = trace(architecture, parameters, x)
    residual = losses.residual("squared", traced.output, y)
    sensitivity = backpropagate(architecture, parameters, traced, residual).outputs["0"][0]
    system = LayerSystem.of_layer(architecture.layers[0], (2, 5, 5))
    stacked = system.matrix(arrays["0/weight"], sensitivity) + flint.fmpq(0)
    reduced, rank = flint.fmpq_mat(*stacked.shape, stacked.ravel().tolist()).rref()
    result = audit(architecture)
    assert system.unknowns - rank >= result.ambiguity.lower >= result.layers[0].deficit_lower
    table = np.array(reduced.tolist(), dtype=object)[:rank]
    pivots = [next(column for column in range(system.unknowns) if row[column] != 0) for row in table]
    free = [column for column in range(system.unknowns) if column not in pivots]
    if not free:
        return
    shift = np.array([flint.fmpq(0)] * system.unknowns, dtype=object)
    shift[free] = rationals((len(free),)) * 1000
    shift[pivots] = -(table[:, free] @ shift[free])
    moved = loss_gradient(architecture, parameters, x + shift.reshape(x.shape), y)
    original = loss_gradient(architecture, parameters, x, y)
    assert all((moved[name] == original[name]).all() for name in original)


def test_what_activations_hide():
    def first(*layers, shape=(1, 6, 6)):
        result = audit(network(shape, *layers, Flatten(), Linear(3)))
        return result, result.layers[0]

    wide = Conv2d(3, 3, padding=1)
    for flat in (ReLU(), LeakyReLU(0.0), ELU(0.0)):
        result, layer = first(wide, flat)
        assert (result.verdict, result.ambiguity.upper) == ("identifiable", 0) and "open set" in result.explanation
        assert (layer.rank_lower, layer.rank_upper, layer.is_solvable) == (36, 36, False)
        assert "inactive" in layer.hidden[0] and set(layer.certificates) == {"upper", "lower"}
        assert any("inactive" in assumption for assumption in result.assumptions)
    narrow = audit(network((2, 6, 6), Conv2d(1, 3, 2), ReLU(), Flatten(), Linear(3)))
    assert (narrow.verdict, narrow.ambiguity.lower, narrow.ambiguity.upper) == ("ambiguous", 51, 51)
    unknown = audit(network((1, 6, 6), wide, Tanh(), AvgPool2d(2), Conv2d(9, 1), Erf(), Flatten(), Linear(3)))
    assert (unknown.verdict, unknown.ambiguity.upper) == ("undetermined", None)
    assert "not proved to be free" in unknown.ambiguity.how
    for twice in (GELU(), SiLU(), Polynomial((0.0, 1.0, 1.0)), LeakyReLU(-0.5), ELU(-1.0)):
        result, _ = first(wide, twice)
        assert result.verdict == "identifiable" and "isolated" in result.explanation
    for once in (Tanh(), Identity(), Polynomial((1.0, 2.0)), ELU(0.5)):
        result, _ = first(wide, once)
        assert result.verdict == "identifiable" and "isolated" not in result.explanation


def test_a_linear_stack_of_convolutions_confines_the_sensitivities():
    """Behind a 1×1 convolution to one channel, without a mask, D has rank 1, and U less than its free rank."""
    layers = (Conv2d(3, 3, 2, bias=False), Identity(), Conv2d(1, 1), Tanh(), Flatten(), Linear(3))
    result = audit(network((2, 5, 5), *layers))
    system = LayerSystem.of_layer(layers[0], (2, 5, 5))
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 10**6, system.weight_shape)
    successor, above = rng.integers(1, 10**6, (3, 1, 1)), rng.integers(1, 10**6, (1, *system.output_size))
    actual = rank_mod(system.matrix(weight.astype(object), (successor * above).astype(object)))
    assert actual < rank_bounds(system).lower.value, "claiming the free rank as a lower bound would be wrong"
    assert result.layers[0].hidden and not result.layers[1].hidden
    assert not result.layers[0].is_solvable and any("linear image" in text for text in result.assumptions)
    masked = audit(network((2, 5, 5), layers[0], Tanh(), *layers[2:]))
    assert not masked.layers[0].hidden


def test_a_bias_in_the_middle_starts_the_recursion_there():
    layers = (Linear(4, bias=False), Tanh(), Linear(3), ReLU(), Linear(1, bias=False))
    result = audit(network((5,), *layers, loss="squared"))
    assert result.verdict == "identifiable" and "two" not in result.explanation
    assert result.assumptions[1].startswith("layer 2 (linear) has a bias")


def small_gradient(architecture, seed, x, label):
    parameters = Parameters.random(architecture, rng=seed)
    return loss_gradient(architecture, parameters, x, label)


@pytest.mark.parametrize("behind", [(), (ReLU(),), (Identity(), ReLU()), (ELU(0.0),)])
@given(seed=st.integers(0, 2**32 - 1))
def test_a_sign_that_an_even_activation_forgets_is_not_called_exact(behind, seed):
    small = network((3,), Linear(4, bias=False), Polynomial((0.0, 0.0, 1.0)), *behind, Linear(2), loss="squared")
    rng = np.random.default_rng(seed)
    x, label = rng.standard_normal((1, 3)), rng.standard_normal((1, 2))
    first, second = (small_gradient(small, seed, sign * x, label) for sign in (1, -1))
    assert all(np.array_equal(first[name], second[name]) for name in first)  # signs are exact, in every product
    assert "There may be several such samples" in audit(small).explanation


def test_a_label_of_zeros_has_twins_under_the_squared_loss():
    small = network((4,), Linear(3, bias=False), loss="squared")
    x = np.random.default_rng(0).standard_normal((1, 4))
    first, second = (small_gradient(small, 0, sign * x, np.zeros((1, 3))) for sign in (1, -1))
    assert all(np.array_equal(first[name], second[name]) and first[name].any() for name in first)
    assert "a label of zeros" in audit(small).assumptions[1]


def test_a_sample_behind_a_first_pooling_is_not_said_to_be_in_the_first_gradient():
    pooling = AvgPool2d(2, 1, padding=1)
    result = audit(network((1, 2, 2), pooling, Flatten(), Linear(3)))
    assert result.verdict == "identifiable" and "exactly" not in result.explanation


def test_what_is_determined_is_counted_in_words():
    one = network((1, 3, 3), Conv2d(1, 1, 3), Tanh(), Flatten(), Linear(3))
    none = network((1, 1, 1), Conv2d(1, 1, 2, padding=1), Tanh(), Flatten(), Linear(3))  # sees nothing but padding
    assert "The other 1 is determined" in audit(one).explanation
    assert "None is determined" in audit(none).explanation


@pytest.mark.parametrize(
    ("outputs", "loss", "twins"),
    [
        (1, "logistic", True),
        (1, "squared", True),
        (2, "squared", False),
        (2, "cross_entropy", True),
        (3, "cross_entropy", False),
    ],
)
def test_the_loss_decides_about_twins(outputs, loss, twins):
    result = audit(network((4,), Linear(3, bias=False), Tanh(), Linear(outputs, bias=False), loss=loss))
    assert result.verdict == "identifiable" and ("twins" in result.explanation) == twins


@pytest.mark.parametrize("name", [*SMALL, "cnn-digits", "two-layer-relu"])
def test_every_certificate_is_valid_and_a_sharper_one_is_not(name):
    architecture = SMALL[name] if name in SMALL else from_zoo(name)
    result = audit(architecture, rng=5)
    for layer in result.layers:
        assert set(layer.certificates) == ({"lower", "upper"} if layer.type == "conv2d" else set())
        for side, certificate in layer.certificates.items():
            text = certificate.to_json()
            verdict = checker.check(text, architecture=architecture.to_json())
            assert verdict.valid, verdict.reason
            document = json.loads(text)
            document["data"]["rank" if side == "lower" else "bound"] += 1 if side == "lower" else -1
            assert not checker.check(document).valid


@pytest.mark.deep
def test_certificates_of_a_published_network_are_valid():
    for layer in audit(from_zoo("cnn6-d")).layers:
        for certificate in layer.certificates.values():
            assert checker.check(certificate.to_json()).valid


def test_the_kernel_images_bound_has_a_certificate():
    result = audit(network((6, 8, 8), Conv2d(3, 4, 2, 2), Tanh(), Flatten(), Linear(3)))
    layer = result.layers[0]
    assert (layer.rank_lower, layer.rank_upper, layer.how_upper) == (336, 336, "kernel images")
    assert set(layer.certificates) == {"lower", "upper"}
    assert all(checker.check(certificate.to_json()).valid for certificate in layer.certificates.values())
    assert layer.to_dict()["certificate"]["upper"]["data"]["images"] == (336 - 6 * 4 * 12) / 3


KEYS = {
    "format",
    "architecture",
    "batch_size",
    "assumptions",
    "layers",
    "c_metric",
    "rgap_index",
    "ambiguity",
    "dead_inputs",
    "cramer_rao",
    "verdict",
    "explanation",
}
LAYER_KEYS = {
    "index",
    "path",
    "type",
    "unknowns",
    "equations",
    "rank",
    "deficit",
    "how",
    "hidden",
    "reached",
    "certificate",
}


@pytest.mark.parametrize("name", SMALL)
def test_json_has_the_keys_of_the_format(name):
    result = audit(SMALL[name])
    document = json.loads(result.to_json())
    assert set(document) == KEYS and document["format"] == "provable-audit/1"
    assert document["rgap_index"] == rgap_index(SMALL[name]).value and document["cramer_rao"] is None
    assert Architecture.from_dict(document["architecture"]) == SMALL[name]
    assert set(document["ambiguity"]) == {"lower", "upper", "global", "how"}
    assert document["ambiguity"]["global"] == (document["ambiguity"]["lower"] > 0)
    assert document["verdict"] in {"identifiable", "ambiguous", "undetermined"}
    for layer in document["layers"]:
        assert set(layer) == LAYER_KEYS
        assert layer["deficit"] == {
            "lower": layer["unknowns"] - layer["rank"]["upper"],
            "upper": layer["unknowns"] - layer["rank"]["lower"],
        }
        assert SMALL[name].layers[layer["index"]].type == layer["type"]


def test_the_seed_is_in_the_certificates_and_changes_nothing_else():
    architecture = SMALL["short"]
    results = [audit(architecture, rng=rng) for rng in (None, 0, 12, np.random.default_rng(1))]
    seeds = [result.layers[0].certificates["lower"].seed for result in results]
    assert seeds[:3] == [0, 0, 12] and seeds[3] not in seeds[:3]
    assert results[0].to_json() == results[1].to_json()
    assert len({(r.layers[0].rank_lower, r.layers[0].rank_upper, r.explanation) for r in results}) == 1


@given(st.lists(st.integers(0, 10**6), max_size=6))
def test_c_metric_is_the_weighted_sum_with_halves_rounded_to_even(deficits):
    layers = [LayerAudit("0", "conv2d", 10**7, 1, 1, 10**7 - d, 10**7 - d, "", "") for d in deficits]
    depth = len(deficits)
    parts = []
    for position, deficit in enumerate(deficits):
        exact = Fraction(-deficit * (depth - position), depth)
        below = exact.numerator // exact.denominator
        rest = exact - below
        parts.append(below + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and below % 2 == 1)))
    assert c_metric(layers) == (sum(parts) if deficits else None)


REFUSED = {
    "tanh": (1, network((4,), Flatten(), Tanh(), Linear(3))),
    "polynomial": (1, network((4,), Linear(4), Polynomial((2.0,)), Linear(3))),
    "flatten": (0, network((4,), Flatten())),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_layer_system_is_named(kind):
    index, architecture = REFUSED[kind]
    with pytest.raises(UnsupportedError) as caught:
        audit(architecture)
    assert str(caught.value).startswith(f"layer {index} ({kind}): ") and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"batch_size": 0}, InputError, "batch_size"),
        ({"batch_size": True}, InputError, "batch_size"),
        ({"batch_size": 1.5}, InputError, "batch_size"),
        ({"batch_size": 2**31 + 1}, InputError, "batch_size"),
        ({"batch_size": 10**30}, InputError, "batch_size"),
        ({"noise": -1.0}, InputError, "noise"),
        ({"noise": float("nan")}, InputError, "noise"),
        ({"noise": "much"}, InputError, "noise"),
        ({"rng": -1}, InputError, "rng"),
        ({"rng": 0.5}, InputError, "rng"),
    ],
)
def test_requests_that_cannot_be_served_are_refused_in_one_line(options, error, word):
    with pytest.raises(error) as caught:
        audit(SMALL["short"], **options)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{word}: found") and "\n" not in str(caught.value)


@pytest.mark.parametrize("samples", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_open_dimensions_of_several_samples_are_open(name, samples):
    """Singular values of the exact derivative in float64: the proved lower bound never exceeds the nullity."""
    architecture = SMALL[name]
    result = audit(architecture, batch_size=samples)
    rng = np.random.default_rng(4)
    parameters = Parameters.random(architecture, rng=rng)
    x = rng.uniform(-1, 1, (samples, *architecture.input_shape))
    labels = rng.integers(0, 2, samples) if architecture.loss == "cross_entropy" else np.ones(samples)
    jacobian = gradient_jacobian(architecture, parameters, x, labels)
    rows = jacobian.push_forward(np.eye(x.size).reshape(x.size, *x.shape))
    singular = np.linalg.svd(rows.reshape(x.size, -1), compute_uv=False)
    nullity = x.size - int(np.sum(singular > 1e-10 * singular[0]))
    assert result.ambiguity.lower <= nullity and result.ambiguity.upper is None
    assert result.verdict != "identifiable" and result.batch_size == samples
    assert all(
        layer.unknowns == samples * audited.unknowns
        for layer, audited in zip(result.layers, audit(architecture).layers, strict=True)
    )


def test_more_samples_leave_more_open():
    found = [audit(SMALL["short"], batch_size=samples).ambiguity.lower for samples in (1, 2, 3, 8, 40)]
    assert found == sorted(found) and found[-1] >= 40 * 72 - SMALL["short"].parameter_count


def test_noise_adds_the_bound_of_the_error_and_changes_nothing_else():
    plain, noisy = audit(SMALL["short"]), audit(SMALL["short"], noise=0.1)
    assert noisy.to_dict() | {"cramer_rao": None} == plain.to_dict()
    document = noisy.to_dict()["cramer_rao"]
    assert (document["noise"], document["rmse_lower_bound"], document["infinite"]) == (0.1, None, True)
    bounds = [audit(SMALL["solvable"], noise=noise).cramer_rao.rmse_lower_bound for noise in (0.0, 0.1, 0.2)]
    assert bounds[0] == 0 < bounds[1]
    assert abs(bounds[2] / bounds[1] - 2) <= 30 * EPSILON
