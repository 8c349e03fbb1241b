"""The audit on the command line: table, JSON, files, and one line for every error."""

from __future__ import annotations

import io
import json

import pytest

from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, Linear, Tanh
from provable.architectures.layers import Erf
from provable.architectures.zoo import zoo
from provable.cli.application import run
from provable.leakage import audit


def call(capsys, *arguments):
    status = run(["audit", *map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.fixture
def short(tmp_path):
    layers = (Conv2d(1, 3, 2), Tanh(), Flatten(), Linear(4))
    path = tmp_path / "short.json"
    path.write_text(Architecture("short", (2, 6, 6), layers, "cross_entropy").to_json())
    return path


def test_the_table_says_what_stays_open(capsys, short):
    status, out, err = call(capsys, short)
    assert (status, err) == (0, "")
    words = " ".join(out.split())
    for expected in ("0 conv2d", "4 + 18", "51", "dependency law", "ambiguous", "At least 51 of 72", "c(M): -51"):
        assert expected in words
    assert "generic parameters" in words and "dead inputs: 22" in words


def test_what_is_not_known_is_not_called_zero(capsys, tmp_path):
    path = tmp_path / "erf.json"
    layers = (Conv2d(3, 3, padding=1), Tanh(), AvgPool2d(2), Conv2d(9, 1), Erf(), Flatten(), Linear(4))
    path.write_text(Architecture("erf", (1, 6, 6), layers, "cross_entropy").to_json())
    status, out, _ = call(capsys, path)
    words = " ".join(out.split())
    assert status == 0 and "undetermined" in words and "c(M): 0" in words
    assert "open dimensions (N*): not known" in words and "stuck: outputs hidden" in words


def test_json_is_the_audit_and_nothing_else(capsys, short):
    status, out, err = call(capsys, short, "--json", "--seed", 3)
    assert (status, err) == (0, "")
    assert out == audit(Architecture.from_json(short.read_text()), rng=3).to_json() + "\n"
    assert json.loads(out)["layers"][0]["certificate"]["lower"]["seed"] == 3


def test_the_same_seed_gives_the_same_bytes(capsys, short, tmp_path):
    outputs = []
    for name in ("a.json", "b.json"):
        assert call(capsys, short, "-o", tmp_path / name)[0] == 0
        outputs.append((tmp_path / name).read_bytes())
    assert outputs[0] == outputs[1] and json.loads(outputs[0])["format"] == "provable-audit/1"


def test_standard_input_is_read(capsys, short, monkeypatch):
    class Stream:
        buffer = io.BytesIO(short.read_bytes())

    monkeypatch.setattr("sys.stdin", Stream)
    status, out, _ = call(capsys, "-", "--json")
    assert status == 0 and json.loads(out)["verdict"] == "ambiguous"


def test_the_zoo_is_listed(capsys):
    status, out, _ = call(capsys, "--list")
    assert status == 0 and all(name in out for name in zoo())
    status, out, _ = call(capsys, "--list", "--json")
    assert status == 0 and [row["name"] for row in json.loads(out)["zoo"]] == list(zoo())


def test_a_name_is_no_markup(capsys, tmp_path):
    path = tmp_path / "name.json"
    path.write_text(Architecture("[bold]a[/red]", (3,), (Linear(2),), "squared").to_json())
    status, out, err = call(capsys, path)
    assert (status, err) == (0, "") and "[bold]a[/red]" in out


def test_noise_of_any_size_has_a_bound(capsys, tmp_path):
    path = tmp_path / "linear.json"
    path.write_text(Architecture("linear", (3,), (Linear(2),), "squared").to_json())
    for noise in ("1e-320", "1e300", "1.7e308"):
        status, out, err = call(capsys, path, "--noise", noise)
        assert (status, err) == (0, "") and "error under noise: an unbiased attack errs by at least" in out


def test_an_interrupt_is_one_line_and_leaves_no_file(capsys, short, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("provable.leakage.audit", interrupt)
    status, out, err = call(capsys, short, "-o", tmp_path / "out.json")
    assert (status, out, err) == (130, "", "provable: interrupted\n")
    assert [path.name for path in tmp_path.iterdir()] == ["short.json"]


def test_a_network_of_the_zoo(capsys):
    status, out, _ = call(capsys, "cnn-digits")
    assert status == 0 and "identifiable" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["ARCHITECTURE", "--list"]),
        (["cnn-digits", "--list"], ["--list", "cnn-digits"]),
        (["cnn-digit"], ["cnn-digit", "cnn-digits"]),
        (["missing.json"], ["missing.json"]),
        (["cnn-digits", "--batch-size", "0"], ["batch_size", "0"]),
        (["cnn-digits", "--batch-size", "9" * 30], ["batch_size", "2147483648"]),
        (["vit-t16-patches", "--noise", "0.5"], ["150528"]),
        (["resnet18-32", "--noise", "0.5"], ["batch_norm2d"]),
        (["cnn-digits", "--noise", "nan"], ["noise", "nan"]),
        (["cnn-digits", "--seed", "-1"], ["--seed"]),
        (["cnn-digits", "--seed", "x"], ["--seed"]),
        (["cnn-digits", "-o", "nowhere/at/all.json"], ["nowhere"]),
    ],
)
def test_wrong_input_is_one_line(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = call(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("provable: ") and err.count("\n") == 1
    assert all(word in err for word in words), err
    assert not list(tmp_path.iterdir())


def test_a_layer_without_a_system_is_named(capsys, tmp_path):
    path = tmp_path / "early.json"
    layers = (Tanh(), Conv2d(2, 3), Flatten(), Linear(4))
    path.write_text(Architecture("early", (1, 6, 6), layers, "cross_entropy").to_json())
    status, out, err = call(capsys, path)
    assert (status, out) == (2, "") and "layer 0 (tanh)" in err


def test_several_samples(capsys, short):
    words = " ".join(call(capsys, short, "--batch-size", "3")[1].split())
    assert "the gradient of 3 samples" in words and "of 216 dimensions of the samples cannot be recovered" in words
    assert "only mixtures are known" in words


def test_noise_is_said_in_a_sentence(capsys, short):
    words = " ".join(call(capsys, short, "--noise", "0.01")[1].split())
    assert "no unbiased attack recovers all of the sample, 51 dimensions being open; on the others" in words
    words = " ".join(call(capsys, "cnn-digits", "--noise", "0.01")[1].split())
    assert "an unbiased attack errs by at least" in words


def test_hidden_outputs_are_said_beside_the_ranks(capsys, tmp_path):
    path = tmp_path / "pool.json"
    layers = (Conv2d(9, 3), AvgPool2d(2), Flatten(), Linear(4))
    path.write_text(Architecture("pool", (1, 6, 6), layers, "cross_entropy").to_json())
    status, out, _ = call(capsys, path)
    words = " ".join(out.split())
    assert status == 0 and "stuck: outputs hidden" in words
    assert "layer 0: layer 1 (avg_pool2d) behind it shows means of its outputs only" in words
