"""What a run writes down so that its numbers can be checked later."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

from finished import finished, prepared, split_evenly

from benchmark.data.splits import read_stored_splits
from benchmark.data.store import Store, data_fingerprint
from benchmark.finished.reopened import ReopenedRun
from benchmark.finished.rescoring import rescore
from benchmark.results.evidence import PROTOCOL_VERSION, sha256_of

MIRROR = {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3}


def mirror(root: Path, results: Path, **training: object) -> ReopenedRun:
    return finished(
        root,
        results,
        "mirror_unet",
        MIRROR,
        training=training,
        version="v3",
        corruption="none",
        shared_layers=[4],
        channels=[2, 2, 2, 2, 2],
    )


def test_the_digest_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_run_notes_protocol_weights_scores_and_data(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path)
    facts = run.record.facts
    assert facts["protocol"] == PROTOCOL_VERSION
    assert facts["weights_file"] == "last.safetensors"
    assert facts["weights_sha256"] == hashlib.sha256(run.folder.weights_file.read_bytes()).hexdigest()
    assert facts["scores_sha256"] == hashlib.sha256(run.folder.scores_file.read_bytes()).hexdigest()
    assert facts["precision"] == "float32"
    data = prepared(tcia_root, tmp_path)
    parts = facts["data"]
    assert parts["store"] == parts["scored_on"] == Store(data.store).fingerprint
    assert parts["splits"] == read_stored_splits(data.splits).fingerprint
    together = data_fingerprint(parts["store"], parts["splits"], scored_on=parts["scored_on"])
    assert together == run.record.data_fingerprint


def test_where_the_best_weights_are_scored_these_are_noted(tcia_root: Path, tmp_path: Path) -> None:
    run = mirror(tcia_root, tmp_path, checkpoint="best", validations=2, steps=4)
    assert run.record.facts["weights_file"] == "best.safetensors"
    assert run.record.facts["weights_sha256"] == sha256_of(run.folder.best_weights_file)


def test_a_run_of_an_earlier_version_gets_its_protocol_when_its_scores_are_reproduced(
    tcia_root: Path, tmp_path: Path
) -> None:
    run = mirror(tcia_root, tmp_path)
    noted = dict(run.record.facts)
    new = ("protocol", "weights_file", "weights_sha256", "scores_sha256", "precision", "data")
    older = replace(run.record, facts={key: value for key, value in noted.items() if key not in new})
    run.folder.write_record(older)
    assert rescore(replace(run, record=older)).exact
    assert json.loads(run.folder.record_file.read_text())["facts"] == noted

    # Other weights give other scores: they confirm nothing.
    run.folder.write_record(older)
    assert not rescore(split_evenly(run, "pet")).exact
    assert run.folder.record() == older
