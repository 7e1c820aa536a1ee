"""A small results folder with a file of every kind that reading commands read."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna
from written_pages import png
from written_runs import methods_manifest, score_rows, write_failure, write_scores

from benchmark.config import run_config
from benchmark.data.prepare import Geometry
from benchmark.data.readers.phantom import SPEC
from benchmark.data.splits import Fold, Splits
from benchmark.data.store import preparation_identity
from benchmark.files.writing import write_json
from benchmark.registry import build_method
from benchmark.results.attempts import begin, end
from benchmark.results.manifests import write_manifest
from benchmark.results.runs import DataPlaces, Heartbeat, RunFolder, RunRecord, WithoutFacts
from benchmark.scoring.projections import Projections
from benchmark.search.attributes import DEFINITION, MEANS, RUN
from benchmark.search.cards import SearchCard
from benchmark.search.storage import journal_file, open_storage
from benchmark.training.checkpoint import save_weights

GOOD, OTHER, THIRD, RUNNING = "aaaa1111", "bbbb2222", "cccc3333", "dddd4444"
SEARCH = "theta-12345678"
STORE = "stores/phantom-1"
SETTINGS = {
    "dataset": "phantom",
    "method": "mirror_unet",
    "method_args": {"version": "v1", "channels": [2, 4, 4, 4, 4]},
    "loss_weights": {"rec_ct": 1e-4, "seg": 0.5},
    "training": {"patch_size": [16, 16, 16]},
}


def write_sound(results: Path) -> Path:
    """A grid with two finished runs, one that failed and one that runs; another; a search of two trials."""
    for number, run_id in enumerate((GOOD, OTHER, THIRD)):
        _write_run(results, run_id, 0.5 + number / 10)
    write_failure(results, "eeee5555", "memory", error="CUDA out of memory")
    running = RunFolder(results, RUNNING)
    running.write_record(RunRecord(RUNNING, "running"))
    running.write_heartbeat(Heartbeat("train", 1, 2, 0.5, None, 1, "elsewhere", "cpu", 1.0))
    cells = (("A", 0, 0, GOOD), ("B", 0, 0, OTHER), ("C", 0, 0, "eeee5555"), ("C", 0, 1, RUNNING))
    write_manifest(results, methods_manifest("mine", *cells))
    write_manifest(results, methods_manifest("more", ("A", 0, 0, GOOD), ("D", 0, 0, THIRD)))
    _write_search(results)
    _write_store(results / STORE)
    figures = results / "panels" / "mine-k"
    figures.mkdir(parents=True)
    (figures / "panels_case00_axial.png").write_bytes(png())
    picture = {"title": "Case case00", "stems": ["panels_case00_axial"], "runs": [GOOD]}
    (figures / "figures.json").write_text(json.dumps({"panels_case00": picture}))
    splits = Splits((Fold(("t",), ("v",), ("case00", "case01")),), 0, "drawn", {})
    write_json(results / "splits" / "phantom-1" / "splits.json", splits.to_json())
    return results


def _write_run(results: Path, run_id: str, dice: float) -> None:
    metrics = {"dice": [dice, 0.5], "fpv_ml": [1.0, 2.0], "fnv_ml": [0.0, 1.0], "lesions": [2.0, 1.0]}
    rows = score_rows(run_id, {"": metrics})
    facts = {"cpu": "a processor", "versions": {"torch": "2"}, "protocol": 1, "data": {"store": "s"}}
    write_scores(results, run_id, [rows], train_seconds=60.0, steps=3, facts=facts)
    folder = RunFolder(results, run_id)
    folder.write_validation(rows.assign(split="validation"))
    folder.write_config(run_config(SETTINGS, source="fuzz").model_dump(mode="json"))
    folder.write_history([{"step": n, "seconds": n, "seg": 1 / n, "val_dice": n / 10} for n in (1, 2, 3)])
    move_data(results, run_id)
    folder.write_without(rows, WithoutFacts("CT", "zeros", {"": {"case00": 3, "case01": 0}}))
    pictures = Projections("PET", ["tumor"])
    pictures.add(np.ones((4, 5), np.uint8), reading="", case_id="case00", region="tumor")
    pictures.write(folder.projections_file)
    method = build_method(
        SETTINGS["method"],
        SETTINGS["method_args"],
        spec=SPEC,
        patch_size=(16, 16, 16),
        loss_weights=SETTINGS["loss_weights"],
    )
    save_weights(method, folder.weights_file)
    folder.log_file.write_text("trained\n")
    folder.panels.mkdir()
    (folder.panels / "case00.png").write_bytes(png())
    (folder.panels / "case00.json").write_text("{}")
    begin(folder)
    end(folder, "done")


def _write_search(results: Path) -> None:
    journal = journal_file(results, SEARCH)
    storage = open_storage(str(journal))
    study = optuna.create_study(study_name=SEARCH, storage=storage, direction="maximize")
    definition = {
        "name": "theta",
        "choices": {},
        "numbers": {"theta": {"low": 0.0, "high": 1.0, "log": False}},
        "objectives": {"dice": "maximize"},
        "constraints": {},
        "paper": {"theta": 0.3},
        "dataset": "phantom",
        "profile": "demo",
        "fold": 0,
        "sampler": "tpe",
        "pruner": "none",
        "seed": 0,
        "created": 1.0,
    }
    study.set_user_attr(DEFINITION, definition)
    for run_id, value in ((GOOD, 0.5), (OTHER, 0.6)):
        trial = study.ask({"theta": optuna.distributions.FloatDistribution(0.0, 1.0)})
        trial.set_user_attr(RUN, run_id)
        trial.set_user_attr(MEANS, {"dice": value})
        study.tell(trial, value)
    card = SearchCard("theta", SEARCH, journal.name, False, 1.0)
    (results / "searches" / f"{SEARCH}.json").write_text(json.dumps(asdict(card)))


def _write_store(store: Path) -> None:
    """Two cases without their arrays: who opens them finds them changed since the runs were planned."""
    preparation = SPEC.preparation_at((4.0, 4.0, 5.0))
    identity = preparation_identity(SPEC, preparation)
    for number in range(2):
        case_id, path = f"case{number:02d}", str(store / "image.nii.gz")
        affine = tuple(map(tuple, np.diag([4.0, 4.0, 5.0, 1.0]).tolist()))
        geometry = Geometry((4, 4, 4), affine, (4, 4, 4), (4.0, 4.0, 5.0), (0, 0, 0), (4, 4, 4))
        entry = {"path": path, "size": 1, "mtime_ns": 1, "hash": "x"}
        content = {
            "case_id": case_id,
            "patient": case_id,
            "lesion_ml": 1.0,
            "geometry": {**asdict(geometry), "native_header": ""},
            "identity": identity,
            "inputs": dict.fromkeys(("CT", "PET", "label"), entry),
        }
        write_json(store / "cases" / case_id / "case.json", content)
    write_json(store / "store.json", {"identity": identity, "cases": ["case00", "case01"]})


def move_data(results: Path, run_id: str) -> None:
    """Let a run's data lie in this folder."""
    store, splits = results / STORE, results / "splits" / "phantom-1" / "splits.json"
    RunFolder(results, run_id).write_data(DataPlaces(results, store, store, splits))


def move_database(results: Path, *, artifacts: Path) -> None:
    """Let MLflow's database say that runs have their files in this folder."""
    with closing(sqlite3.connect(results / "mlflow.db")) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'bench'", (artifacts.as_uri(),)
        )
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", (artifacts.as_uri(),)
        )
