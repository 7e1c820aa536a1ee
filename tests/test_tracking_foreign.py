"""MLflow and what strangers wrote: files stay in the results folder, passwords in no tag."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from written_runs import V3, manifest_of, write_run

from benchmark.results.runs import RunFolder
from benchmark.tracking import log_folder
from benchmark.tracking.content import GridMembership, read_run
from benchmark.tracking.store import Store
from benchmark.vocabulary import BenchError
from benchmark.words import in_results

SECRET = "hunter2"


def store(artifacts: Path | None, uri: str) -> Store:
    """One whose only run says that its files are there."""
    made = Store.__new__(Store)
    made._artifacts = artifacts
    made.client = SimpleNamespace(get_run=lambda _: SimpleNamespace(info=SimpleNamespace(artifact_uri=uri)))
    return made


@pytest.mark.parametrize(
    "place",
    [
        "{tmp}/elsewhere/1/artifacts",
        "file://{tmp}/elsewhere/1",
        "file://{tmp}/mlartifacts/../elsewhere",
        "file://{tmp}/mlartifacts%2F..%2Felsewhere",
        "{tmp}/mlartifacts/link/1",
        "s3://bucket/1",
        "http://host/1",
        "mlartifacts/1",
        "",
    ],
)
def test_files_go_nowhere_but_into_the_results_folder(tmp_path: Path, place: str) -> None:
    (tmp_path / "mlartifacts").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "mlartifacts" / "link").symlink_to(tmp_path / "elsewhere")
    uri = place.format(tmp=tmp_path)
    again = re.escape(f"Remove mlflow.db there and run `bench sync{in_results(tmp_path)}`")
    with pytest.raises(BenchError, match=f"has its files in .*{again}"):
        store(tmp_path / "mlartifacts", uri).require_own("abc")


@pytest.mark.parametrize("place", ["{tmp}/mlartifacts/1/artifacts", "file://{tmp}/mlartifacts/a%20b/1"])
def test_files_in_the_results_folder_are_its_own(tmp_path: Path, place: str) -> None:
    (tmp_path / "mlartifacts").mkdir()
    store(tmp_path / "mlartifacts", place.format(tmp=tmp_path)).require_own("abc")


def test_a_server_decides_itself_where_files_are() -> None:
    store(None, "s3://bucket/1").require_own("abc")


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{SECRET}@host/db",
        f"mysql+pymysql://me:a%40{SECRET}@host/db",
        f"postgresql://host/db?user=me&password={SECRET}",
        f"http://me:{SECRET}@host:5000/#/experiments/1",
    ],
)
def test_no_tag_or_parameter_has_a_password(tmp_path: Path, address: str) -> None:
    """Also of records that another version or a stranger wrote, with the address as it was."""
    write_run(tmp_path, "a", [0.5])
    folder = RunFolder(tmp_path, "a")
    folder.config_file.write_text(json.dumps({"method": "m", "method_args": {"storage": address}}))
    told = json.loads(folder.record_file.read_text())
    told |= {
        "state": "failed",
        "failure": "code",
        "error": f"cannot reach {address}",
        "warnings": [f"at {address}"],
    }
    told["facts"] = {"device": address, "git_commit": address}
    folder.record_file.write_text(json.dumps(told))
    manifest = manifest_of(({**V3, "storage": address}, 0, 0, "a"))
    content = read_run(folder, GridMembership([manifest], {"storage": address}))
    assert any("host" in value for value in content.tags.values())
    assert SECRET not in repr(content.tags) + repr(content.params)


def test_no_link_of_a_page_is_followed_to_what_nobody_gives_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, sent = tmp_path / "html", []
    (page / "data").mkdir(parents=True)
    (tmp_path / "folder").mkdir()
    for path in (page / "index.html", page / "data" / "a.js", tmp_path / "secret", tmp_path / "folder" / "x"):
        path.touch()
    (page / "more.html").symlink_to(tmp_path / "secret")
    (page / "pictures").symlink_to(tmp_path / "folder")
    monkeypatch.setattr(
        "benchmark.tracking.syncing.log_report", lambda results, grid, files, **_: sent.extend(files)
    )
    log_folder(tmp_path, "mine", page)
    assert [str(path.relative_to(page)) for path in sent] == ["data/a.js", "index.html"]
