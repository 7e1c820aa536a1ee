"""Prepared cases that somebody else wrote: read if they are what the suite writes, refused at once if not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from written_decathlon import write_decathlon

from benchmark.data.store import Store, why_stale
from benchmark.datasets.pipeline import ready_data
from benchmark.vocabulary import DataError


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of five cases, `case0` to `case4`."""
    root = tmp_path_factory.mktemp("decathlon")
    data = write_decathlon(root / "data", [f"case{i}" for i in range(5)])
    return ready_data("msd", data, results=root / "results", n_folds=3).store


@pytest.fixture
def store(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "store"))


Damage = Callable[[Path], object]


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to("moved")


def other(**values: Any) -> Damage:
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def text(content: str) -> Damage:
    return lambda path: path.write_text(content)


STORE: list[tuple[Damage, str]] = [
    (pipe, "is a pipe, no file"),
    (folder, "is a folder, no file"),
    (link, "is a link"),
    (text("{"), "store.json is damaged"),
    (text("[]"), "it holds no mapping"),
    (text('{"a":' * 10**5), "it is too deep"),
    (other(cases=["../../secret"]), "cases.0: Value error, a name has letters"),
    (other(cases=3), "cases: Input should be a valid"),
    (other(identity=[]), "identity: Input should be"),
    (other(identity={"modalities": 3}), "identity.modalities: Input should be|identity: "),
    (other(shiny=1), "shiny: this version does not know the key"),
]
CASE: list[tuple[Damage, str]] = [
    (pipe, "is a pipe, no file"),
    (link, "is a link"),
    (text("null"), "it holds no mapping"),
    (other(case_id="../case1"), "case_id: Value error, a name has letters"),
    (other(case_id="case1"), "case0 holds another case, case1"),
    (other(lesion_ml="much"), "lesion_ml: Input should be a valid number"),
    (other(lesion_ml=-1.0), "lesion_ml: Input should be greater than or equal to 0"),
    (other(patient=["x"]), "patient: Input should be a valid string"),
    (other(geometry=[]), "is not a prepared case"),
    (other(geometry={"native_shape": 3}), "is not a prepared case"),
    (other(findings=[{"files": 3}]), "is not a prepared case"),
    (other(signatures={"FLAIR": []}), "is not a prepared case"),
    (other(inputs=[]), "is not a prepared case"),
]


@pytest.mark.parametrize(("damage", "words"), STORE)
def test_what_is_no_store_is_refused(store: Path, damage: Damage, words: str) -> None:
    damage(store / "store.json")
    with pytest.raises(DataError, match=words):
        Store(store)


@pytest.mark.parametrize(("damage", "words"), CASE)
def test_what_is_no_prepared_case_is_refused(store: Path, damage: Damage, words: str) -> None:
    damage(store / "cases" / "case0" / "case.json")
    with pytest.raises(DataError, match=words):
        _ = Store(store).cases


@pytest.mark.parametrize("damage", [pipe, folder, link, text(""), text("null"), text('{"a":' * 10**5)])
def test_a_case_that_cannot_be_read_is_prepared_again(store: Path, damage: Damage) -> None:
    opened = Store(store)
    case, place = opened.cases["case0"].original(), store / "cases" / "case0"
    assert why_stale(case, place, identity=opened.identity) is None
    damage(place / "case.json")
    assert why_stale(case, place, identity=opened.identity) == "case.json is damaged"


def objects(path: Path) -> None:
    np.save(path, np.array([{}], object), allow_pickle=True)


@pytest.mark.parametrize("damage", [pipe, folder, link, objects, text(""), text("PK\x03\x04")])
def test_an_array_that_is_none_is_refused(store: Path, damage: Damage) -> None:
    case = Store(store).cases["case0"]
    damage(store / "cases" / "case0" / "image.npy")
    with pytest.raises(DataError, match=r"image\.npy is damaged"):
        case.image()


def test_a_sound_store_is_read(store: Path) -> None:
    cases = Store(store).cases
    assert list(cases) == [f"case{i}" for i in range(5)]
    assert cases["case0"].image().dtype == np.float16
