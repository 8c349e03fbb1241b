"""Worker processes: what hangs is stopped, what dies takes nobody along, what prints does not mix with the answers."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest

from provable.errors import InputError
from provable.theorems import runner, worker

FAULTY = Path(__file__).parent / "faulty"


def test_faulty_theorems_get_a_verdict_and_the_others_theirs():
    names = [
        str(FAULTY / f"{name}.py")
        for name in (
            "claim_hangs",
            "prints_on_stdout",
            "claim_kills_its_process",
            "impossible_hypotheses",
            "claim_raises",
        )
    ]
    done = []
    results = runner.verify(names, effort="quick", budget_seconds=4.0, progress=lambda result: done.append(result.id))
    verdicts = {result.id: result.verdict for result in results}
    assert verdicts == {
        "claim_hangs": "inconclusive",
        "prints_on_stdout": "certified",
        "claim_kills_its_process": "inconclusive",
        "impossible_hypotheses": "vacuous",
        "claim_raises": "inconclusive",
    }
    reasons = {result.id: result.reason for result in results}
    assert reasons["claim_hangs"].endswith("it did not end within its budget of 4 s")
    assert reasons["claim_kills_its_process"].endswith("its process died")
    assert "line 12: IndexError" in reasons["claim_raises"]
    assert sorted(done) == sorted(verdicts)
    assert [Path(name).stem for name in names] == [result.id for result in results]


@pytest.mark.parametrize("name", ["raises_on_import", "no_theorem"])
def test_files_that_cannot_be_loaded_are_an_error(name):
    with pytest.raises(InputError, match=f"{name}.py"):
        runner.verify([str(FAULTY / f"{name}.py")], effort="quick")


def test_a_theorem_without_evidence_is_inconclusive():
    (result,) = runner.verify([str(FAULTY / "nothing_to_run.py")], effort="quick")
    assert result.verdict == "inconclusive" and "nothing to run" in result.reason


@pytest.mark.parametrize(
    ("ids", "effort", "message"),
    [
        (["nope"], "quick", "there is no theorem 'nope'"),
        (["nowhere.py"], "quick", r"nowhere\.py: there is no such file"),
        (None, "thorough", "effort 'thorough' is unknown; quick, standard and deep are accepted"),
    ],
)
def test_wrong_requests_are_named(ids, effort, message):
    with pytest.raises(InputError, match=message):
        runner.verify(ids, effort=effort)


def test_sources_stand_for_their_theorems():
    chosen = runner.select_theorems(["foundations", "foundations.gram_identity"])
    assert "foundations.gram_identity" in chosen and len(chosen) == len(set(chosen)) >= 5
    assert runner.select_theorems(None) == runner.select_theorems([])


def test_the_worker_answers_line_by_line():
    path = str(FAULTY / "impossible_hypotheses.py")
    requests = [
        {"nonce": "a", "theorem": path, "effort": "quick", "seed": 3},
        {"nonce": "b", "theorem": "nope", "effort": "quick", "seed": 3},
    ]
    answers = io.StringIO()
    worker.serve(io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    first, second = (json.loads(line) for line in answers.getvalue().splitlines())
    assert (first["nonce"], second["nonce"]) == ("a", "b")
    assert first["verification"]["verdict"] == "vacuous"
    assert "there is no theorem" in second["error"]


def test_a_generator_gives_the_seed():
    import numpy as np

    path = str(FAULTY / "impossible_hypotheses.py")
    (result,) = runner.verify([path], effort="quick", rng=np.random.default_rng(0))
    assert result.verdict == "vacuous"


FALSE = str(Path(__file__).parent / "unseen_false" / "plain_bool_claim.py")


@pytest.mark.parametrize(
    ("name", "verdicts"),
    [
        ("forks_and_both_answer", {"certified", "inconclusive"}),
        ("leaves_a_child_behind", {"certified"}),
        ("writes_into_the_answers", {"inconclusive"}),
        ("patches_the_engine", {"certified"}),
    ],
)
def test_a_file_can_spoil_its_own_verdict_and_no_other(name, verdicts):
    start = time.monotonic()
    spoiling, false = runner.verify([str(FAULTY / f"{name}.py"), FALSE], effort="quick", workers=1)
    assert spoiling.id == name and spoiling.verdict in verdicts
    assert false.id == "plain_bool_claim" and false.verdict == "refuted"
    assert time.monotonic() - start < 55  # the child that is left behind sleeps for 60 s


def test_what_no_terminal_prints_is_escaped():
    (result,) = runner.verify([str(FAULTY / "half_a_surrogate.py")], effort="quick")
    assert result.title == "half \\ud800 a pair"
    result.to_json().encode()


def test_global_generators_are_set_by_the_seed():
    path = str(FAULTY / "changes_global_generators.py")
    first, second = (runner.verify([path], effort="quick", rng=seed)[0] for seed in (4, 4))
    assert first.evidence == second.evidence
    assert runner.verify([path], effort="quick", rng=5)[0].evidence != first.evidence


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"verification": {}}',
        b'{"nonce": "x", "verification": {}}',
        b'{"nonce": "n"}',
        b'{"nonce": "n", "error": "a", "verification": {}}',
        b'{"nonce": "n", "error": "a"}\n{"nonce": "n", "error": "b"}',
    ],
)
def test_replies_out_of_turn_are_not_believed(line):
    assert runner._parse(line, "n") is None
    assert runner._parse(b'{"nonce": "n", "error": "a"}\n', "n") == {"nonce": "n", "error": "a"}
