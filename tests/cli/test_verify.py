"""`provable verify` and `provable list` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provable.cli.application import COMMANDS, run

THEOREMS = Path(__file__).parents[1] / "theorems"
FALSE = str(THEOREMS / "unseen_false" / "gram_matrix_of_distinct_points_is_regular.py")
TRUE = str(THEOREMS.parents[1] / "docs" / "worked-example" / "corrected_theorem.py")
VACUOUS = str(THEOREMS / "faulty" / "impossible_hypotheses.py")


def test_a_good_theorem_gives_status_zero_and_a_summary(capsys):
    assert run(["verify", TRUE, "--effort", "quick"]) == 0
    printed = capsys.readouterr()
    assert "corrected_theorem" in printed.out and "1 certified" in printed.out
    assert "3 of 3 false twins refuted" in printed.out
    assert printed.err == ""


def test_a_false_theorem_gives_status_one_and_its_counterexample(capsys):
    assert run(["verify", FALSE, "--effort", "quick"]) == 1
    printed = capsys.readouterr().out
    assert "re-checked in rational arithmetic" in printed and "1 unexpected" in printed


def test_a_vacuous_theorem_gives_status_one(capsys):
    assert run(["verify", VACUOUS, "--effort", "quick"]) == 1
    assert "vacuous" in capsys.readouterr().out


def test_json_is_one_document_and_nothing_else(capsys, tmp_path):
    target = tmp_path / "result.json"
    assert run(["verify", FALSE, VACUOUS, "--effort", "quick", "--json", "-o", str(target)]) == 1
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document == json.loads(target.read_text())
    assert document["format"] == "provable-verification/1"
    assert [entry["verdict"] for entry in document["theorems"]] == ["refuted", "vacuous"]
    assert document["environment"]["effort"] == "quick" and document["environment"]["seed"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_the_same_seed_gives_the_same_document(capsys):
    documents = []
    for _ in range(2):
        run(["verify", FALSE, "--effort", "quick", "--seed", "5", "--json"])
        document = json.loads(capsys.readouterr().out)
        for entry in document["theorems"]:
            entry.pop("seconds")
        documents.append(document)
    assert documents[0] == documents[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "nope"], "there is no theorem 'nope'"),
        (["verify", "nowhere.py"], "nowhere.py: there is no such file"),
        (["verify", "--effort", "thorough"], "effort 'thorough' is unknown"),
        (["verify", "--seed", "-1"], "--seed"),
        (["verify", "--seed", "many"], "--seed"),
        (["verify", str(THEOREMS / "faulty" / "raises_on_import.py")], "RuntimeError: first line second line"),
        (["verify", str(THEOREMS / "faulty" / "no_theorem.py")], "assigns no theorem"),
        (["list", "--source", "nope"], "--source: 'nope' is unknown"),
        (["nope"], "nope"),
        (["verify", "--nope"], "--nope"),
    ],
)
def test_wrong_usage_is_one_line_and_status_two(capsys, arguments, message):
    assert run(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert message in printed.err and printed.err.startswith("provable: ") and printed.err.count("\n") == 1


def test_an_output_file_in_a_missing_folder_is_refused_by_name(capsys, tmp_path):
    target = tmp_path / "missing" / "result.json"
    assert run(["verify", VACUOUS, "--effort", "quick", "-o", str(target)]) == 2
    assert str(target) in capsys.readouterr().err


def test_list_shows_every_theorem(capsys):
    from provable.theorems import registry

    assert run(["list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["theorems"]
    assert [entry["id"] for entry in listed] == registry.identifiers()
    assert all(entry["statement"] and entry["source"] and entry["expected"] for entry in listed)
    source = listed[0]["id"].partition(".")[0]
    assert run(["list", "--source", source]) == 0
    printed = capsys.readouterr().out
    assert listed[0]["id"] in printed and listed[-1]["id"] not in printed


def test_help_names_every_command(capsys):
    assert run([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)
