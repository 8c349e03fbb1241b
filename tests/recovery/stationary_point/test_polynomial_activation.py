"""Polynomial networks at stationary points: all samples where the neurons determine them, and the count where they do not."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial, ReLU
from provable.checker import check
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.recovery import Recovery, recover
from provable.recovery.acceptance import relative_misfit
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.stationary_point import polynomial_activation
from provable.recovery.stationary_point.polynomial_neurons import Neurons
from provable.rigor.certificates import Refusal
from provable.rigor.isolated_recovery import certify, open_scaling
from provable.symmetries import is_symmetry
from tests.recovery.stationary_point.polynomial_networks import exact_network, network, samples, trained_network

CUBE, QUARTIC = Polynomial(coefficients=(0.0, 0.0, 0.0, 1.0)), Polynomial(coefficients=(0.0, 0.0, 0.0, 0.0, 1.0))
QUINTIC = Polynomial(coefficients=(0.0,) * 5 + (0.5,))
SQUARE = Polynomial(coefficients=(0.0, 0.0, 1.0))
MIXED, EVEN = Polynomial(coefficients=(0.0, 0.1, 0.2, 1.0)), Polynomial(coefficients=(0.0, 0.0, 0.2, 0.0, 1.0))
CONSTANT = Polynomial(coefficients=(0.1, 0.0, 0.2, 0.7, 0.0))
KINDS = [
    (CUBE, False, False),
    (QUARTIC, False, False),
    (QUINTIC, False, False),
    (MIXED, False, False),
    (EVEN, False, False),
    (CONSTANT, False, True),
    (CUBE, True, False),
    (MIXED, True, True),
    (QUARTIC, True, False),
    (CONSTANT, True, False),
]
"""Activation, bias of the first layer, bias of the last one."""

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=max(6, settings.default.max_examples // 8))

WANTED = 1e-9
"""The accuracy that is asked for; the condition of well separated samples leaves 1e-12."""


def error(found: Recovery, truth: Measure) -> float:
    fibre = {"permutation"} | {word for word in found.fibre if is_symmetry(word)}
    return found.measure.matching(truth, fibre=fibre).error


def attempt(observation: Observation) -> Recovery:
    return recover(observation, method="polynomial-neurons", rng=0)


def is_determined(observation: Observation, count: int) -> bool:
    neurons = Neurons.of(observation)
    return neurons is not None and neurons.system.dimension == count and neurons.moments().open_dimensions == 0


@pytest.mark.parametrize(("activation", "biased", "mass"), KINDS)
@FEW
@given(seed=SEEDS, count=st.integers(2, 3), extra=st.integers(0, 1))
def test_all_samples_of_exact_networks_are_recovered(
    activation: Polynomial, biased: bool, mass: bool, seed: int, count: int, extra: int
) -> None:
    rng = np.random.default_rng(seed)
    truth = samples(rng, count, count + extra, size=3.0 if biased else 1.0)
    observation = exact_network(truth, activation, rng, biased=biased, mass=mass)
    assume(is_determined(observation, count))
    found = recover(observation, rng=0)
    assert (found.status, found.method) == ("certified", "polynomial-neurons"), found.reason
    assert error(found, truth) <= WANTED
    assert f"no other {count} samples, and no fewer" in found.reason
    assert found.certificate is not None
    assert check(found.certificate, observation=observation.to_bytes()).valid


@pytest.mark.parametrize(("activation", "biased", "mass"), KINDS)
def test_most_exact_networks_are_determined(activation: Polynomial, biased: bool, mass: bool) -> None:
    """What the test above assumes is no rare case."""
    determined = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        determined += is_determined(
            exact_network(samples(rng, 2, 2, size=3.0 if biased else 1.0), activation, rng, biased=biased, mass=mass), 2
        )
    # an even polynomial of two degrees has at most four neurons here, of the three it takes
    assert determined >= (2 if activation is EVEN else 3)


@pytest.mark.parametrize(
    ("activation", "biased", "fibre"),
    [
        (CUBE, False, ("permutation", "joint-sign", "positive-scaling:3")),
        (QUARTIC, False, ("permutation", "point-sign", "positive-scaling:4")),
        (EVEN, False, ("permutation", "point-sign")),
        (MIXED, False, ("permutation",)),
        (CUBE, True, ("permutation",)),
        (Polynomial(coefficients=(0.0, 0.1, 0.0, 1.0)), False, ("permutation", "joint-sign")),
    ],
)
def test_the_fibre_is_what_the_parameters_leave_open(
    activation: Polynomial, biased: bool, fibre: tuple[str, ...]
) -> None:
    rng = np.random.default_rng(5)
    truth = samples(rng, 2, 2)
    observation = exact_network(truth, activation, rng, biased=biased)
    assert set(FullyConnected.of(observation).symmetries) == set(fibre) - {"permutation"}
    vector = dict(embed(observation.architecture, observation.parameters, truth))
    size = float(np.sqrt(sum(np.sum(piece**2) for piece in vector.values())))
    for name, changed in (
        ("joint-sign", truth.sign_flipped([0])),
        ("point-sign", truth.turned([0])),
        ("positive-scaling:3", truth.rescaled([1.7, 0.6], degree=3)),
        ("positive-scaling:4", truth.rescaled([1.7, 0.6], degree=4)),
        ("positive-scaling", truth.rescaled([1.7, 0.6])),
    ):
        image = embed(observation.architecture, observation.parameters, changed)
        # unchanged up to rounding, or changed by far more
        assert (relative_misfit(image, vector) <= 1e-14) == (name in fibre), name
        assert size > 0


@FEW
@given(SEEDS, st.sampled_from([(CUBE, False), (MIXED, True), (QUARTIC, False)]))
def test_what_changes_no_function_changes_no_sample(seed: int, kind: tuple[Polynomial, bool]) -> None:
    """Copies of neurons, dead ones, another order, the other sign of a neuron, and rotated inputs."""
    (activation, biased), rng = kind, np.random.default_rng(seed)
    truth = samples(rng, 3, 3, size=3.0 if biased else 1.0)
    observation = exact_network(truth, activation, rng, biased=biased)
    assume(is_determined(observation, 3))
    outer = observation.parameters["2/weight"][0]
    inner = observation.parameters["0/weight"]
    if biased:
        inner = np.column_stack([inner, observation.parameters["0/bias"]])
    order = rng.permutation(np.append(np.arange(len(outer)), rng.integers(0, len(outer), 2)))
    outer, inner = np.append(outer[order], 0.0), np.vstack([inner[order], 0 * inner[:1]])
    if not biased:
        flips = rng.choice([-1.0, 1.0], len(outer))
        inner = inner * flips[:, None]
        outer = outer * flips if activation is CUBE else outer
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    inner = np.hstack([inner[:, :3] @ turn.T, inner[:, 3:]])
    changed = network(outer, inner, activation, biased=biased, batch_size=3)
    found, before = attempt(changed), attempt(observation)
    assert found.status == before.status == "certified"
    assert error(found, Measure(truth.points @ turn.T, truth.coefficients)) <= WANTED


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize(("activation", "biased"), [(CUBE, False), (CUBE, True), (MIXED, True)])
def test_both_samples_of_trained_networks_with_two_neurons(activation: Polynomial, biased: bool, loss: str) -> None:
    determined = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        points = rng.standard_normal((2, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        labels = np.array([1.0, -1.0])
        trained = trained_network(points, labels, activation, rng, width=8, biased=biased, loss=loss, descent=600)
        if trained is None:
            continue
        observation, truth = trained
        found = attempt(observation)
        if is_determined(observation, 2):
            assert found.status == "certified", found.reason
            assert error(found, truth) <= WANTED
            determined += 1
        else:
            assert "undetermined" in found.reason
    assert determined >= 2


def test_a_saddle_shows_three_samples_and_a_minimum_does_not() -> None:
    """Newton's method reaches saddles, whose neurons are more of the tensor's eigenvectors than those of a minimum."""
    shown = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        points = rng.standard_normal((3, 3))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        labels = rng.choice([-1.0, 1.0], 3)
        trained = trained_network(points, labels, CUBE, rng, width=10, biased=True, loss="logistic", descent=0)
        if trained is not None and is_determined(trained[0], 3):
            found = attempt(trained[0])
            assert found.status == "certified" and error(found, trained[1]) <= WANTED
            shown += 1
    assert shown >= 1


def test_too_few_neurons_are_counted_and_other_data_are_given() -> None:
    rng = np.random.default_rng(3)
    truth = samples(rng, 3, 3)
    whole = exact_network(truth, CUBE, rng)
    few = network(
        whole.parameters["2/weight"][0][:2], whole.parameters["0/weight"][:2], CUBE, biased=False, batch_size=3
    )
    neurons = Neurons.of(few)
    assert neurons is not None and neurons.distinct == 2
    found = attempt(few)
    assert "undetermined: 2 distinct neurons" in found.reason
    assert found.status == "consistent" and any(word.startswith("null-space:") for word in found.fibre)
    # they do explain the parameters, and are no samples
    image = embed(few.architecture, few.parameters, found.measure)
    assert relative_misfit(image, few.vector) <= 1e-13
    assert error(found, truth) > 1e-3


def test_fewer_atoms_than_the_stated_samples_are_not_taken_for_them() -> None:
    """One neuron is explained by one atom; with three samples stated, that atom is none of them."""
    rng = np.random.default_rng(3)
    whole = exact_network(samples(rng, 3, 3), CUBE, rng)
    one = network(
        whole.parameters["2/weight"][0][:1], whole.parameters["0/weight"][:1], CUBE, biased=False, batch_size=3
    )
    assert attempt(one).status != "certified" and "undetermined" in attempt(one).reason
    alone = attempt(dataclasses.replace(one, batch_size=None))
    assert len(alone.points) == 1 and "more can explain them" in alone.reason


def test_a_point_that_is_not_stationary_is_not_explained() -> None:
    rng = np.random.default_rng(0)
    whole = exact_network(samples(rng, 3, 3), CUBE, rng)
    moved = whole.parameters["0/weight"] + 1e-3 * rng.standard_normal(whole.parameters["0/weight"].shape)
    observation = network(whole.parameters["2/weight"][0], moved, CUBE, biased=False, batch_size=3)
    found = attempt(observation)
    assert found.status == "failed" and "residual" in found.reason


def test_the_scaling_of_a_certificate_is_the_network_s() -> None:
    rng = np.random.default_rng(1)
    observation = exact_network(samples(rng, 2, 2), CUBE, rng)
    found = attempt(observation)
    assert found.certificate is not None
    document = json.loads(found.certificate)
    assert document["data"]["modulo"] == ["positive-scaling:3"]
    for modulo in (
        ["positive-scaling"],
        ["positive-scaling:2"],
        ["positive-scaling:4"],
        ["positive-scaling:03"],
        [],
        None,
    ):
        changed = json.loads(found.certificate)
        changed["data"]["modulo"] = modulo
        assert not check(json.dumps(changed), observation=observation.to_bytes()).valid
    del document["data"]["modulo"]
    assert not check(json.dumps(document), observation=observation.to_bytes()).valid
    for modulo, reason in (
        (("positive-scaling",), "scales by positive-scaling:3, and not by positive-scaling"),
        (("positive-scaling:2",), "scales by positive-scaling:3, and not by positive-scaling:2"),
        (("positive-scaling:3", "positive-scaling:3"), "are not certified"),
        (("joint-sign",), "are not certified"),
        ((), "full rank"),
    ):
        refused = certify(observation, found.measure, modulo=modulo)
        assert isinstance(refused, Refusal) and reason in refused.reason


@pytest.mark.parametrize(
    ("activations", "biases", "names"),
    [
        ((CUBE, SQUARE), (False, False, False), {"point-sign", "positive-scaling:6"}),
        ((SQUARE, CUBE), (False, True, True), {"point-sign"}),
        ((SQUARE, ReLU()), (False, False, False), {"point-sign", "positive-scaling:2"}),
        ((CUBE, CUBE), (False, False, False), {"joint-sign", "positive-scaling:9"}),
        ((CUBE, SQUARE), (False, True, False), set()),
        ((SQUARE, CUBE), (True, False, False), set()),
        ((MIXED, SQUARE), (False, False, False), set()),
    ],
)
def test_symmetries_of_deeper_networks(activations: Any, biases: Any, names: set[str]) -> None:
    """What a chain says of itself is what its embedding does, and nothing of it is missing."""
    first, second = activations
    layers = (Linear(5, bias=biases[0]), first, Linear(4, bias=biases[1]), second, Linear(1, bias=biases[2]))
    architecture = Architecture("net", (3,), layers, "squared")
    parameters = Parameters.random(architecture, rng=1)
    rng = np.random.default_rng(0)
    truth = Measure(rng.standard_normal((2, 3)), rng.standard_normal((2, 1)))
    vector = dict(embed(architecture, parameters, truth))
    observation = Observation("gradient", architecture, parameters, vector)
    assert set(FullyConnected.of(observation).symmetries) == names
    scaling = {name for name in names if name.startswith("positive-scaling")}
    assert ({open_scaling(observation)} - {None}) == scaling
    for name, changed in (
        ("joint-sign", truth.sign_flipped([0])),
        ("point-sign", truth.turned([0])),
        *((f"positive-scaling:{p}", truth.rescaled([1.5, 0.7], degree=p)) for p in (2, 3, 6, 9)),
        ("positive-scaling", truth.rescaled([1.5, 0.7])),
    ):
        misfit = relative_misfit(embed(architecture, parameters, changed), vector)
        assert (misfit <= 1e-13) == (name in names), name


def observation_of(*layers: Any, kind: str = "stationary-point", outputs: int = 1) -> Observation:
    architecture = Architecture("net", (2,), (*layers[:-1], layers[-1]), "squared" if outputs == 1 else "cross_entropy")
    parameters = Parameters.random(architecture, rng=0)
    return Observation(kind, architecture, parameters, dict(parameters))


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (observation_of(Linear(3), CUBE, Linear(1, bias=False), kind="gradient"), "of kind gradient"),
        (observation_of(Linear(3), ReLU(), Linear(1)), "is relu; polynomial is accepted"),
        (observation_of(Linear(3), CUBE, Linear(3), CUBE, Linear(1)), "exactly one layer of hidden units"),
        (observation_of(Linear(3), CUBE, Linear(1), CUBE), "exactly one layer of hidden units"),
        (
            observation_of(Linear(3), Polynomial(coefficients=(0.0, 1.0, 1.0, 0.0)), Linear(1)),
            "has degree 2; from 3 on",
        ),
        (observation_of(Linear(3), Polynomial(coefficients=(0.0, 0.0)), Linear(1)), "has degree 0"),
        (observation_of(Linear(3), CUBE, Linear(2), outputs=2), "has 2 outputs; one is accepted"),
        (observation_of(Linear(3, bias=False), CUBE, Linear(1)), "the bias of layer 2 shows a sum of coefficients"),
    ],
)
def test_other_observations_are_refused_with_the_reason(observation: Observation, reason: str) -> None:
    found = polynomial_activation.supports(observation)
    assert found is not None and reason in found and "\n" not in found
    with pytest.raises(UnsupportedError, match="method polynomial-neurons"):
        polynomial_activation.recover(observation, np.random.default_rng(0))


@pytest.mark.parametrize("scale", [0.0, 1e-150, 1e150])
@pytest.mark.parametrize("biased", [False, True])
def test_parameters_of_absurd_size_end_in_a_verdict(scale: float, biased: bool) -> None:
    rng = np.random.default_rng(0)
    inner = scale * rng.standard_normal((4, 2 + biased))
    found = attempt(network(scale * rng.standard_normal(4), inner, CUBE, biased=biased, batch_size=2))
    assert found.status == "failed" and found.reason
