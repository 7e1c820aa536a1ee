"""A method from a file outside the repository: run, reported, run again when its source has changed."""

from __future__ import annotations

from pathlib import Path

import healthy_method
import pytest
import yaml

from benchmark.cli import main
from benchmark.data.phantoms.pet_ct import write_phantoms
from benchmark.registry import METHOD_FILES
from benchmark.results.manifests import manifests
from benchmark.results.runs import RunFolder

PROFILE = {
    "config": {
        "spacing_mm": [12, 12, 12],
        "training": {"steps": 2, "patch_size": [16, 16, 16], "batch_size": 2, "validations": 0},
    },
    "n_folds": 3,
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests must not change them."""
    root = tmp_path_factory.mktemp("phantoms")
    write_phantoms(root, cases=10, seed=0, spacing_mm=(12.0, 12.0, 12.0))
    return root


@pytest.fixture
def folder(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(METHOD_FILES, "")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "phantoms").symlink_to(phantoms)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(PROFILE))
    source = Path(healthy_method.__file__).read_text()
    (tmp_path / "my net").mkdir()
    (tmp_path / "my net" / "my_net.py").write_text(source)
    return tmp_path


def bench(*arguments: str) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_a_method_from_a_file_is_run_reported_and_run_again_when_it_was_edited(folder: Path) -> None:
    run = ["run", "--method-file", "my net/my_net.py", "--data", "phantom=phantoms", "--profile", "tiny.yaml"]
    assert bench(*run, "--no-mlflow") == 0
    (manifest,) = manifests(folder / "results")
    assert (manifest.grid, [cell.factors for cell in manifest.cells]) == ("my_net", [{"method": "my_net"}])
    record = RunFolder(folder / "results", manifest.cells[0].run_id).record()
    assert (record.state, record.facts["tasks"], record.costs[""]["parameters"]) == (
        "done",
        ["Seg", "Rec"],
        236,
    )

    assert bench("report", "--grid", "my_net", "--no-mlflow") == 0
    report = (folder / "results" / "reports" / "my_net" / "my_net.md").read_text()
    assert "| my\\_net |" in report
    assert "Seg + Rec" in report

    path = folder / "my net" / "my_net.py"
    path.write_text(path.read_text() + "\n# edited\n")
    assert bench(*run, "--no-mlflow") == 0
    assert len(list((folder / "results" / "runs").iterdir())) == 2


def test_a_method_from_a_file_is_one_row_more_of_a_grid_of_methods_only(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--method-file",
        "my net/my_net.py",
        "--data",
        "phantom=phantoms",
        "--dry-run",
        "--profile",
        "demo",
    ]
    assert bench("run", "--grid", "table3", *options) == 0
    out = capsys.readouterr().out
    rows = [line for line in out.splitlines() if line.startswith("pending")]
    # Five of the twelve cells are read from one training.
    assert len(rows) == 8
    assert "(and 4 more cells, read from the same training)" in rows[0]
    assert rows[-1].split("  ")[-1].strip().startswith("method=my_net")
    (folder / "EF.py").write_text((folder / "my net" / "my_net.py").read_text())
    options[1] = "EF.py"
    assert bench("run", "--grid", "table3", *options) == 2
    assert "table3 has a row 'EF' already; rename EF.py" in capsys.readouterr().err
    assert bench("run", "--grid", "table2", *options) == 2
    assert "the cells of table2 are not methods" in capsys.readouterr().err


@pytest.mark.slow
def test_a_method_that_looks_at_values_while_it_is_built_can_be_used(folder: Path) -> None:
    path = folder / "looking.py"
    source = (folder / "my net" / "my_net.py").read_text()
    path.write_text(
        source.replace(
            "        self.mean = ",
            "        self.rates = torch.linspace(0, 1, 3).tolist()\n        self.mean = ",
        )
    )
    run = ["run", "--method-file", "looking.py", "--data", "phantom=phantoms", "--profile", "tiny.yaml"]
    assert bench(*run, "--no-mlflow") == 0


def test_a_fault_in_a_method_s_own_code_is_one_line_with_its_place(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = (folder / "my net" / "my_net.py").read_text()
    (folder / "faulty.py").write_text(
        source.replace("        self.mean = ", "        {}['key']\n        self.mean = ")
    )
    assert bench("run", "--method-file", "faulty.py", "--data", "phantom=phantoms") == 2
    assert "bench: faulty: KeyError: 'key' (faulty.py, line " in capsys.readouterr().err


def test_a_preparation_that_names_no_modality_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = """
    def preparation(self, usual):
        from dataclasses import replace
        from benchmark.protocols import ZScore
        return replace(usual, intensities={"Pet": ZScore()})
"""
    (folder / "wrong.py").write_text((folder / "my net" / "my_net.py").read_text() + wrong)
    assert bench("run", "--method-file", "wrong.py", "--data", "phantom=phantoms") == 2
    assert "names the modality 'Pet'. There are: CT, PET." in capsys.readouterr().err


def test_a_method_file_that_cannot_be_loaded_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.py").write_text("def oops(:\n")
    assert bench("run", "--method-file", "broken.py", "--data", "phantom=phantoms") == 2
    assert "broken.py cannot be imported: SyntaxError" in capsys.readouterr().err
