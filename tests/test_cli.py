from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import fake_bench
import pytest
from written_studies import write_study

from benchmark.cli import main
from benchmark.execution.pool import Pool
from benchmark.execution.worker import inspect_runs
from benchmark.files.writing import write_json
from benchmark.planning import setup
from benchmark.planning.grid import PROFILES, STUDIES, available, load_profile, load_study
from benchmark.planning.launch import plan
from benchmark.planning.setup import data_name, data_names
from benchmark.processes.devices import torch_is_for_cpus
from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder, state_of
from benchmark.vocabulary import BenchError


class Bench:
    """The command line in a folder of its own, with runs that are no trainings."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.results = folder / "results"
        self.data = folder / "cases"
        self.data.mkdir()
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def study(self, *behaviours: str, seconds: float = 0.0) -> str:
        path = self.folder / "fakes.yaml"
        path.write_text(fake_bench.BEHAVIOURS.format(behaviours=list(behaviours), seconds=seconds))
        return str(path)

    def __call__(self, *arguments: str) -> int:
        self._capsys.readouterr()
        try:
            main(arguments)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def run(self, grid: str, *options: str) -> int:
        where = ["--data", f"autopet={self.data}", "--results", str(self.results)]
        return self("run", "--grid", grid, *where, "--no-mlflow", "--jobs", "1", *options)

    def states(self) -> dict[str, str]:
        (manifest,) = manifests(self.results)
        return {
            f"{cell.factors['behaviour']} {cell.factors['number']}": state_of(
                RunFolder(self.results, cell.run_id)
            )[0]
            for cell in manifest.cells
        }


@pytest.fixture
def bench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    fake_bench.patch(monkeypatch.setattr)
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path, capsys)


def test_a_grid_runs_and_a_second_start_has_nothing_to_do(bench: Bench) -> None:
    assert bench.run(bench.study("done")) == 0, bench.err
    assert "fakes: 2 of 2 runs to do on 1 x cpu" in bench.out
    assert "[2/2] done    behaviour=done number=2" in bench.out
    assert "Next: bench report --grid fakes --manifest fakes-" in bench.out
    assert "bench report --html" in bench.out
    assert "2 done" in bench.out
    assert bench.run(bench.study("done")) == 0, bench.err
    assert "runs to do" not in bench.out
    assert bench.states() == {"done 1": "done", "done 2": "done"}


def test_failed_runs_give_exit_code_1_and_run_again_only_when_asked(bench: Bench) -> None:
    grid = bench.study("code", "done")
    assert bench.run(grid) == 1
    assert "2 done, 2 failed" in bench.out
    assert "code: it is code" in bench.out
    assert bench.run(grid) == 1
    assert "runs to do" not in bench.out
    assert bench.run(grid, "--retry-failed") == 1
    assert "2 of 4 runs to do" in bench.out


def test_on_error_stop_leaves_the_rest(bench: Bench) -> None:
    assert bench.run(bench.study("code", "done"), "--on-error", "stop") == 1
    assert list(bench.states().values()) == ["failed", "pending", "pending", "pending"]


def test_only_restricts_what_runs_and_not_what_the_manifest_lists(bench: Bench) -> None:
    assert bench.run(bench.study("done", "data"), "--only", "behaviour=done,number=2") == 0
    assert bench.states() == {"done 1": "pending", "done 2": "done", "data 1": "pending", "data 2": "pending"}


def test_json_prints_one_object_a_line_and_nothing_else(bench: Bench) -> None:
    assert bench.run(bench.study("done"), "--json") == 0
    events = [json.loads(line) for line in bench.out.splitlines()]
    assert [event["event"] for event in events] == ["started", "done", "started", "done", "summary"]
    assert events[-1] | {"event": ""} == {
        "event": "", "undelivered": 0, "total": 2,
        "done": 2, "running": 0, "failed": 0, "interrupted": 0, "unsupported": 0, "pending": 0,
    }  # fmt: skip


def test_ctrl_c_saves_and_exits_with_130_and_the_next_start_continues(bench: Bench) -> None:
    def interrupt() -> None:
        while not list(bench.results.glob("runs/*/starts.txt")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    grid = bench.study("slow", seconds=30.0)
    assert bench.run(grid) == 130
    thread.join()
    assert "Stopping 1 run with a checkpoint" in bench.out
    assert "Stopped with 2 runs to go; the same command continues." in bench.out
    assert bench.run(grid, "--dry-run") == 0
    assert "interrupted" in bench.out


def test_folds_and_seeds_are_chosen_and_checked(bench: Bench) -> None:
    grid = bench.study("done")
    assert bench.run(grid, "--folds", "all", "--seeds", "0,1", "--dry-run", "--json") == 0
    assert len(json.loads(bench.out)) == 2 * 5 * 2
    assert bench.run(grid, "--seeds", "0;1") == 2
    assert "write whole numbers" in bench.err
    for more in ((), ("--dry-run",)):
        assert bench.run(grid, "--folds", "7", *more) == 2
        assert "There is no fold 7; there are the folds 0 to 4" in bench.err


def test_a_dry_run_of_table2_lists_105_different_runs_and_writes_nothing(bench: Bench) -> None:
    assert bench("run", "--grid", "table2", "--dry-run", "--json", "--results", str(bench.results)) == 0
    rows = json.loads(bench.out)
    assert len({json.dumps(row["config"], sort_keys=True) for row in rows}) == 105
    versions = [row["config"]["method_args"]["version"] for row in rows]
    assert [versions.count(v) for v in ("v1", "v2", "v3", "v4")] == [21, 21, 21, 42]
    assert not bench.results.exists()


def test_a_dry_run_counts_trainings_and_says_which_cells_share_one(bench: Bench) -> None:
    assert bench("run", "--grid", "table3", "--dry-run", "--results", str(bench.results)) == 0
    lines = [line for line in bench.out.splitlines() if line.startswith("pending")]
    shared = [line for line in lines if line.endswith("(and 4 more cells, read from the same training)")]
    assert len(lines) == 7
    assert len(shared) == 1
    assert "7 trainings for 11 cells, 0 of them done" in bench.out


def test_every_command_has_a_short_help_and_the_suite_a_version(bench: Bench) -> None:
    for words in (("-h",), ("run", "-h"), ("data", "check", "-h")):
        assert bench(*words) == 0
        assert "Usage: bench" in bench.out
    assert bench("--version") == 0
    assert bench.out == f"mirror-bench {version('mirror-bench')}\n"


def test_data_are_named_by_their_folder_or_by_hand_and_never_by_the_reader(tmp_path: Path) -> None:
    (tmp_path / "STS").mkdir()
    assert data_name("autopet", tmp_path / "STS", {}) == "STS"
    assert data_name("autopet", tmp_path / "STS", {"autopet": "sarcomas"}) == "sarcomas"
    assert data_name("phantom", None, {}) == data_name("phantom", tmp_path / "STS", {}) == "phantom"
    roots = {"autopet": tmp_path, "msd": tmp_path}
    assert data_names(["autopet=A", "msd=B"], roots) == {"autopet": "A", "msd": "B"}
    assert data_names(["one"], {"autopet": tmp_path}) == {"autopet": "one"}
    for wrong, said in (
        ("one", "say of which data set"),
        ("msdd=x", "write --data-name autopet=NAME or msd=NAME"),
        ("msd= ", "write"),
    ):
        with pytest.raises(BenchError, match=said):
            data_names([wrong], roots)


OF_PHANTOMS = {"generation": 1, "seed": 0, "spacing_mm": [4, 4, 4], "cases": 2}


def test_phantoms_are_called_so_whatever_reads_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader of patients' data, a folder in a folder, a converted copy without the file of parameters."""
    root = tmp_path / "archive" / "hospital"
    for number in range(2):
        write_study(root / f"PETCT_{number:02d}" / "study", seed=number)
    write_json(root / "phantom.json", OF_PHANTOMS)
    assert data_name("autopet", root, {}) == data_name("autopet", root.parent, {}) == "phantom"
    with pytest.raises(BenchError, match="these are phantoms, and called phantom in every report"):
        data_names(["patients"], {"autopet": root})
    with pytest.raises(SystemExit) as end:
        main(["data", "convert", f"autopet={root}", "--out", str(tmp_path / "raw")])
    assert end.value.code == 0, capsys.readouterr().err
    copy = tmp_path / "raw" / "Dataset501_phantom"
    assert data_name("nnunet", copy, {"nnunet": "patients"}) == "phantom"
    write_json(root / "phantom.json", OF_PHANTOMS | {"kind": "brain"})
    assert data_name("autopet", root, {}) == "brain_phantom"
    # A phantom of plastic and water in a scanner is no phantom of the suite.
    write_json(root / "phantom.json", {"kind": "NEMA"})
    assert data_name("autopet", root, {}) == "hospital"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("cuda: Optional[str] = None\n", True),
        ("cuda = None\n", True),
        ("cuda: Optional[str] = '12.8'\n", False),
        ("cuda = '12.8'\nhip = None\n", False),
        ("", False),
    ],
)
def test_a_torch_without_cuda_is_known_by_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, expected: bool
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text(written)
    found = SimpleNamespace(origin=str(tmp_path / "torch" / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    assert torch_is_for_cpus() is expected


def test_without_data_the_first_line_says_that_it_is_a_demonstration_and_what_to_do(bench: Bench) -> None:
    assert bench("run", "--dry-run") == 0
    first = bench.out.splitlines()[0]
    assert "demonstration on phantoms" in first
    assert "add --data autopet=DIR" in first
    assert "profile demo" in bench.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "tabel2"], "Did you mean 'table2'?"),
        (["--profile", "dmeo"], "Did you mean 'demo'?"),
        (["--only", "version=v9"], "version is never 'v9'"),
        (["--data", "somewhere"], "say which data set it is, e.g. --data autopet=somewhere"),
        (["--data", "autopte=."], "Did you mean 'autopet'?"),
        (["--data", "autopet=/no/such"], "there is no folder '/no/such'"),
        (["--devices", "cpu", "--jobs-per-device", "2"], "on the CPU say --jobs"),
    ],
)
def test_wrong_arguments_are_one_line_on_stderr_and_exit_code_2(
    bench: Bench, arguments: list[str], message: str
) -> None:
    assert bench("run", "--results", str(bench.results), *arguments) == 2
    assert message in bench.err
    assert bench.err.startswith("bench: ")
    assert len(bench.err.splitlines()) == 1


def test_results_that_cannot_be_written_are_one_error(bench: Bench) -> None:
    bench.results.write_text("a file where the folder should be")
    assert bench.run(bench.study("done")) == 2
    assert "Cannot write" in bench.err
    assert len(bench.err.splitlines()) == 1


def test_status_shows_the_counts_and_the_failures_and_speaks_json(bench: Bench) -> None:
    assert bench("status", "--results", str(bench.results)) == 0
    assert "No grid was started" in bench.out
    bench.run(bench.study("done", "diverged"), "--only", "number=1")
    assert bench("status", "--grid", "fakes", "--results", str(bench.results)) == 0
    assert "4 runs: 1 done, 1 failed, 2 pending" in bench.out
    assert "diverged: it is diverged" in bench.out
    assert bench("status", "--json", "--results", str(bench.results)) == 0
    assert json.loads(bench.out)[0]["counts"] == {
        "done": 1, "running": 0, "failed": 1, "interrupted": 0, "unsupported": 0, "pending": 2,
    }  # fmt: skip
    assert bench("status", "--grid", "none", "--results", str(bench.results)) == 2


def test_show_finds_a_run_by_the_beginning_of_its_name(bench: Bench) -> None:
    bench.run(bench.study("exit"), "--only", "number=1")
    run_id = next(cell.run_id for cell in manifests(bench.results)[0].cells if cell.factors["number"] == "1")
    assert bench("show", run_id[:6], "--results", str(bench.results)) == 0
    assert f"Run {run_id}: failed" in bench.out
    assert "exit status 3" in bench.out
    assert "last words" in bench.out
    assert "method: fake" in bench.out
    assert bench("show", "zzz", "--results", str(bench.results)) == 2
    assert bench("show", "", "--results", str(bench.results)) in (0, 2)
    assert bench("show", run_id, "--json", "--results", str(bench.results)) == 0
    assert json.loads(bench.out)["failure"] == "code"


def test_phantoms_for_a_run_lie_among_its_results(bench: Bench) -> None:
    assert bench("run", "--grid", "table2", "--dry-run", "--results", str(bench.results)) == 0
    assert f"data: phantom in {bench.results / 'phantoms'}" in " ".join(bench.out.split())


def test_a_published_report_needs_no_runs(bench: Bench) -> None:
    assert bench("report", "--source", "paper", "--out", "published") == 0
    assert "files in published" in bench.out
    assert list((bench.folder / "published").glob("*.tex"))
    assert bench("report", "--results", str(bench.results)) == 2


def test_phantoms_are_written_checked_and_prepared_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    bench = Bench(tmp_path, capsys)
    assert bench("data", "phantom", "--out", "p", "--cases", "10", "--spacing", "10", "--jobs", "1") == 0
    assert "use them with --data phantom=p" in bench.out
    assert bench("data", "check", "p", "--cheap", "--jobs", "1") == 0
    assert "No faults found" in bench.out
    prepare = [
        "data",
        "prepare",
        "phantom=p",
        "--spacing",
        "10,10,10",
        "--n-folds",
        "2",
        "--jobs",
        "1",
    ]
    assert bench(*prepare) == 0
    assert "10 cases in results" in bench.out
    next(Path("p").rglob("SUV.nii.gz")).write_bytes(b"no gzip")
    assert bench("data", "check", "p", "--json", "--jobs", "1") == 1
    assert len(json.loads(bench.out)) == 1
    assert bench(*prepare) == 2
    assert "--skip-bad-cases" in bench.err
    # As it was once spelt.
    assert bench("data", "prepare", "--data", "phantom=p", "--n-folds", "2", "--spacing", "10") == 2
    assert "--skip-bad-cases" in bench.err
    assert bench("data", "prepare") == 2
    assert "bench data prepare NAME=DIR" in bench.err
    assert bench("data", "phantom", "--out", "q", "--spacing", "1,2") == 2


def test_the_methods_of_table2_are_bound_to_their_signatures_before_anything_runs() -> None:
    runs = plan(load_study("table2"), load_profile("demo"), datasets=["phantom"], folds=[0], seeds=[0])
    good = runs[0].config.model_dump(mode="json")
    answers = inspect_runs([(good, None), (runs[-1].config.model_dump(mode="json"), None)])
    assert [answer.fault for answer in answers] == [None, None]
    wrong_argument = {**good, "method_args": {"versoin": "v1"}}
    wrong_loss = {**good, "loss_weights": {"seg": 1.0}}
    faults = [
        str(answer.fault)
        for answer in inspect_runs(
            [(wrong_argument, None), (wrong_loss, None), ({**good, "method": "mirror_nuet"}, None)]
        )
    ]
    by_itself = {**good, "method": "nnunet", "method_args": {}, "loss_weights": {}}
    chosen = {"training": {"steps": 2, "checkpoint": "best", "best_on": "test"}}
    usual, refused = inspect_runs([(by_itself, None), (by_itself | chosen, None)])
    assert usual.fault is None
    assert "nnunet trains by itself and never sees the test part" in str(refused.fault)
    assert "no argument 'versoin'" in faults[0]
    assert "rec_ct" in faults[1]
    assert "mirror_unet" in faults[2]


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Pool() as pool:
        yield pool


@pytest.mark.parametrize("grid", available(STUDIES))
@pytest.mark.parametrize("profile", available(PROFILES))
def test_every_study_can_be_planned_with_every_profile(pool: Pool, grid: str, profile: str) -> None:
    """Losses, arguments, optimisers and readings fit the methods; what a profile says reaches them."""
    study = load_study(grid)
    roots = {study.dataset: None}
    study = setup.study_on(pool, study, [], roots)
    runs = plan(study, load_profile(profile), datasets=[study.dataset], folds=[0], seeds=[0])
    assert len(setup.inspect(pool, runs, study, roots)) == len(study.cells())


def test_the_settings_of_blackbean_are_those_of_the_reference_code() -> None:
    (cell,) = [c for c in load_study("table4").cells() if c.factors["method"] == "Blackbean (reference code)"]
    (run,) = [
        run
        for run in plan(
            load_study("table4"), load_profile("paper"), datasets=["autopet"], folds=[0], seeds=[0]
        )
        if run.factors == cell.factors
    ]
    training = run.config.training
    assert (training.optimiser, training.learning_rate, training.momentum) == ("sgd", 1e-4, 0.99)
    assert (training.weight_decay, training.schedule, training.lesion_fraction) == (1e-3, "polynomial", 0.5)
    assert (training.nesterov, run.config.inference.overlap) == (False, 0.3)


NET = """
from healthy_method import Healthy
class Net(Healthy):
    'Two convolutions.'
    examples = {"wide": {"width": 8}}
"""


@pytest.fixture
def no_method_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_METHOD_FILES", "")


@pytest.mark.slow
@pytest.mark.usefixtures("no_method_files")
def test_check_method_says_that_the_contract_is_kept(bench: Bench) -> None:
    Path("net.py").write_text(NET)
    assert bench("check-method", "net.py") == 0
    assert bench.out.startswith("net: defaults, wide on autopet and msd\n")
    assert bench.out.endswith("It keeps the contract.\n")
    kept = [line for line in bench.out.splitlines() if line.startswith("  kept  ")]
    assert len(kept) >= 20
    assert "fails" not in bench.out


@pytest.mark.usefixtures("no_method_files")
def test_check_method_says_what_fails_where_and_what_to_do(bench: Bench) -> None:
    faulty = (
        "    def losses(self, batch):\n        return super().losses(batch) | {'extra': batch.image.sum()}\n"
    )
    Path("net.py").write_text(NET + faulty)
    assert bench("check-method", "net.py") == 1
    told = " ".join(bench.out.split())
    assert (
        "fails The losses are those of loss_names, and finite scalars defaults, wide on autopet and msd:"
        in told
    )
    assert "losses() returned seg, rec, extra at step 0, loss_names names seg, rec" in told
    assert "1 of 26 checks fails." in told
    assert bench("check-method", "net.py", "--json") == 1
    answer = json.loads(bench.out)
    assert (answer["method"], answer["kept"]) == ("net", False)
    broken = {(row["example"], row["dataset"]) for row in answer["checks"] if row["state"] == "broken"}
    assert broken == {(example, data) for example in ("defaults", "wide") for data in ("autopet", "msd")}


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("net.py", "class Net(", "net.py cannot be imported: SyntaxError"),
        (
            "net.py",
            "import no_such_package",
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_package'",
        ),
        ("net.py", "x = 1", "must define a subclass of Method"),
        ("mirror_unet.py", "x = 1", "is the name of one of the suite's methods; rename the file"),
        ("other.py", "x = 1", "there is no such Python file"),
    ],
)
@pytest.mark.usefixtures("no_method_files")
def test_a_method_that_cannot_be_loaded_is_one_line_and_exit_code_2(
    bench: Bench, file: str, code: str, message: str
) -> None:
    if file != "other.py":
        Path(file).write_text(code)
    assert bench("check-method", file) == 2
    assert message in bench.err
    assert len(bench.err.splitlines()) == 1
    assert bench("check-method", "mirror_nuet") == 2
    assert "Did you mean 'mirror_unet'?" in bench.err


@pytest.mark.usefixtures("no_method_files")
def test_a_run_with_a_method_file_that_is_not_there_is_one_line_and_exit_code_2(bench: Bench) -> None:
    assert bench("run", "--dry-run", "--method-file", "other.py") == 2
    assert bench.err == "bench: --method-file other.py: there is no such Python file.\n"


@pytest.mark.usefixtures("no_method_files")
def test_the_suite_s_own_files_are_checked_by_path_or_by_name(bench: Bench) -> None:
    import baselines.early_fusion

    for method in ("early_fusion", str(baselines.early_fusion.__file__)):
        assert bench("check-method", method) == 0
        assert bench.out.startswith("early_fusion: ")


@pytest.mark.usefixtures("no_method_files")
def test_methods_are_listed_with_their_sizes_and_data_sets(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("net.py").write_text(NET)
    monkeypatch.setenv("COLUMNS", "300")
    assert bench("methods", "--method-file", "net.py") == 0
    lines = blocks(bench.out)
    # 2 * 4 * 27 + 4 weights, the PReLU's slope, 4 * 2 + 2 for the classes, 4 + 1 for the mean.
    assert lines["net"].split()[1:8] == ["Seg", "+", "Rec", "early", "236", "any", "several"]
    assert lines["net"].endswith("paper: Nobody et al., Two Convolutions, 2024")
    assert "8,084,593" in lines["mirror_unet"]
    assert "branches    several data sets: autopet, msd" in lines["mirror_unet"]
    # Its defaults must be told whose region is whose.
    assert "msd (v2)" in lines["mirror_unet_regions"]
    assert "planned from the data" in lines["nnunet"]
    assert bench("methods", "--json") == 0
    rows = {row["method"]: row for row in json.loads(bench.out)}
    assert rows["net"]["examples"] == ["wide"]
    assert rows["mirror_unet"]["parameters"] == 8_084_593
    assert rows["mirror_unet"]["datasets"]["autopet"] is None


def blocks(out: str) -> dict[str, str]:
    """What `bench methods` prints of each method, in one line."""
    found: dict[str, str] = {}
    for line in out.splitlines()[1:]:
        if line.startswith(" "):
            found[name] += f" {line.strip()}"
        else:
            name = line.split()[0]
            found[name] = line
    return found


@pytest.mark.usefixtures("no_method_files")
def test_every_method_is_told_in_100_columns_and_nothing_is_cut(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert bench("methods") == 0
    assert "…" not in bench.out
    assert max(map(len, bench.out.splitlines())) <= 100
    told = blocks(bench.out)
    assert bench("methods", "--json") == 0
    rows = json.loads(bench.out)
    assert list(told) == [row["method"] for row in rows]
    for row in rows:
        assert ", ".join(row["variants"]) in told[row["method"]]
        assert row["paper"] in told[row["method"]]
    assert {row["method"]: row["variants"] for row in rows}["blackbean"] == ["nnunet", "reference"]
    assert {row["method"]: row["variants"] for row in rows}["mirror_unet"] == ["v3", "v1", "v2", "v4"]


@pytest.mark.usefixtures("no_method_files")
def test_a_method_that_cannot_be_used_here_is_listed_with_the_reason(bench: Bench) -> None:
    Path("net.py").write_text("import no_such_package")
    assert bench("methods", "--method-file", "net.py", "--json") == 0
    (row,) = [row for row in json.loads(bench.out) if row["method"] == "net"]
    assert "No module named 'no_such_package'" in row["problem"]
    assert bench("methods") == 0
    assert "No module named 'no_such_package'" in " ".join(bench.out.split())


@pytest.mark.usefixtures("no_method_files")
def test_a_method_s_page_has_its_text_arguments_examples_and_losses(bench: Bench) -> None:
    assert bench("methods", "mirror_unet") == 0
    told = " ".join(bench.out.split())
    assert "Takes two roles, each a modality or a group" in told
    assert (
        "Decisions (what the paper leaves open or its code does otherwise; `docs/differences.md` has the whole list"
        in told
    )
    assert "theta None float | Literal['learnable'] | None" in told.replace('"', "'")
    assert "version 'v3' str" in told
    assert "v3, CT only" in told
    assert max(map(len, bench.out.splitlines())) <= 80
    assert bench("methods", "mirror_unet", "--json") == 0
    (kind,) = json.loads(bench.out)["variants"]
    defaults = kind["examples"][0]
    assert set(defaults["loss_weights"]) == {"rec_ct", "rec_pet", "seg", "class"}
    assert bench("methods", "mirror_nuet") == 2
    assert "Did you mean 'mirror_unet'?" in bench.err


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("torch", "monai", "mlflow", "pandas", "numpy", "matplotlib", "pydantic")
    program = f"import sys, benchmark.cli; print([m for m in {heavy} if m in sys.modules])"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"
