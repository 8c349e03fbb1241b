"""Worker processes: what hangs is stopped, what dies takes nobody along, what prints does not mix with the answers."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
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
    assert (first["theorem"], second["theorem"]) == (path, "nope")
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


def test_what_differs_between_processes_is_fixed_and_stdin_is_empty():
    path = str(FAULTY / "shows_hidden_state.py")
    first, second = (runner.verify([path], effort="quick", rng=seed)[0] for seed in (4, 4))
    assert first.title == second.title and first.title.endswith(" ''")


NAME = "folder/some.py"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 30000,
        b'{"verification": {}}',
        b'{"nonce": "x", "theorem": "folder/some.py", "verification": {}}',
        b'{"nonce": "n", "theorem": "folder/other.py", "verification": {}}',
        b'{"nonce": "n", "verification": {}}',
        b'{"nonce": "n", "theorem": "folder/some.py"}',
        b'{"nonce": "n", "theorem": "folder/some.py", "error": "a", "verification": {}}',
        b'{"nonce": "n", "theorem": "folder/some.py", "error": "a"}\n{"nonce": "n", "theorem": "folder/some.py"}',
        b'{"nonce": "n", "theorem": "folder/some.py", "error": "a"}\n.',
    ],
)
def test_replies_out_of_turn_are_not_believed(line):
    assert runner._parse(line, "n", NAME) is None
    genuine = {"nonce": "n", "theorem": NAME, "error": "a"}
    assert runner._parse(json.dumps(genuine).encode() + b"\n", "n", NAME) == genuine


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("never_ends_its_line", "it did not end within its budget of 2 s"),
        ("floods_the_answers", "its process answered out of turn"),
        ("nests_an_answer", "its process answered out of turn"),
    ],
)
def test_answers_are_bounded_in_time_size_and_depth(name, reason, monkeypatch):
    monkeypatch.setattr(runner, "LONGEST_REPLY", 2**20)
    start = time.monotonic()
    (result,) = runner.verify([str(FAULTY / f"{name}.py")], effort="quick", budget_seconds=2.0)
    assert result.verdict == "inconclusive" and result.reason.endswith(reason)
    # A process may take a while to start on a busy machine; one that is listened to for ever exceeds any bound.
    assert time.monotonic() - start < 30


def _wait(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing happened in time"
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_run_however_it_ends(number, tmp_path):
    beats = tmp_path / "beats"
    code = (
        "import signal, sys; from provable.theorems import runner; "
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runner.verify(sys.argv[1:], effort='deep')"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(FAULTY / "beats_without_end.py")],
        env={**os.environ, "PROVABLE_TEST_BEATS": str(beats)},
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(lambda: beats.exists() and {"parent", "child"} <= set(beats.read_text().split()))
        run.send_signal(number)
        assert run.wait(timeout=10.0) != 0
    finally:
        run.kill()
        run.wait()

    def still():
        before = beats.stat().st_size
        time.sleep(0.5)  # 25 beats
        return beats.stat().st_size == before

    _wait(still, seconds=10.0)


@pytest.fixture
def entry_points(tmp_path, monkeypatch):
    """Two registered theorems: one hangs when it is imported, one replaces the engine's judgement in its process."""
    folder = tmp_path / "outside-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[provable.theorems]\noutside.hangs = outside_hangs\noutside.patches = outside_patches\n"
    )
    (tmp_path / "outside_hangs.py").write_text("while True:\n    pass\n")
    (tmp_path / "outside_patches.py").write_text(
        "from provable.theorems import verification\n"
        "verification._judge = lambda entry, findings: ('vacuous', 'patched')\n" + Path(TRUE).read_text()
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


TRUE = str(FAULTY / "prints_on_stdout.py")


@pytest.mark.usefixtures("entry_points")
def test_theorems_of_entry_points_are_loaded_in_their_own_process_alone():
    assert runner.select_theorems(["outside"]) == ["outside.hangs", "outside.patches"]
    names = ["outside.patches", "foundations.gram_identity"]
    patched, own = runner.verify(names, effort="quick", workers=1)
    assert (patched.verdict, patched.reason) == ("vacuous", "patched")
    assert own.as_expected
    (hanging,) = runner.verify(["outside.hangs"], effort="quick", budget_seconds=2.0)
    assert hanging.verdict == "inconclusive" and not hanging.as_expected
    assert hanging.reason.endswith("it did not end within its budget of 2 s")
    assert not {"outside_hangs", "outside_patches"} & sys.modules.keys()


def test_no_workers_are_refused():
    with pytest.raises(InputError, match="workers is 0; at least one worker is needed"):
        runner.verify([TRUE], effort="quick", workers=0)


def test_file_names_are_taken_as_they_are(tmp_path):
    with pytest.raises(InputError, match="there is no such file"):
        runner.select_theorems(["a" * 300 + ".py"])
    path = tmp_path / os.fsdecode(b"half\xff.py")
    try:
        path.write_text("import os\n\nos._exit(3)\n")
    except OSError:
        pytest.skip("the file system takes names in UTF-8 alone")
    (result,) = runner.verify([str(path)], effort="quick")
    assert result.id == "half\\udcff" and result.reason.endswith("its process died")
    result.to_json().encode()
