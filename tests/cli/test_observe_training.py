"""`provable observe --train`: what is written, what is said of it, and what is refused in one line."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.cli.application import run
from provable.cli.trained import TrainingOptions
from provable.cli.truth import Truth
from provable.errors import InputError
from provable.networks import embed, forward, tangent_kernel
from provable.observations import Observation
from provable.training.span import decompose

IMAGES, CLASSES = load_digits(return_X_y=True)

ARCHITECTURES = {
    "relu": Architecture("relu", (64,), (Linear(300), ReLU(), Linear(1)), "squared"),
    "logit": Architecture("logit", (64,), (Linear(40), Tanh(), Linear(1)), "logistic"),
    "classes": Architecture("classes", (64,), (Linear(40), Tanh(), Linear(10)), "cross_entropy"),
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


def made(capsys, *arguments, architecture="relu", count=4):
    status, output, error = call(
        capsys, "observe", "-o", "o.npz", "--truth", "t.npz", "--architecture", f"{architecture}.json", "--count", count,
        "--json", *arguments,
    )  # fmt: skip
    assert (status, error) == (0, "")
    return Observation.read("o.npz"), Truth.read("t.npz"), json.loads(output)["training"]


@pytest.mark.parametrize("arguments", [(), ("--steps", 30), ("--steps", 30, "--momentum", 0.9, "--reduction", "mean")])
def test_linearised_training_is_an_exact_embedding_of_centred_digits(arguments, folder, capsys):
    observation, truth, report = made(capsys, "--train", "linearised", "--index", 7, *arguments)
    pixels = IMAGES[7:11] / 16
    np.testing.assert_array_equal(truth.measure.points, pixels - pixels.mean())
    np.testing.assert_array_equal(truth.labels, np.where(CLASSES[7:11] % 2 == 1, 1.0, -1.0))
    assert (observation.kind, observation.batch_size, observation.labels) == ("parameter-change", 4, None)
    image = embed(observation.architecture, observation.parameters, truth.measure)
    assert all(np.array_equal(image[name], piece) for name, piece in observation.vector.items())
    # the trained linearisation has the loss that is reported
    points = truth.measure.points
    kernel = tangent_kernel(observation.architecture, observation.parameters, points)
    start = forward(observation.architecture, observation.parameters, points)
    rest = truth.labels - (start + kernel @ truth.measure.coefficients)[:, 0]
    factor = 4 if observation.reduction == "mean" else 1
    # k: sums over 300 units; κ of the kernel below 1e3
    assert abs(rest @ rest / 2 / factor - report["loss"]) <= 30 * 300 * EPSILON * 1e3
    assert report["stopped"] == ("steps" if arguments else "limit")
    assert report["outside_span"] is None
    assert 0 < report["loss"] + 1e-30 < report["loss_before"]


def test_same_seed_same_bytes_and_labels_on_request(folder, capsys):
    contents = []
    for _ in range(2):
        made(capsys, "--train", "gradient-descent", "--steps", 20, "--with-labels", "--seed", 3)
        contents.append((folder / "o.npz").read_bytes())
    assert contents[0] == contents[1]
    np.testing.assert_array_equal(Observation.read("o.npz").labels[:, 0], Truth.read("t.npz").labels)
    status, _, _ = call(capsys, "observe", "-o", "o.npz", "--with-labels")
    assert status == 0
    assert Observation.read("o.npz").labels.tolist() == [0]


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_standard_training_of_every_loss(architecture, folder, capsys):
    observation, truth, report = made(capsys, "--train", "gradient-descent", "--steps", 60, architecture=architecture)
    assert report["dynamics"] == "standard"
    assert report["steps"] == 60
    assert report["loss"] < report["loss_before"] / 2
    found = decompose(observation, truth.measure.points)
    assert report["outside_span"] == found.outside
    assert 1e-4 < found.outside < 0.9
    np.testing.assert_array_equal(found.coefficients, truth.measure.coefficients)


def test_what_breaks_the_span_is_said(folder, capsys):
    arguments = ["observe", "-o", "o.npz", "--architecture", "relu.json", "--count", "4"]
    _, output, _ = call(capsys, *arguments, "--train", "linearised", "--weight-decay", "0.5", "--steps", "200")
    text = " ".join(output.split())
    assert "The change of the parameters by training on samples 0 to 3 of digits in relu" in text
    assert re.search(
        r"Of the change, \d+\.\d\d% of the norm lies outside .*, \de-1\d if the initial parameters are", text
    )
    _, output, _ = call(capsys, *arguments, "--train", "linearised", "--optimiser", "adam", "--steps", "50")
    text = " ".join(output.split())
    assert "(linearised, adam) for 50 steps at the learning rate 0.001: the loss went from" in text
    assert "outside the span of the samples' tangents." in text
    _, output, _ = call(capsys, *arguments, "--train", "linearised", "--target-loss", "0.01")
    text = " ".join(output.split())
    assert "when it reached the target loss" in text
    assert "The change is an exact tangent embedding of the samples." in text
    _, output, _ = call(capsys, *arguments, "--train", "linearised")
    assert "Trained (linearised, descent) to its limit: the loss went" in " ".join(output.split())


def test_from_training_to_a_recovery(folder, capsys):
    made(capsys, "--train", "linearised", "--steps", 50, count=2)
    status, output, error = call(capsys, "recover", "o.npz", "--truth", "t.npz", "--json")
    assert (status, error) == (0, "")
    # k: 64 unknowns per sample; κ of the recovery below 1e3
    assert json.loads(output)["error"]["points"] <= 30 * 64 * 1e3 * EPSILON


WRONG = {
    "--steps: is given without --train": ["--steps", "3"],
    "--learning-rate: is given without --train": ["--learning-rate", "3"],
    "--train: found 'lazy'; linearised and gradient-descent": ["--train", "lazy"],
    "--optimiser: found 'sgd'; descent and adam": ["--train", "linearised", "--optimiser", "sgd"],
    "--momentum: is given with --optimiser adam": [
        *("--train", "linearised", "--optimiser", "adam", "--momentum", "0.5")
    ],
    "--momentum: found 1.0; a number from 0 to below 1": ["--train", "linearised", "--momentum", "1"],
    "--weight-decay: found -1.0; a nonnegative": ["--train", "linearised", "--weight-decay", "-1"],
    "--target-loss: found nan": ["--train", "linearised", "--target-loss", "nan"],
    "--learning-rate: found 0; a positive": ["--train", "gradient-descent", "--learning-rate", "0"],
    "--learning-rate: is given without --steps": ["--train", "linearised", "--learning-rate", "0.1"],
    "--momentum: is given without --steps": ["--train", "linearised", "--momentum", "0.5"],
    "Invalid value for '--steps'": ["--train", "linearised", "--steps", "0"],
    "learning_rate: found 1000, with which training diverges; below": [
        *("--train", "linearised", "--steps", "5", "--learning-rate", "1000")
    ],
    "with which training leaves the range of float64 at step": [
        *("--train", "gradient-descent", "--learning-rate", "1000", "--steps", "5000")
    ],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_usage_gives_one_line_and_no_file(message, folder, capsys):
    status, output, error = call(capsys, "observe", "-o", "o.npz", "--architecture", "relu.json", *WRONG[message])
    assert (status, output) == (2, "")
    assert message in error
    assert error.startswith("provable: ") and error.count("\n") == 1
    assert not (folder / "o.npz").exists()


def test_options_are_checked_without_a_command_line():
    with pytest.raises(InputError, match="--weight-decay: is given without --train"):
        TrainingOptions(None, weight_decay=0.0)
