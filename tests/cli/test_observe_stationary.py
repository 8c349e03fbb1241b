"""`provable observe --train stationary-point`: θ itself is explained by the samples that are written as the truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.cli.application import run
from provable.cli.truth import Truth
from provable.networks import embed, forward
from provable.observations import Observation
from provable.training.stationary_finish import ACCEPTED

IMAGES, CLASSES = load_digits(return_X_y=True)

ARCHITECTURES = {
    "margin": Architecture("margin", (64,), (Linear(20), ReLU(), Linear(1, bias=False)), "logistic"),
    "smooth": Architecture("smooth", (64,), (Linear(20), Tanh(), Linear(10)), "cross_entropy"),
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


def made(capsys, *arguments, architecture="margin"):
    status, output, error = call(
        capsys, "observe", "-o", "o.npz", "--truth", "t.npz", "--architecture", f"{architecture}.json", "--count", 5,
        "--train", "stationary-point", "--steps", 3000, "--json", *arguments,
    )  # fmt: skip
    assert (status, error) == (0, "")
    return Observation.read("o.npz"), Truth.read("t.npz"), json.loads(output)


def test_smooth_networks_are_explained_by_their_truth(folder, capsys):
    observation, truth, document = made(capsys, "--weight-decay", 1e-2, "--with-labels", architecture="smooth")
    assert (observation.kind, document["kind"], observation.batch_size) == ("stationary-point", "stationary-point", 5)
    np.testing.assert_array_equal(observation.labels, CLASSES[:5])
    pixels = IMAGES[:5] / 16
    np.testing.assert_array_equal(truth.measure.points, pixels - pixels.mean())
    image = embed(observation.architecture, observation.parameters, truth.measure).vector()
    theta = observation.parameters.vector()
    # k: sums over units and samples; κ: coefficients are ℓ'/w
    assert np.linalg.norm(image - theta) <= 30 * 100 * EPSILON / 1e-2 * np.linalg.norm(theta)
    report = document["training"]
    assert (report["stopped"], report["remark"], report["weight_decay"]) == ("stationary-point", "", 0.01)
    assert report["outside_span"] == report["hard_residual"] <= 1e-12


def test_largest_margins_are_one_and_kinks_are_told(folder, capsys):
    observation, truth, document = made(capsys)
    outputs = forward(observation.architecture, observation.parameters, truth.measure.points)
    # margins of the support are equations of the finish, which is accepted up to this
    assert (truth.labels * outputs[:, 0]).min() == pytest.approx(1, abs=ACCEPTED)
    assert observation.labels is None
    report = document["training"]
    assert report["stopped"] == "stationary-point"
    assert report["outside_span"] <= 1e-12 < 1e-3 < report["hard_residual"]
    arguments = ["--architecture", "margin.json", "--count", 5, "--train", "stationary-point", "--steps", 3000]
    status, output, _ = call(capsys, "observe", "-o", "o.npz", *arguments)
    text = " ".join(output.split())
    assert status == 0
    assert "The parameters after training on samples 0 to 4 of digits in margin" in text
    assert "Newton's method finished it: what the samples do not explain of the parameters has " in text
    assert "if kinked units have the slopes that backpropagation gives them." in text


def test_that_samples_are_undetermined_is_said_in_the_first_words(folder, capsys):
    made(capsys, "--count", 4)
    status, output, error = call(capsys, "recover", "o.npz")
    lines = output.splitlines()
    assert (status, error) == (0, "")
    assert "consistent, undetermined" in lines[0] and "samples can be determined" in lines[1]
    assert json.loads(call(capsys, "recover", "o.npz", "--json")[1])["reason"].startswith("undetermined: ")


def test_what_is_not_finished_is_said(folder, capsys):
    arguments = ["--architecture", "margin.json", "--count", 5, "--train", "stationary-point", "--steps", 1]
    status, output, _ = call(capsys, "observe", "-o", "o.npz", *arguments, "--weight-decay", "1e-2")
    text = " ".join(output.split())
    assert status == 0
    assert "Newton's method did not finish it (" in text
    assert "what the samples do not explain of the parameters has" in text


WRONG = {
    "--optimiser: is given with --train stationary-point": ["--optimiser", "descent"],
    "--target-loss: is given with --train stationary-point": ["--target-loss", "0.1"],
    "--reduction: found mean with --train stationary-point; sum": ["--reduction", "mean"],
    "momentum: found 1.0; a number from 0 to below 1": ["--momentum", "1"],
    "layer 1 (tanh): found an activation that is not homogeneous": ["--architecture", "smooth.json"],
    "after 1 steps; without weight decay labels that the network comes to fit": ["--steps", "1"],
    "with which training leaves the range of float64 at step": ["--learning-rate", "1e80", "--weight-decay", "1"],
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_usage_gives_one_line_and_no_file(message, folder, capsys):
    arguments = ["--architecture", "margin.json", "--count", 5, "--train", "stationary-point", *WRONG[message]]
    status, output, error = call(capsys, "observe", "-o", "o.npz", *arguments)
    assert (status, output) == (2, "")
    assert message in error
    assert error.startswith("provable: ") and error.count("\n") == 1
    assert not (folder / "o.npz").exists()
