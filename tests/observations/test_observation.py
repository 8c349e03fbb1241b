"""Observations: what fits together, what is refused and by which name, and the same file for the same observation."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, ReLU, Residual, Tanh
from provable.errors import InputError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, losses
from provable.observations import FORMAT, Observation
from provable.observations.archive import read_archive, write_archive


@st.composite
def architectures(draw):
    loss = draw(st.sampled_from(["squared", "logistic", "cross_entropy"]))
    outputs = {"logistic": 1, "squared": draw(st.integers(1, 3)), "cross_entropy": draw(st.integers(2, 4))}[loss]
    bias = st.booleans()
    hidden = draw(st.integers(1, 4))
    layers = draw(
        st.sampled_from(
            [
                (),
                (Linear(hidden, draw(bias)), Tanh()),
                (Residual((Linear(6, draw(bias)), ReLU())), Linear(hidden, draw(bias)), ReLU()),
            ]
        )
    )
    shape = (6,)
    if draw(st.booleans()):
        shape = (1, 2, 3)
        convolution = (Conv2d(2, (1, 2), bias=draw(bias)),) if draw(st.booleans()) and not layers else ()
        layers = (*convolution, Flatten(), *layers)
    return Architecture("small", shape, (*layers, Linear(outputs, draw(bias))), loss)


def some_labels(architecture, count, rng):
    if architecture.loss == "cross_entropy":
        return rng.integers(architecture.output_size, size=count)
    if architecture.loss == "logistic":
        return rng.choice([-1.0, 1.0], size=count)
    return rng.standard_normal((count, architecture.output_size))


@st.composite
def observations(draw):
    architecture = draw(architectures())
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parameters = Parameters.random(architecture, rng=rng)
    kind = draw(st.sampled_from(["gradient", "parameter-change", "stationary-point"]))
    count = draw(st.integers(1, 3))
    keys = list(architecture.parameter_shapes)
    kept = draw(st.lists(st.sampled_from(keys), min_size=1, unique=True))
    tangent = Parameters.random(architecture, rng=rng, scale="standard_normal")
    stationary = kind == "stationary-point"
    return Observation(
        kind=kind,
        architecture=architecture,
        parameters=parameters,
        vector={} if stationary else {key: tangent[key] for key in kept},
        reduction=draw(st.sampled_from(["sum", "mean"])),
        batch_size=draw(st.sampled_from([None, count])),
        labels=some_labels(architecture, count, rng) if draw(st.booleans()) else None,
        initial_parameters=Parameters.random(architecture, rng=rng) if stationary and draw(st.booleans()) else None,
        unit_norm=draw(st.sampled_from([None, True, False])),
    )


def equal(left, right):
    if left is None or right is None:
        return left is right
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


@given(observations())
def test_round_trip(observation):
    content = observation.to_bytes()
    found = Observation.from_bytes(content, "file")
    for name in ("kind", "architecture", "parameters", "reduction", "batch_size", "unit_norm", "initial_parameters"):
        assert getattr(found, name) == getattr(observation, name)
    assert equal(found.labels, observation.labels)
    assert list(found.vector) == list(observation.vector)
    for key in found.vector:
        assert equal(found.vector[key], observation.vector[key])
        assert not found.vector[key].flags.writeable
    # Made again from its parts and not from the bytes that it was read from.
    assert dataclasses.replace(found).to_bytes() == content
    assert found.sha256 == observation.sha256 == hashlib.sha256(content).hexdigest()


@given(observations())
def test_numpy_reads_the_file_without_pickles(observation):
    with np.load(io.BytesIO(observation.to_bytes()), allow_pickle=False) as members:
        assert members["format"] == FORMAT
        assert members["kind"] == observation.kind
        assert Architecture.from_json(str(members["architecture"])) == observation.architecture
        for key, value in observation.parameters.items():
            np.testing.assert_array_equal(members[f"parameters/{key}"], value)


@given(observations(), st.randoms(use_true_random=False))
def test_the_order_of_members_and_their_maker_do_not_matter(observation, random):
    with np.load(io.BytesIO(observation.to_bytes())) as members:
        keys = list(members)
        random.shuffle(keys)
        stream = io.BytesIO()
        np.savez_compressed(stream, **{key: members[key] for key in keys})
    found = Observation.from_bytes(stream.getvalue(), "file")
    assert found.sha256 == hashlib.sha256(stream.getvalue()).hexdigest()
    assert found.to_bytes() == stream.getvalue()
    assert dataclasses.replace(found).to_bytes() == observation.to_bytes()


def example(**changes):
    architecture = Architecture("two", (4,), (Linear(3), Tanh(), Linear(2)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    rng = np.random.default_rng(1)
    fields = {
        "kind": "gradient",
        "architecture": architecture,
        "parameters": parameters,
        "vector": {key: rng.standard_normal(shape) for key, shape in architecture.parameter_shapes.items()},
    }
    return Observation(**(fields | changes))


def members_of(observation):
    return read_archive(observation.to_bytes(), "file")


MEMBERS = members_of(example(batch_size=2, labels=np.zeros((2, 2)), unit_norm=True))
OTHER = Architecture("other", (4,), (Linear(2),), "squared")

FILE_REFUSALS = {
    "format missing": ({"format": None}, "format: is missing"),
    "format of another version": ({"format": "provable-observation/2"}, "format: found 'provable-observation/2'"),
    "format no text": ({"format": np.zeros(1)}, "format: found an array of float64"),
    "kind missing": ({"kind": None}, "kind: is missing"),
    "kind unknown": ({"kind": "hessian"}, "kind: found 'hessian'; gradient, parameter-change or stationary-point"),
    "kind of two lines": ({"kind": "a\nb"}, r"kind: found 'a\\nb'"),
    "kind no text": ({"kind": np.zeros(1)}, "kind: found an array of float64; one text"),
    "architecture missing": ({"architecture": None}, "architecture: is missing"),
    "architecture no JSON": ({"architecture": "{"}, "architecture: found text that is not JSON"),
    "architecture nested deeply": ({"architecture": "[" * 100000}, "architecture: "),
    "architecture of a wrong layer": (
        {"architecture": MEMBERS["architecture"].replace("tanh", "tan")},
        r"architecture: layers\[1\]\.type: found 'tan'",
    ),
    "parameter missing": ({"parameters/0/weight": None}, "parameters/0/weight: is missing"),
    "parameter unknown": ({"parameters/1/weight": np.zeros(1)}, "parameters/1/weight: the architecture has no such"),
    "parameter of a wrong shape": (
        {"parameters/0/weight": np.zeros((4, 3))},
        r"parameters/0/weight: has shape \(4, 3\); \(3, 4\)",
    ),
    "parameter of integers": (
        {"parameters/0/bias": np.zeros(3, dtype=np.int64)},
        "parameters/0/bias: is of type int64; float64",
    ),
    "parameter of text": ({"parameters/0/bias": "x"}, "parameters/0/bias: is text"),
    "parameter of texts": ({"parameters/0/bias": np.array(["x", "y", "z"])}, "parameters/0/bias: is text"),
    "vector of a wrong shape": ({"vector/2/bias": np.zeros(1)}, r"vector/2/bias: has shape \(1,\); \(2,\)"),
    "vector unknown": (
        {"vector/7/bias": np.zeros(1)},
        "vector/7/bias: the architecture has no such parameter; it has 0/weight",
    ),
    "vector of bools": ({"vector/2/bias": np.zeros(2, dtype=bool)}, "vector/2/bias: is of type bool"),
    "vector of text": ({"vector/2/bias": "text"}, "vector/2/bias: is text"),
    "vector absent": ({key: None for key in MEMBERS if key.startswith("vector/")}, "vector: is absent"),
    "vector of a stationary point": ({"kind": "stationary-point"}, "vector: '0/weight' is present; a stationary-point"),
    "initial parameters of a gradient": (
        {f"initial_{key}": value for key, value in MEMBERS.items() if key.startswith("parameters/")},
        "initial_parameters: are present in a gradient",
    ),
    "initial parameters in part": (
        {"initial_parameters/0/bias": np.zeros(3)},
        "initial_parameters/0/weight: is missing",
    ),
    "unknown key": ({"gradient": np.zeros(1)}, "gradient: is an unknown key; format, kind"),
    "unknown group": ({"hessian/0/weight": np.zeros(1)}, "hessian/0/weight: is an unknown key"),
    "reduction unknown": ({"reduction": "max"}, "reduction: found 'max'; sum or mean"),
    "reduction no text": ({"reduction": np.zeros(1)}, "reduction: found an array"),
    "batch size 0": ({"batch_size": 0}, "batch_size: found 0; a positive integer"),
    "batch size negative": ({"batch_size": -1}, "batch_size: found -1"),
    "batch size of floats": ({"batch_size": 1.0}, "batch_size: is an array of float64"),
    "batch size of two": ({"batch_size": np.array([1, 2])}, r"batch_size: is an array of int64 and shape \(2,\)"),
    "batch size of text": ({"batch_size": "1"}, "batch_size: is text"),
    "unit norm of integers": ({"unit_norm": 1}, "unit_norm: is an array of int64"),
    "labels too few": ({"labels": np.zeros((1, 2))}, "labels: are 1; 2 would fit"),
    "labels of a wrong shape": ({"labels": np.zeros((2, 3))}, r"labels: have shape \(2, 3\); \(n, 2\)"),
    "labels of bools": ({"labels": np.zeros((2, 2), dtype=bool)}, "labels: are of type bool"),
    "labels of text": ({"labels": "cat"}, "labels: is text"),
}


@pytest.mark.parametrize("name", FILE_REFUSALS)
def test_refused_by_file_and_key(name):
    changes, message = FILE_REFUSALS[name]
    members = {key: value for key, value in (MEMBERS | changes).items() if value is not None}
    with pytest.raises(InputError, match=rf"^bad\.npz: {message}") as caught:
        Observation.from_bytes(write_archive(members), "bad.npz")
    assert "\n" not in str(caught.value)


OBJECT_REFUSALS = {
    "other parameters": ({"parameters": Parameters.random(OTHER, rng=0)}, "parameters: belong to another"),
    "bool as batch size": ({"batch_size": True}, "batch_size: found True"),
    "batch size too large": ({"batch_size": 2**63}, "batch_size: is not below"),
    "integer as unit norm": ({"unit_norm": 1}, "unit_norm: found 1"),
    "no labels": ({"labels": np.zeros((0, 2))}, "labels: are 0; at least one"),
    "nan label": ({"labels": np.array([[np.nan, 0.0]])}, "labels: hold a number that is not finite"),
    "nan in vector": (
        {"vector": {"2/bias": np.array([0.0, np.nan])}},
        "vector/2/bias: holds a number that is not finite",
    ),
}


@pytest.mark.parametrize("name", OBJECT_REFUSALS)
def test_refused_in_memory(name):
    changes, message = OBJECT_REFUSALS[name]
    with pytest.raises(InputError, match=f"^{message}"):
        example(**changes)


@pytest.mark.parametrize(
    ("loss", "outputs", "labels", "message"),
    [
        ("cross_entropy", 3, [3], "labels: are not all integers from 0 to 2"),
        ("cross_entropy", 3, [-1], "labels: are not all integers"),
        ("cross_entropy", 3, [1.0], "labels: are not all integers"),
        ("cross_entropy", 3, [[0, 0, 1]], "labels: have shape"),
        ("logistic", 1, [0], "labels: are not all -1 or 1"),
        ("logistic", 1, [[1]], "labels: have shape"),
        ("squared", 2, [1.0, 2.0], "labels: have shape"),
    ],
)
def test_labels_that_the_loss_does_not_have(loss, outputs, labels, message):
    architecture = Architecture("one", (2,), (Linear(outputs),), loss)
    parameters = Parameters.random(architecture, rng=0)
    with pytest.raises(InputError, match=f"^{message}"):
        Observation("gradient", architecture, parameters, vector={"0/bias": np.zeros(outputs)}, labels=np.array(labels))


@given(architectures(), st.integers(1, 3), st.sampled_from(["sum", "mean"]), st.integers(0, 2**32))
def test_gradient_of_a_batch_is_the_embedding_of_its_residuals(architecture, count, reduction, seed):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    inputs = rng.standard_normal((count, *architecture.input_shape))
    labels = some_labels(architecture, count, rng)
    observation = Observation.from_data(
        architecture, parameters, inputs, labels, reduction=reduction, labels_known=True
    )
    assert observation.batch_size == count
    assert len(observation.labels) == count
    # One sample at a time, an independent path through the sum.
    total = {key: np.zeros(shape) for key, shape in architecture.parameter_shapes.items()}
    size = 0.0
    for j in range(count):
        residual = losses.residual(
            architecture.loss, forward(architecture, parameters, inputs[j : j + 1]), labels[j : j + 1]
        )
        for key, piece in embed(architecture, parameters, Measure(inputs[j : j + 1], residual)).items():
            total[key] += piece / (count if reduction == "mean" else 1)
            size += float(np.sum(piece**2))
    error = math.sqrt(sum(float(np.sum((total[key] - observation.vector[key]) ** 2)) for key in total))
    # k: longest sum, 6 inputs or 4 hidden units, over the samples; the layers are well conditioned (He's scale).
    assert error <= 30 * 6 * count * 2.0**-52 * math.sqrt(size) + 1e-300


@pytest.mark.parametrize(
    ("inputs", "found"),
    [(np.zeros(4), r"\(4,\)"), (np.zeros((1, 5)), r"\(1, 5\)"), (np.zeros((0, 4)), r"\(0, 4\)"), (0.0, r"\(\)")],
)
def test_inputs_of_a_wrong_shape(inputs, found):
    architecture = Architecture("one", (4,), (Linear(2),), "squared")
    with pytest.raises(InputError, match=rf"^inputs: have shape {found}; \(n, 4\)"):
        Observation.from_data(architecture, Parameters.random(architecture, rng=0), inputs, np.zeros((1, 2)))


def test_write_and_read(tmp_path):
    observation = example()
    observation.write(tmp_path / "o.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["o.npz"]
    assert Observation.read(tmp_path / "o.npz").sha256 == observation.sha256
    with pytest.raises(InputError, match=r"o\.npz: is larger than 10 bytes"):
        Observation.read(tmp_path / "o.npz", limit_bytes=10)
    with pytest.raises(InputError, match=r"none\.npz: cannot be read"):
        Observation.read(tmp_path / "none.npz")
    with pytest.raises(InputError, match="cannot be written"):
        observation.write(tmp_path / "none" / "o.npz")


def test_a_changed_copy_is_another_observation():
    observation = Observation.from_bytes(example().to_bytes())
    changed = dataclasses.replace(observation, reduction="mean")
    assert changed.sha256 != observation.sha256
    assert Observation.from_bytes(changed.to_bytes()).reduction == "mean"


def test_the_caller_s_arrays_stay_the_caller_s():
    piece = np.ones(2)
    observation = example(vector={"2/bias": piece})
    piece[0] = 7
    assert observation.vector["2/bias"][0] == 1
    with pytest.raises(TypeError):
        observation.vector["2/bias"] = piece


@given(st.data())
def test_damaged_files_give_one_line_or_an_observation(data):
    content = bytearray(example(batch_size=1, unit_norm=False).to_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    try:
        Observation.from_bytes(bytes(content[:length]), "f", limit_bytes=2**20)
    except InputError as error:
        assert str(error).startswith("f: ")
        assert "\n" not in str(error)


@given(st.data())
def test_damaged_members_give_one_line_or_an_observation(data):
    """As above, but every member has the right checksum, so that the damage is found by its meaning."""
    members = dict(MEMBERS)
    for _ in range(data.draw(st.integers(1, 3))):
        key = data.draw(st.sampled_from(sorted(members)))
        value = members.pop(key)
        if isinstance(value, str):
            position = data.draw(st.integers(0, len(value)))
            replacement = data.draw(st.text('ab1[]{}":,0-e\n', max_size=3))
            members[key] = value[:position] + replacement + value[position + 1 :]
        elif data.draw(st.booleans()):
            other = data.draw(st.sampled_from([key + "x", "vector/" + key, key.upper(), "parameters/0/weight"]))
            members[other] = value
    try:
        Observation.from_bytes(write_archive(members), "f")
    except InputError as error:
        assert str(error).startswith("f: ")
        assert "\n" not in str(error)


@given(observations())
def test_single_precision_is_taken_as_the_numbers_it_holds(observation):
    single = {key: piece.astype(np.float32) for key, piece in observation.vector.items()}
    parameters = observation.parameters.map_numbers(lambda array: array.astype(np.float32).astype(np.float64))
    changed = dataclasses.replace(observation, parameters=parameters, vector=single)
    for key, piece in changed.vector.items():
        assert piece.dtype == np.float64
        np.testing.assert_array_equal(piece, single[key])
    members = dict(read_archive(changed.to_bytes(), "it", limit_bytes=2**20))
    stored = io.BytesIO()
    halved = {
        key: value.astype(np.float32) if key.startswith(("vector/", "parameters/")) else np.asarray(value)
        for key, value in members.items()
    }
    np.savez(stored, **halved)
    again = Observation.from_bytes(stored.getvalue())
    assert again.parameters == parameters
    assert all(np.array_equal(again.vector[key], piece) for key, piece in changed.vector.items())
