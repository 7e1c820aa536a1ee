"""Results folders of strangers: every reading command over a folder of each trap, and a fuzz of a few more."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz import fuzzing
from fuzz.commands import READ, SECRET, Place, quick, run
from fuzz.folders import GOOD, OTHER, RUNNING, SEARCH, write_sound
from fuzz.fuzzing import fuzzed
from slow_tests import slow_after

from benchmark.files.memory import bounded_memory
from benchmark.files.places import DamagedFileError
from benchmark.files.tables import read_groups, read_scores
from benchmark.results.runs import SCORE_COLUMNS, RunFolder, RunRecord


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound") / "results")


@pytest.fixture(scope="module")
def fuzzed_folder() -> Iterator[Path]:
    with fuzzing.sound() as results:
        yield results


@pytest.fixture
def place(sound: Path, tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    made.prepare(sound)
    with quick():
        yield made


def other(place: Place) -> RunFolder:
    return RunFolder(place.results, OTHER)


def replaced(name: str, content: str) -> Callable[[Place], None]:
    """A file of the second run with another content."""
    return lambda place: (other(place).path / name).write_text(content) and None


def changed(name: str, **values: object) -> Callable[[Place], None]:
    """A JSON file of the results with other values of these keys."""

    def make(place: Place) -> None:
        path = place.results / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    return make


def scored(**values: object) -> Callable[[Place], None]:
    """Scores of the second run with other values in their first row."""

    def make(place: Place) -> None:
        path = other(place).scores_file
        frame = pd.read_parquet(path)
        for column, value in values.items():
            frame.loc[0, column] = value
        frame.to_parquet(path, index=False)

    return make


def linked(name: str, target: str) -> Callable[[Place], None]:
    """A link at this place of the results to something outside of them."""

    def make(place: Place) -> None:
        path = place.results / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.symlink_to(place.outside / target)

    return make


def special(name: str, kind: str) -> Callable[[Place], None]:
    """A file of the second run that is none."""

    def make(place: Place) -> None:
        path = other(place).path / name
        path.unlink()
        path.mkdir() if kind == "folder" else os.mkfifo(path)

    return make


def thirty_million_rows(place: Place) -> None:
    path = other(place).scores_file
    first = pq.read_table(path).slice(0, 1)
    writer = pq.ParquetWriter(path, first.schema, compression="zstd")
    rows = pa.array(np.zeros(10**6, np.int32))
    million = pa.table({name: first.column(name).combine_chunks().take(rows) for name in first.schema.names})
    for _ in range(30):
        writer.write_table(million)
    writer.close()


def planted_grid(place: Place) -> None:
    path = place.results / "grids" / "more-k.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "grid": str(place.outside / "folder")}))


def planted_run(place: Place) -> None:
    path = place.results / "grids" / "more-k.json"
    content = json.loads(path.read_text())
    content["cells"][0]["run_id"] = "../../outside/folder"
    path.write_text(json.dumps(content))


def attempted(**values: object) -> Callable[[Place], None]:
    """The second run's only attempt with other values of these keys."""
    content = json.dumps({"attempts": [{"node": "there", "start": 0.0, **values}]})
    return lambda place: (other(place).path / "attempts.json").write_text(content) and None


FIGURES = "panels/mine-k"


def drawn(**values: object) -> Callable[[Place], None]:
    """The record of the only figure of single cases with other values of these keys."""

    def make(place: Place) -> None:
        path = place.results / FIGURES / "figures.json"
        content = json.loads(path.read_text())
        path.write_text(json.dumps({key: {**picture, **values} for key, picture in content.items()}))

    return make


def figure_elsewhere(place: Place) -> None:
    (place.outside / "mine.png").write_text(SECRET)
    drawn(stems=["../../../outside/mine"])(place)


def piped(name: str) -> Callable[[Place], None]:
    """A pipe in place of a file of the results."""

    def make(place: Place) -> None:
        (place.results / name).unlink()
        os.mkfifo(place.results / name)

    return make


def circular(place: Place) -> None:
    (place.root / "loop").symlink_to("loop")
    changed(f"{RUN}/data.json", scored_on=str(place.root / "loop"))(place)
    changed(f"runs/{GOOD}/data.json", scored_on=str(place.root / "loop"))(place)


DEEP = json.loads('{"a":' * 50 + "1" + "}" * 50)
RUN, CARD = f"runs/{OTHER}", f"searches/{SEARCH}.json"
TRAPS: list[tuple[str, Callable[[Place], None], str, str]] = [
    # A name, how it is made, and of which command what is said.
    ("empty record", replaced("run.json", ""), "status", "run.json is damaged"),
    ("wrong type", changed(f"{RUN}/run.json", steps="many"), "html", "steps: Input should be a valid integer"),
    ("unknown state", changed(f"{RUN}/run.json", state="gone"), "merge", "state: Input should be 'pending'"),
    ("negative time", changed(f"{RUN}/run.json", train_seconds=-1.0), "show other", "greater than or equal to 0"),
    ("another run's", changed(f"{RUN}/run.json", run_id=GOOD), "why other", f"that of another run, '{GOOD}'"),
    ("newer version", changed(f"{RUN}/run.json", shiny=1), "status", "shiny: this version does not know the key"),
    ("odd facts", changed(f"{RUN}/run.json", facts={"versions": [1]}), "why other", "versions: Input"),
    ("deep record", replaced("run.json", '{"a":' * 10**5), "status", "it is too deep"),
    ("deep facts", changed(f"{RUN}/run.json", facts=DEEP), "why other", "32 levels"),
    ("half a character", replaced("run.json", '{"run_id": "\\ud800"}'), "status", "half a character"),
    ("folder as record", special("run.json", "folder"), "status", "run.json is a folder, no file"),
    ("pipe as record", special("run.json", "pipe"), "merge", "run.json is a pipe, no file"),
    ("pipe as scores", special("scores.parquet", "pipe"), "report", "scores.parquet is a pipe, no file"),
    ("Dice of 7", scored(value=7.0), "report", "scores.parquet cannot be believed (dice is 7)"),
    ("infinite Dice", scored(value=float("inf")), "html", "dice is infinite"),
    ("half a lesion", scored(metric="lesions", value=1.5), "why other", "lesions is 1.5"),
    ("negative volume", scored(metric="fpv_ml", value=-1.0), "merge", "fpv_ml is -1"),
    ("empty scores", replaced("scores.parquet", ""), "report", "scores.parquet cannot be read"),
    ("no scores", lambda place: other(place).scores_file.unlink(), "report", "cannot be read (it is missing)"),
    ("thirty million rows", thirty_million_rows, "show other", "it claims 30,000,000 rows"),
    ("text as history", replaced("history.csv", "step,seg\n1,x\n"), "show other", "'seg' is not of numbers"),
    ("history without end", replaced("history.csv", "a,a\n1,2,3\n1,2,3,4\n"), "show other", "csv cannot be read"),
    ("step that is none", replaced("history.csv", "step,seg\nnan,1\n"), "html", "step is not finite"),
    ("list as configuration", replaced("config.yaml", "- 1\n"), "show other", "is not a run's configuration"),
    ("YAML bomb", replaced("config.yaml", "a: &a [1,1]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghij", "bcdefghijk", strict=True)
    )), "why other", "its aliases stand for more than 50,000 values"),
    ("deep YAML", replaced("config.yaml", "a: " + "[" * 10**4), "why other", "more than 50 levels"),
    ("damaged places", replaced("data.json", "[]"), "merge", "data.json is damaged"),
    ("place of a long name", changed(f"{RUN}/data.json", root="/" + "x" * 5000), "merge", "root: Value error, no file"),
    ("place with a long part", changed(f"{RUN}/data.json", splits="/" + "x" * 256), "why other", "no file can have"),
    ("place with a zero", changed(f"{RUN}/data.json", store="/a\0b"), "merge", "store: Value error, no file"),
    ("place that leads to itself", circular, "html", "mine: 2"),
    ("run of a long name", linked("runs/" + "x" * 255, "folder"), "merge", "is a link, or no name of a run"),
    ("damaged heartbeat", lambda place: (place.results / "runs" / RUNNING / "heartbeat.json").write_text("{"),
     "status", "heartbeat.json is damaged"),
    ("attempt without a time", attempted(start="x"), "show other", "attempts.0.start: Input should be a valid number"),
    ("attempt of no date", attempted(start=1e300), "show other", "less than or equal to 100000000000"),
    ("attempt that never ends", attempted(end=float("inf")), "show other", "attempts.0.end: Input should be a finite"),
    ("cause of no words", attempted(end=1.0, cause=3), "show other", "attempts.0.cause: Input should be a valid str"),
    ("attempt of a newer version", attempted(gpu=1), "show other", "attempts.0.gpu: this version does not know"),
    ("attempts elsewhere", linked(f"{RUN}/attempts.json", "secret"), "show other", "attempts.json is a link"),
    ("figures' record as a pipe", piped(f"{FIGURES}/figures.json"), "report", "figures.json is a pipe, no file"),
    ("deep record of figures", lambda place: (place.results / FIGURES / "figures.json").write_text('{"a":' * 10**5)
     and None, "report", "figures.json is damaged (it is too deep)"),
    ("figure of no run", drawn(runs=3), "report", "panels_case00.runs: Input should be a valid array"),
    ("figure elsewhere", figure_elsewhere, "report", "panels_case00.stems.0: Value error, a name has letters"),
    ("figure to a secret", linked(f"{FIGURES}/panels_case00_axial.pdf", "secret"), "report", "axial.pdf is a link"),
    ("figure as a pipe", piped(f"{FIGURES}/panels_case00_axial.png"), "report", "axial.png is a pipe, no file"),
    ("figures elsewhere", linked(FIGURES, "folder"), "report", f"{FIGURES} is a link"),
    ("absolute grid", planted_grid, "all", "grid: Value error, a name has letters"),
    ("run elsewhere", planted_run, "merge", "cells.0.run_id: Value error, a name has letters"),
    ("grid that is a list", lambda place: (place.results / "grids" / "more-k.json").write_text("[]"),
     "status", "it is no grid's manifest"),
    ("log to a secret", linked(f"{RUN}/log.txt", "secret"), "merge", "log.txt is a link, no file"),
    ("pictures elsewhere", linked(f"{RUN}/panels", "folder"), "html", "mine: 2"),
    ("picture of a secret", linked(f"{RUN}/panels/case01.png", "secret"), "html", "mine: 2"),
    ("scores elsewhere", linked(f"{RUN}/scores.parquet", "secret"), "why other", "scores.parquet is a link"),
    ("run elsewhere by link", linked(RUN, "folder"), "merge", f"{OTHER} is a link, or no name of a run"),
    ("part of the results elsewhere", linked("grids", "folder"), "status", "export BENCH_FOLLOW_LINKS=grids"),
    ("report elsewhere", linked("reports/mine", "folder"), "report", "reports/mine is a link"),
    ("page elsewhere", linked("reports/html", "folder"), "html", "no page of an earlier report is in it"),
    ("all elsewhere", linked("reports/mine", "folder"), "all", "reports/mine is a link"),
    ("database of others", changed(CARD, storage="postgresql://127.0.0.1:1/db"), "search", "give it with --storage"),
    ("database to be made", changed(CARD, storage="sqlite:///new.db"), "search", "which is gone"),
    ("journal of others", changed(CARD, storage="/etc/passwd"), "html", "outside of "),
    ("password on a card", changed(CARD, storage=f"postgresql://me:{SECRET}/#@h/db"), "search", "postgresql://me@h/db"),
    ("token on a card", changed(CARD, storage=f"https://h/?token={SECRET}"), "all", "https://h/"),
    ("escape in an error", changed(f"{RUN}/run.json", state="failed", error="\x1b[2J\x07x"), "status", "�[2J"),
    ("escape in a case", scored(case_id="\x1b]0"), "why other", "�]0"),
    ("escape in a profile", changed("grids/more-k.json", profile="\x9b2J\u202e"), "status", "profile �2J�"),
    ("blank error", changed(f"{RUN}/run.json", state="failed", error=" \n"), "status", "no reason given"),
]  # fmt: skip


def is_slow(number: int) -> bool:
    """The page and all reports take seconds; of the other commands, the first traps stand for all."""
    command = TRAPS[number][2]
    return command in ("html", "all") or sum(trap[2] == command for trap in TRAPS[:number]) >= 4


@pytest.mark.parametrize(
    ("make", "command", "words"),
    [
        pytest.param(*trap[1:], id=trap[0], marks=[pytest.mark.slow] if is_slow(number) else [])
        for number, trap in enumerate(TRAPS)
    ],
)
def test_a_trap_is_named_and_harms_nobody(
    place: Place, make: Callable[[Place], None], command: str, words: str
) -> None:
    make(place)
    ended = {name: run(place, name) for name in dict.fromkeys(("status", command))}
    assert [(name, fault) for name, each in ended.items() for fault in each.faults] == []
    assert words in " ".join(ended[command].out.split())
    assert not (place.root / "new.db").exists()


# The page, and all reports, take seconds each.
@pytest.mark.parametrize(
    "command",
    [pytest.param(c, marks=pytest.mark.slow) if c in ("html", "all") else c for c in (*READ, "merge")],
)
def test_every_command_walks_over_a_folder_of_many_traps(place: Place, command: str) -> None:
    for make in (
        planted_grid,
        changed(f"runs/{GOOD}/run.json", facts={"weights_file": "/etc/passwd", "weights_sha256": "x"}),
        linked(f"runs/{GOOD}/log.txt", "secret"),
        linked(f"runs/{GOOD}/panels/case01.png", "secret"),
        linked(f"runs/{GOOD}/without/PET.json", "secret"),
        linked("runs/ffff6666", "folder"),
        linked("runs/gggg7777/run.json", "secret"),
        linked("searches/secret.json", "secret"),
        linked("splits/folder", "folder"),
        linked("reports/claims", "folder"),
        changed(CARD, storage=f"mysql://me:/{SECRET}#@127.0.0.1/db"),
        scored(value=7.0, case_id="\x1b[2J", patient="=1+1"),
        replaced("history.csv", "step\nx\n"),
        replaced("config.yaml", "a: " + "[" * 10**4),
        special("validation.parquet", "pipe"),
    ):
        make(place)
    found = run(place, command)
    assert found.faults == ()
    assert (place.outside / "folder" / "report.md").read_text() == f"mine, {SECRET}\n"


@pytest.mark.parametrize("command", ["status", "why", "report", "html", "merge"])
def test_one_broken_run_is_named_in_one_line_and_stops_no_other(place: Place, command: str) -> None:
    replaced("run.json", "{")(place)
    found = run(place, command)
    lines = [line for line in found.out.splitlines() if "run.json is damaged" in line]
    assert found.faults == ()
    if command != "why":
        assert f"Run {OTHER}: " in lines[0]
        assert f"Remove {other(place).path} and start its grid again." in lines[0]
    shown = {
        "status": ("table" not in found.out and "2 done" in found.out) or "1 done" in found.out,
        "why": "50.00" in found.out,
        "report": (place.results / "reports" / "mine" / "report.md").exists(),
        "html": (place.results / "reports" / "html" / "index.html").exists(),
        "merge": RunFolder(place.root / "merged", GOOD).record_file.exists()
        and not RunFolder(place.root / "merged", OTHER).path.exists(),
    }
    assert shown[command]


def test_names_that_unpack_to_more_than_their_file_says_are_refused(tmp_path: Path) -> None:
    """A name of 100 kB in 100,000 rows is 10 GB, and 9 kB in the file."""
    n = 100_000
    columns = {}
    for name, kind in SCORE_COLUMNS.items():
        word = "x" * 10**5 if name == "case_id" else "dice"
        codes = pa.array(np.zeros(n, np.int32))
        columns[name] = (
            pa.DictionaryArray.from_arrays(codes, [word]) if kind == "string" else pa.array(np.zeros(n, kind))
        )
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table(columns), path, compression="zstd")
    assert path.stat().st_size < 20_000
    with pytest.raises(DamagedFileError, match="cannot be read"):
        read_scores(path, SCORE_COLUMNS, below=tmp_path)
    assert len(read_groups(path, SCORE_COLUMNS, below=tmp_path, over=["case_id"]).values) == n


def test_memory_is_bounded_within_the_block_alone() -> None:
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with bounded_memory(2**28):
        assert np.ones(2**20).sum() == 2**20
        with pytest.raises(MemoryError):
            np.ones(2**27)
    assert resource.getrlimit(resource.RLIMIT_AS) == limits
    assert np.ones(2**27, np.uint8).nbytes == 2**27


def test_groups_of_scores_are_those_of_pandas(sound: Path) -> None:
    folder, over = RunFolder(sound, GOOD), ["split", "region", "metric"]
    groups = folder.groups(over)
    means = folder.scores().groupby(over)["value"].mean().to_dict()
    found = {name: groups.values[groups.codes == n] for n, name in enumerate(groups.names)}
    assert {name: values.mean() for name, values in found.items()} == means
    assert list(found) == sorted(means)
    assert folder.groups([]).names == ((),)


def test_a_report_says_which_run_it_leaves_out_and_shows_the_others(place: Place) -> None:
    scored(value=7.0)(place)
    run(place, "all")
    text = (place.results / "reports" / "mine" / "report.md").read_text()
    assert f"Left out: Run {OTHER} is done, but" in text.replace("\\", "")
    assert "50.00" in text


def test_links_of_the_first_level_are_followed_where_the_user_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place.results / "runs").rename(place.root / "scratch")
    (place.results / "runs").symlink_to(place.root / "scratch")
    assert run(place, "status").code == 2
    monkeypatch.setenv("BENCH_FOLLOW_LINKS", "runs, stores")
    assert run(place, "status").code == 0
    assert "50.00" in run(place, "why").out


@pytest.mark.parametrize("number", slow_after(2, range(12)))
def test_no_mutation_of_a_folder_harms_whoever_reads_it(fuzzed_folder: Path, number: int) -> None:
    found = [(each.mutations, each.command, each.ended.faults) for each in fuzzed(fuzzed_folder, 7, number)]
    assert [each for each in found if each[2]] == []


def test_a_temporary_file_that_goes_while_it_is_looked_at_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever works on a run writes beside its files and renames; others look at the folder meanwhile."""
    folder = RunFolder(tmp_path, "1a2b")
    folder.write_record(RunRecord("1a2b", "running"))
    temporary = folder.path / ".run.json.x.tmp"
    temporary.write_text("")
    real = os.walk

    def gone(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        for found in real(top):
            temporary.unlink(missing_ok=True)
            yield found

    monkeypatch.setattr(os, "walk", gone)
    folder.refuse_odd_files()
    assert not temporary.exists()


def test_a_search_whose_best_run_does_not_say_its_data_is_reported_without_a_grid_of_it(place: Place) -> None:
    for path in (place.results / "runs").glob("*/config.yaml"):
        if path.is_file() and not path.is_symlink():
            path.write_text("".join(line for line in path.open() if not line.startswith("dataset:")))
    ended = run(place, "search")
    assert not ended.faults
    assert "does not say dataset" in " ".join(ended.out.split())
