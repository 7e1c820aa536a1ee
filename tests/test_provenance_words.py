"""A trace in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from written_runs import V3, manifest_of, write_run

from benchmark.results.runs import DataPlaces, RunFolder
from reports.evidence.configs import Difference
from reports.evidence.evidence import Commit, FileEvidence
from reports.provenance.trace import trace
from reports.provenance.tree import MlflowLink, RunTrace
from reports.provenance.words import (
    commit_text,
    defaults_text,
    difference_text,
    file_text,
    link_text,
    number_words,
    run_words,
)

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def run(tmp_path: Path) -> RunTrace:
    """A run of a machine with a name."""
    facts = {"host": "myhost", "cpu": "Xeon", "git_commit": f"{DIGEST}+changes", "scores_sha256": DIGEST}
    write_run(tmp_path / "secret", "a", [0.5], facts=facts)
    places = (Path("/nowhere/private") / name for name in ("root", "store", "scored_on", "splits.json"))
    RunFolder(tmp_path / "secret", "a").write_data(DataPlaces(*places))
    found = trace(tmp_path / "secret", manifest_of((V3, 0, 0, "a")), "table2:v3/shuffle/5", verify=False)
    assert dict(number_words(found))["from the rows"].startswith("50.000000 (runs: 1, case rows: 1")
    return found.runs[0]


def test_a_run_tells_its_machine_and_folders_only_if_they_are_wanted(run: RunTrace) -> None:
    told = dict(run_words(run))
    assert told["machine"] == "cpu Xeon, host myhost"
    assert told["folder"] == run.folder
    assert told["code"] == "commit 0123456789ab with changes that no commit holds"
    without = list(run_words(run, places=False, digits=None))
    text = " ".join(text for _, text in without)
    assert not any(word in text for word in ("myhost", "private", "secret"))
    assert ("code", f"commit {DIGEST} with changes that no commit holds") in without


def test_a_file_is_told_with_what_was_recorded_of_it(run: RunTrace) -> None:
    assert file_text(run.scores, "written") == (
        "scores.parquet (sha256 when written: 0123456789ab), not looked at"
    )
    changed = FileEvidence("a/last.safetensors", DIGEST, "f" * 64, "changed")
    assert file_text(changed, "scored") == (
        "last.safetensors, sha256 ffffffffffff, NOT the file that was scored, whose sha256 is 0123456789ab"
    )
    gone = replace(changed, state="missing")
    assert file_text(gone, "scored") == "last.safetensors is gone (sha256 when scored: 0123456789ab)"


def test_settings_commits_and_links_in_words() -> None:
    found = Difference("training.steps", 120, (None, 0.125))
    assert difference_text(found) == "training.steps: 120, there none or 0.125"
    assert defaults_text([found, found]) == "training.steps 120 (none); training.steps 120 (none)"
    assert commit_text(Commit("unknown", False)) == "unknown"
    assert link_text(MlflowLink("http://a", "start it")) == "http://a (start it)"
    assert link_text(MlflowLink("", "not delivered")) == "not delivered"
