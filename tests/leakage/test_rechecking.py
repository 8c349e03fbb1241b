"""Certificates inside an audit's file, checked again: edits of any number are noticed."""

from __future__ import annotations

import copy
import json

import pytest

from provable.architectures import Architecture, Conv2d, Flatten, Linear, Residual, Tanh
from provable.cli.application import run
from provable.errors import InputError
from provable.leakage import audit
from provable.leakage.rechecking import is_audit, recheck

BLOCK = Residual((Conv2d(2, 3, padding=1, bias=False), Tanh()), (Conv2d(2, 1),))
NETWORK = Architecture(
    "small", (2, 7, 7), (Conv2d(3, 3, 2), Tanh(), BLOCK, Tanh(), Flatten(), Linear(4)), "cross_entropy"
)


@pytest.fixture(scope="module")
def document():
    return json.loads(audit(NETWORK).to_json())


def test_every_bound_of_an_audit_is_proved_again(document):
    bounds = recheck(document)
    assert is_audit(document) and not is_audit([]) and not is_audit({"format": "provable-certificate/1"})
    assert [(bound.path, bound.side) for bound in bounds] == [
        (path, side) for path in ("0", "2.0", "2.shortcut.0") for side in ("lower", "upper")
    ]
    assert all(bound.valid for bound in bounds)


def _harder(document):
    document["layers"][0]["rank"]["lower"] += 1


def _certificate_of_another_layer(document):
    document["layers"][0]["certificate"] = document["layers"][1]["certificate"]


def _another_network(document):
    document["architecture"]["layers"][0]["stride"] = [1, 1]


def _sides_exchanged(document):
    certificates = document["layers"][2]["certificate"]
    certificates["lower"], certificates["upper"] = certificates["upper"], certificates["lower"]


def _claimed_in_both_places(document):
    document["layers"][0]["rank"]["upper"] -= 1
    document["layers"][0]["certificate"]["upper"]["data"]["bound"] -= 1


@pytest.mark.parametrize(
    "edit", [_harder, _certificate_of_another_layer, _another_network, _sides_exchanged, _claimed_in_both_places]
)
def test_edited_audits_are_not_valid(document, edit):
    edited = copy.deepcopy(document)
    edit(edited)
    assert not all(bound.valid for bound in recheck(edited))


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document.pop("layers"),
        lambda document: document.update(layers=[]),
        lambda document: document.update(layers=[{"path": "0"}]),
        lambda document: document.update(layers=3),
        lambda document: document.pop("architecture"),
    ],
)
def test_what_is_no_whole_audit_is_refused(document, edit):
    edited = copy.deepcopy(document)
    edit(edited)
    with pytest.raises(InputError, match="layers: "):
        recheck(edited)


def test_on_the_command_line(document, tmp_path, capsys):
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(document))
    assert run(["check", str(path)]) == 0
    assert capsys.readouterr().out.count("valid") == 6
    _harder(edited := copy.deepcopy(document))
    path.write_text(json.dumps(edited))
    assert run(["check", str(path), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["valid"] and [bound["valid"] for bound in answer["bounds"]].count(False) == 1
    path.write_text(json.dumps(document | {"layers": []}))
    assert run(["check", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"provable: {path}: layers: hold no certificate")
