"""The path from data to an observation, to a recovery, to a check: files, exit codes, one line for every error."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from provable.architectures import GELU, Architecture, Conv2d, Flatten, Linear, ReLU, Tanh
from provable.cli.application import run
from provable.cli.check import _rounded
from provable.cli.truth import Truth
from provable.errors import InputError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.observations.archive import read_archive, write_archive
from provable.recovery import Recovery

IMAGES, CLASSES = load_digits(return_X_y=True)

ARCHITECTURES = {
    "mlp": Architecture("mlp", (64,), (Linear(12), Tanh(), Linear(10)), "cross_entropy"),
    "image": Architecture("image", (1, 8, 8), (Flatten(), Linear(9), ReLU(), Linear(10)), "squared"),
    "logit": Architecture("logit", (64,), (Linear(8), Tanh(), Linear(1)), "logistic"),
    "scalar": Architecture("scalar", (8, 8), (Flatten(), Linear(8), Tanh(), Linear(1)), "squared"),
    "convolution": Architecture("convolution", (1, 8, 8), (Conv2d(2, 3), Flatten(), Linear(10)), "cross_entropy"),
    "gelu": Architecture("gelu", (1, 8, 8), (Conv2d(2, 3), GELU(), Flatten(), Linear(10)), "cross_entropy"),
    "colour": Architecture("colour", (3, 12, 9), (Flatten(), Linear(10)), "cross_entropy"),
    "one": Architecture("one", (1,), (Linear(10),), "cross_entropy"),
    "small": Architecture("small", (4,), (Linear(10),), "cross_entropy"),
    "linear": Architecture("linear", (64,), (Linear(10),), "cross_entropy"),
    "three": Architecture("three", (64,), (Linear(3),), "cross_entropy"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, architecture in ARCHITECTURES.items():
        (tmp_path / f"{name}.json").write_text(architecture.to_json())
    return tmp_path


def call(capsys, *arguments):
    status = run([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def made(capsys, *arguments, architecture="mlp"):
    status, _, error = call(
        capsys, "observe", "-o", "o.npz", "--truth", "t.npz", "--architecture", f"{architecture}.json", *arguments
    )
    assert (status, error) == (0, "")


def files(folder):
    return {path.name for path in folder.iterdir() if path.suffix != ".json" or path.stem not in ARCHITECTURES}


@pytest.mark.parametrize("name", ["mlp", "image", "logit", "scalar"])
def test_from_data_to_a_checked_certificate(name, folder, capsys):
    made(capsys, "--index", 7, "--seed", 3, architecture=name)
    status, output, error = call(
        capsys, "recover", "o.npz", "--truth", "t.npz", "-o", "r.npz", "--image", "r.png", "--certificate", "c.json"
    )
    assert (status, error) == (0, ""), output
    assert "certified" in output
    found = Recovery.read("r.npz")
    assert found.points.shape == (1, *ARCHITECTURES[name].input_shape)
    digit = IMAGES[7] / 16
    # Grey values k/16 times a sensitivity round to the nearest float64 of a quotient that is one itself.
    assert np.linalg.norm(found.points.reshape(-1) - digit) <= 4 * 2.0**-52 * np.linalg.norm(digit)
    wanted = {"mlp": 7, "image": np.eye(10)[7], "logit": 1, "scalar": 1}[name]
    assert np.max(np.abs(found.labels[0] - wanted)) <= (0 if name in ("mlp", "logit") else 30 * 64 * 2.0**-52)
    for file in ("r.npz", "c.json"):
        status, output, error = call(capsys, "check", file, "--observation", "o.npz")
        assert (status, error) == (0, "")
        assert "valid  isolated-recovery" in output
    assert files(folder) == {"o.npz", "t.npz", "r.npz", "r.png", "c.json"}
    assert (folder / "r.png").read_bytes().startswith(b"\x89PNG\r\n")


def test_the_zoo_s_architecture_by_default(folder, capsys):
    assert call(capsys, "observe", "-o", "o.npz")[0] == 0
    assert Observation.read("o.npz").architecture.name == "two-layer-tanh"
    status, output, _ = call(capsys, "recover", "o.npz")
    assert status == 0
    assert "whatever lies within" in output


def test_observation_is_that_of_the_stated_data(folder, capsys):
    made(capsys, "--index", 5, "--count", 3, "--reduction", "mean", "--seed", 1)
    observation, truth = Observation.read("o.npz"), Truth.read("t.npz")
    assert observation.batch_size == 3
    assert observation.reduction == "mean"
    assert observation.labels is None
    np.testing.assert_array_equal(truth.measure.points, IMAGES[5:8] / 16)
    np.testing.assert_array_equal(truth.labels, CLASSES[5:8])
    image = embed(observation.architecture, observation.parameters, truth.measure)
    for key, piece in observation.vector.items():
        # k: sums over 64 inputs and 3 samples; entries of the gradient are below 1.
        assert np.max(np.abs(image[key] - piece)) <= 30 * 64 * 3 * 2.0**-52


def test_same_seed_same_bytes(folder, capsys):
    contents = []
    for _ in range(2):
        made(capsys, "--seed", 4)
        assert call(capsys, "recover", "o.npz", "-o", "r.npz", "--image", "r.png", "--seed", 2)[0] == 0
        contents.append([(folder / name).read_bytes() for name in ("o.npz", "t.npz", "r.npz", "r.png")])
    assert contents[0] == contents[1]
    made(capsys, "--seed", 5)
    assert (folder / "o.npz").read_bytes() != contents[0][0]


def test_json_is_one_document_and_nothing_else(folder, capsys):
    status, output, error = call(
        capsys, "observe", "-o", "o.npz", "--architecture", "mlp.json", "--truth", "t.npz", "--json"
    )
    assert (status, error) == (0, "")
    document = json.loads(output)
    assert document["format"] == "provable-observation/1"
    assert document["sha256"] == Observation.read("o.npz").sha256
    assert document["data"] == {"name": "digits", "index": 0, "count": 1}
    status, output, error = call(
        capsys,
        "recover",
        "o.npz",
        "--json",
        "-o",
        "r.npz",
        "--truth",
        "t.npz",
        "--certificate",
        "c.json",
        "--image",
        "i.png",
    )
    assert (status, error) == (0, "")
    document = json.loads(output)
    assert document["format"] == "provable-recovery/1"
    assert document["status"] == "certified"
    assert document["certificate"] == json.loads((folder / "c.json").read_text())
    assert document["error"]["points"] <= 4 * 2.0**-52
    status, output, error = call(capsys, "check", "r.npz", "--observation", "o.npz", "--json")
    assert (status, error) == (0, "")
    assert json.loads(output)["valid"] is True


def test_json_of_failures_too(folder, capsys):
    made(capsys, "--count", 2, architecture="linear")
    status, output, error = call(capsys, "recover", "o.npz", "--json", "--truth", "t.npz")
    assert (status, error) == (1, "")
    document = json.loads(output)
    assert document["status"] == "failed"
    assert document["error"] == {"points": None, "largest_entry": None, "coefficients": None}


def test_a_batch_from_data_to_a_checked_certificate(folder, capsys):
    made(capsys, "--count", 4, "--index", 5, "--seed", 3)
    status, output, error = call(
        capsys, "recover", "o.npz", "--truth", "t.npz", "-o", "r.npz", "--image", "r.png", "--certificate", "c.json"
    )
    assert (status, error) == (0, "")
    text = " ".join(output.split())
    assert "not fully-connected: the observation is of 4 samples" in text
    found, truth = Recovery.read("r.npz"), Truth.read("t.npz")
    assert (found.status, found.method) == ("certified", "span-check")
    matching = truth.matching(found.measure)
    np.testing.assert_array_equal(found.labels[matching.permutation], CLASSES[5:9])
    # The certificate's radius is a proved bound of the distance between the measures, whatever the rounding.
    radius = Fraction(json.loads(found.certificate)["data"]["rho"])
    aligned = matching.apply(found.measure)
    distance = math.hypot(
        np.linalg.norm(aligned.points - truth.measure.points),
        np.linalg.norm(aligned.coefficients - truth.measure.coefficients),
    )
    assert distance <= radius < 1e-6
    assert call(capsys, "check", "c.json", "--observation", "o.npz")[0] == 0
    assert call(capsys, "recover", "o.npz", "--json")[0] == 0


def test_a_batch_is_refused_with_its_rank(folder, capsys):
    made(capsys, "--count", 2, architecture="linear")
    status, output, error = call(capsys, "recover", "o.npz", "-o", "r.npz", "--image", "r.png", "--truth", "t.npz")
    assert (status, error) == (1, "")
    assert "numerical rank 2; one sample is accepted" in " ".join(output.split())
    # The file of the failure says so itself, and the picture shows the truth only.
    assert Recovery.read("r.npz").status == "failed"
    assert (folder / "r.png").read_bytes().startswith(b"\x89PNG")


def test_a_convolution_is_recovered_layer_by_layer(folder, capsys):
    made(capsys, "--index", 3, architecture="convolution")
    status, output, error = call(capsys, "recover", "o.npz", "--truth", "t.npz", "-o", "r.npz", "--json")
    assert (status, error) == (0, "")
    assert json.loads(output)["method"] == "layer-wise"
    # k: 64 unknowns; the system of a random layer of this size has a condition below 100.
    assert json.loads(output)["error"]["points"] <= 30 * 64 * 100 * 2.0**-52


def test_no_method_for_a_layer_that_is_not_injective(folder, capsys):
    made(capsys, architecture="gelu")
    status, output, _ = call(capsys, "recover", "o.npz")
    assert status == 1
    assert "layer 0 (conv2d) comes before" in " ".join(output.split())
    assert "layer 1 (gelu) takes some values twice" in " ".join(output.split())


@pytest.mark.parametrize("data", ["digits", "synthetic"])
def test_images_of_another_size(data, folder, capsys):
    made(capsys, "--data", data, "--index", 2, "--count", 2, architecture="colour")
    truth = Truth.read("t.npz")
    assert truth.measure.points.shape == (2, 3, 12, 9)
    assert np.min(truth.measure.points) >= 0
    assert np.max(truth.measure.points) <= 1
    if data == "digits":
        np.testing.assert_array_equal(truth.labels, CLASSES[2:4])
        # Every pixel of the digit is there, in the same order, and nothing else.
        rows, columns = np.arange(12) * 8 // 12, np.arange(9) * 8 // 9
        digit = IMAGES[2].reshape(8, 8) / 16
        for channel in truth.measure.points[0]:
            np.testing.assert_array_equal(channel, digit[np.ix_(rows, columns)])
    else:
        assert truth.labels.tolist() == [2, 3]
        assert len(np.unique(truth.measure.points)) > 600
        made(capsys, "--data", data, "--index", 3, "--seed", 8, architecture="colour")
        np.testing.assert_array_equal(Truth.read("t.npz").measure.points[0], truth.measure.points[1])


def test_synthetic_data_of_one_number(folder, capsys):
    made(capsys, "--data", "synthetic", architecture="one")
    assert Truth.read("t.npz").measure.points.tolist() == [[0.5]]


def test_certificate_that_cannot_be_made_is_not_written(folder, capsys):
    made(capsys, "--count", 2, architecture="linear")
    status, output, _ = call(capsys, "recover", "o.npz", "--certificate", "c.json")
    assert status == 1
    assert "not written: there is no certificate" in output
    assert files(folder) == {"o.npz", "t.npz"}


def test_standard_input(folder, capsys, monkeypatch):
    made(capsys)

    def feed(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    feed((folder / "o.npz").read_bytes())
    assert call(capsys, "recover", "-", "-o", "r.npz")[0] == 0
    feed((folder / "r.npz").read_bytes())
    assert call(capsys, "check", "-", "--observation", "o.npz")[0] == 0
    feed((folder / "o.npz").read_bytes())
    assert call(capsys, "check", "r.npz", "--observation", "-")[0] == 0
    feed((folder / "mlp.json").read_bytes())
    assert call(capsys, "observe", "--architecture", "-", "-o", "again.npz")[0] == 0
    assert (folder / "again.npz").read_bytes() == (folder / "o.npz").read_bytes()
    feed(b"")
    for arguments in (["check", "-", "--observation", "-"], ["recover", "-", "--truth", "-"]):
        status, output, error = call(capsys, *arguments)
        assert (status, output) == (2, "")
        assert "-: is given twice" in error


WRONG_USAGE = {
    "no output": (["observe"], "--output"),
    "unknown data": (["observe", "-o", "x.npz", "--data", "faces"], "--data: found 'faces'; digits and synthetic are"),
    "unknown reduction": (["observe", "-o", "x.npz", "--reduction", "max"], "--reduction: found 'max'; sum and mean"),
    "index beyond the data": (
        ["observe", "-o", "x.npz", "--architecture", "mlp.json", "--index", "1797"],
        "samples up to 1797 are asked for; digits has 0 to 1796",
    ),
    "count beyond the data": (
        ["observe", "-o", "x.npz", "--architecture", "mlp.json", "--count", "1798"],
        "up to 1797",
    ),
    "negative index": (["observe", "-o", "x.npz", "--index", "-1"], "--index"),
    "no samples": (["observe", "-o", "x.npz", "--count", "0"], "--count"),
    "other inputs": (
        ["observe", "-o", "x.npz", "--architecture", "small.json"],
        "small takes 4 numbers; a digit has 64",
    ),
    "other outputs": (
        ["observe", "-o", "x.npz", "--architecture", "three.json"],
        "three has 3 outputs; 1 or at least 10",
    ),
    "no architecture": (["observe", "-o", "x.npz", "--architecture", "none.json"], "none.json: cannot be read"),
    "no folder": (["observe", "-o", "none/x.npz", "--architecture", "mlp.json"], "none/x.npz: cannot be written"),
    "a folder": (["observe", "-o", ".", "--architecture", "mlp.json"], ".: is a folder"),
    "two results in one file": (["observe", "-o", "x.npz", "--truth", "x.npz"], "x.npz: is given twice"),
    "result over the observation": (["recover", "o.npz", "-o", "o.npz"], "o.npz: is given twice"),
    "no observation": (["recover", "none.npz"], "none.npz: cannot be read"),
    "no such method": (["recover", "o.npz", "--method", "magic"], "method: found 'magic'; auto, fully-connected"),
    "truth is no truth": (["recover", "o.npz", "--truth", "o.npz"], "o.npz: points: is missing"),
    "truth of other shapes": (["recover", "o.npz", "--truth", "other.npz"], "other.npz: points: have shape (1, 3)"),
    "observation is text": (["recover", "mlp.json"], "mlp.json: is not a sound .npz archive"),
    "truth as observation": (["recover", "t.npz"], "t.npz: points: is an unknown key"),
    "no certificate file": (["check", "none.json"], "none.json: cannot be read"),
    "no certificate in it": (["check", "mlp.json", "--observation", "o.npz"], "mlp.json: certificate: "),
    "no JSON": (["check", "bad.json"], "bad.json: certificate: "),
    "no text": (["check", "binary.json"], "binary.json: is neither JSON text in UTF-8 nor a recovery"),
    "an observation instead": (["check", "o.npz"], "o.npz: kind: is an unknown key"),
    "observation missing": (["check", "r.npz"], "--observation OBSERVATION.npz is needed"),
    "recovery without certificate": (["check", "plain.npz"], "plain.npz: certificate: is missing"),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, architecture in ARCHITECTURES.items():
            (folder / f"{name}.json").write_text(architecture.to_json())
        assert run(["observe", "-o", "o.npz", "--truth", "t.npz", "--architecture", "mlp.json"]) == 0
        assert run(["recover", "o.npz", "-o", "r.npz"]) == 0
    recovery = Recovery.read(folder / "r.npz")
    dataclasses.replace(recovery, status="consistent", certificate=None).write(folder / "plain.npz")
    (folder / "other.npz").write_bytes(Truth(Measure(np.zeros((1, 3)), np.zeros((1, 10))), np.zeros(1)).to_bytes())
    (folder / "bad.json").write_text("{")
    (folder / "binary.json").write_bytes(b"\xff\xfe")
    return folder


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_input_gives_one_line_and_no_file(name, prepared, monkeypatch, capsys):
    arguments, message = WRONG_USAGE[name]
    monkeypatch.chdir(prepared)
    before = {path.name: path.read_bytes() for path in prepared.iterdir()}
    capsys.readouterr()
    status, output, error = call(capsys, *arguments)
    assert (status, output) == (2, "")
    assert message in error
    assert error.startswith("provable: ")
    assert error.count("\n") == 1
    assert {path.name: path.read_bytes() for path in prepared.iterdir()} == before


def test_damaged_observations_give_one_line(folder, capsys):
    made(capsys)
    content = (folder / "o.npz").read_bytes()
    for length in np.linspace(0, len(content) - 1, 12).astype(int):
        (folder / "cut.npz").write_bytes(content[:length])
        status, output, error = call(capsys, "recover", "cut.npz", "-o", "r.npz")
        assert (status, output) == (2, "")
        assert error.startswith("provable: cut.npz: ")
        assert error.count("\n") == 1
        assert not (folder / "r.npz").exists()


def test_invalid_certificates(folder, capsys):
    made(capsys)
    assert call(capsys, "recover", "o.npz", "-o", "r.npz", "--certificate", "c.json")[0] == 0
    document = json.loads((folder / "c.json").read_text())

    def verdict(*arguments):
        status, output, error = call(capsys, "check", *arguments, "--json")
        assert error == ""
        return status, json.loads(output)

    # Another observation than the certified one.
    made(capsys, "--seed", 9)
    assert verdict("c.json", "--observation", "o.npz")[0] == 1
    made(capsys)
    # A radius that was not proved.
    changed = document | {"data": document["data"] | {"radius": "1000"}}
    (folder / "c.json").write_text(json.dumps(changed))
    status, result = verdict("c.json", "--observation", "o.npz")
    assert status == 1
    assert result["valid"] is False
    assert result["claim"] == "isolated-recovery"
    # A valid certificate beside points that it does not speak of.
    recovery = Recovery.read("r.npz")
    dataclasses.replace(recovery, points=recovery.points + 1e-9).write("moved.npz")
    status, result = verdict("moved.npz", "--observation", "o.npz")
    assert status == 1
    assert "other points or coefficients" in result["reason"]
    dataclasses.replace(recovery, coefficients=2 * recovery.coefficients).write("moved.npz")
    assert verdict("moved.npz", "--observation", "o.npz")[0] == 1
    assert verdict("r.npz", "--observation", "o.npz")[0] == 0


@given(st.fractions(min_value=Fraction(1, 10**40), max_value=10**40), st.booleans())
def test_numbers_of_proofs_are_rounded_to_the_safe_side(number, up):
    text = _rounded(number, up=up)
    assert re.fullmatch(r"[1-9]\.\de[+-]\d\d", text)
    shown = Fraction(text)
    assert shown >= number if up else shown <= number
    # Two digits: off by less than a tenth.
    assert abs(shown - number) < number / 10


TRUTH = {"points": np.zeros((2, 3)), "coefficients": np.zeros((2, 1)), "labels": np.zeros(2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": None}, "points: is missing"),
        ({"labels": None}, "labels: is missing"),
        ({"labels": "cat"}, "labels: is no array of numbers"),
        ({"points": 1.0}, "points: is no array of numbers"),
        ({"points": np.zeros(2)}, "points: found shape"),
        ({"coefficients": np.zeros(3)}, "coefficients: found shape"),
        ({"labels": np.zeros(3)}, "labels: are 3; 2 finite ones"),
        ({"more": np.zeros(3)}, "more: is an unknown key"),
    ],
)
def test_truth_files_are_read_strictly(changes, message, tmp_path):
    path = tmp_path / "t.npz"
    path.write_bytes(write_archive({key: value for key, value in (TRUTH | changes).items() if value is not None}))
    with pytest.raises(InputError, match=rf"t\.npz: {message}"):
        Truth.read(path)


def test_truth_round_trip(tmp_path):
    truth = Truth(Measure(np.eye(3), np.ones((3, 2))), np.array([1, 2, 3]))
    (tmp_path / "t.npz").write_bytes(truth.to_bytes())
    found = Truth.read(tmp_path / "t.npz")
    assert found.measure == truth.measure
    np.testing.assert_array_equal(found.labels, truth.labels)
    assert set(read_archive(truth.to_bytes(), "t")) == {"points", "coefficients", "labels"}


def test_as_a_program(folder):
    """Once through the real console: nothing but the document on stdout, no bars or warnings on stderr."""
    observation = Observation.from_data(
        ARCHITECTURES["mlp"], Parameters.random(ARCHITECTURES["mlp"], rng=0), IMAGES[:1] / 16, CLASSES[:1]
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "provable", "recover", "-", "--json", "-o", "r.npz", "--image", "r.png"],
        input=observation.to_bytes(),
        capture_output=True,
        check=False,
        cwd=folder,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["status"] == "certified"
    assert files(folder) == {"r.npz", "r.png"}
