"""The journal survives killed writers, databases are named without passwords, and PostgreSQL is shared."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import optuna
import pytest
from optuna.samplers import RandomSampler
from postgres_server import own_postgres  # noqa: F401 (a fixture)

from benchmark.cli import main
from benchmark.search.storage import open_storage
from benchmark.vocabulary import BenchError, MissingPackageError

WRITER = """
import sys
import optuna
from benchmark.search.storage import open_storage
study = optuna.load_study(study_name="s", storage=open_storage(sys.argv[1]), sampler=optuna.samplers.RandomSampler())
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    trial = study.ask()
    study.tell(trial, trial.suggest_float("x", 0, 1))
    print(trial.number, flush=True)
"""


def writer(address: str, trials: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, address, str(trials)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def study(address: str) -> optuna.Study:
    return optuna.create_study(
        study_name="s", storage=open_storage(address), sampler=RandomSampler(), load_if_exists=True
    )


def test_two_processes_share_a_journal(tmp_path: Path) -> None:
    address = str(tmp_path / "s.journal")
    study(address)
    processes = [writer(address, 30) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    trials = study(address).trials
    assert [trial.number for trial in trials] == list(range(60))
    assert all(trial.value is not None for trial in trials)


def test_a_killed_writer_holds_nobody_up_and_costs_no_finished_trial(tmp_path: Path) -> None:
    address = str(tmp_path / "s.journal")
    study(address)
    told = 0
    for _ in range(3):
        process = writer(address, 10_000)
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
            told += 1
        process.send_signal(signal.SIGKILL)
        process.wait()
        began = time.monotonic()
        finished = [trial for trial in study(address).trials if trial.state.is_finished()]
        assert time.monotonic() - began < 10.0  # Optuna's own lock would be waited for for 30 s.
        assert len(finished) >= told
    last = writer(address, 1)
    assert last.wait() == 0


def test_a_half_written_line_is_cut_off_before_the_next(tmp_path: Path) -> None:
    journal = tmp_path / "s.journal"
    first = study(str(journal))
    first.tell(first.ask(), 1.0)
    whole = journal.read_bytes()
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker')
    again = study(str(journal))
    again.tell(again.ask(), 2.0)
    assert [trial.value for trial in study(str(journal)).trials] == [1.0, 2.0]
    assert journal.read_bytes().startswith(whole)
    assert b'"worker{' not in journal.read_bytes()


HALF = b'{"op_code":4,"worker'


def journal_of(tmp_path: Path) -> tuple[Path, list[bytes]]:
    """A journal of three finished trials, and its lines."""
    journal = tmp_path / "s.journal"
    made = study(str(journal))
    for value in (1.0, 2.0, 3.0):
        made.tell(made.ask(), value)
    return journal, journal.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "damaged", "damage"),
    [
        ("half a line at the end", lambda lines: [*lines, HALF], [HALF]),
        ("half a line and its end", lambda lines: [*lines, HALF + b"\n"], [HALF]),
        ("half a line, joined to a whole one", lambda lines: [*lines[:-1], HALF + lines[-1]], None),
        ("half a line in the middle", lambda lines: [*lines[:4], HALF + b"\n", *lines[4:]], [HALF]),
        ("half a line joined in the middle", lambda lines: [*lines[:4], HALF + lines[4], *lines[5:]], None),
        ("zeros after a power cut", lambda lines: [*lines, b"\0" * 700], [b"\0" * 700]),
        ("zeros, joined to a whole one", lambda lines: [*lines[:-1], b"\0" * 700 + lines[-1]], None),
        ("no text", lambda lines: [*lines, b"\xff\xfe\n"], [b"\xff\xfe"]),
        ("JSON that is no entry", lambda lines: [*lines, b"[1]\n"], [b"[1]"]),
    ],
)
def test_a_damaged_journal_is_mended_and_its_damage_kept_beside(
    tmp_path: Path, name: str, damaged: Callable[[list[bytes]], list[bytes]], damage: list[bytes] | None
) -> None:
    journal, lines = journal_of(tmp_path)
    journal.write_bytes(b"".join(damaged(lines)))
    again = study(str(journal))
    again.tell(again.ask(), 4.0)
    assert [trial.value for trial in study(str(journal)).trials] == [1.0, 2.0, 3.0, 4.0]
    assert journal.read_bytes().startswith(b"".join(lines))
    kept = (tmp_path / "s.journal.damaged").read_bytes()
    for piece in damage or [HALF if HALF in kept else b"\0" * 700]:
        assert piece in kept
    assert kept.startswith(b"line ")


def test_the_end_is_validated_before_every_entry_not_only_when_the_journal_is_opened(tmp_path: Path) -> None:
    journal, _ = journal_of(tmp_path)
    opened = study(str(journal))
    with journal.open("ab") as file:
        file.write(
            HALF + b"\n"
        )  # Another writer, killed in the meantime, whose line was ended by somebody else.
    opened.tell(opened.ask(), 4.0)
    with journal.open("ab") as file:
        file.write(HALF)
    opened.tell(opened.ask(), 5.0)
    assert [trial.value for trial in study(str(journal)).trials] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert (tmp_path / "s.journal.damaged").read_bytes().count(HALF) == 2


def test_a_long_last_line_is_read_whole(tmp_path: Path) -> None:
    journal, _ = journal_of(tmp_path)
    opened = study(str(journal))
    opened.set_user_attr("long", "x" * 100_000)
    opened.tell(opened.ask(), 4.0)
    assert not (tmp_path / "s.journal.damaged").exists()
    assert [trial.value for trial in study(str(journal)).trials] == [1.0, 2.0, 3.0, 4.0]


def test_looking_at_a_journal_changes_nothing_while_somebody_writes(tmp_path: Path) -> None:
    journal, lines = journal_of(tmp_path)
    journal.write_bytes(b"".join([*lines, HALF]))
    assert len(optuna.load_study(study_name="s", storage=open_storage(str(journal))).trials) == 3
    assert journal.read_bytes() == b"".join([*lines, HALF])
    assert not (tmp_path / "s.journal.damaged").exists()


def test_a_search_that_was_killed_before_its_study_exists_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    searches = tmp_path / "searches"
    searches.mkdir()
    (searches / "theta.journal").touch()
    card = {
        "search": "theta",
        "study": "theta-1",
        "storage": "theta.journal",
        "has_password": False,
        "created": 1.0,
    }
    for write_card in (False, True):
        if write_card:
            (searches / "theta-1.json").write_text(json.dumps(card))
        with pytest.raises(SystemExit) as end:
            main(["report", "--search", "theta", "--results", str(tmp_path)])
        said = capsys.readouterr().err.strip()
        assert end.value.code == 2, said
        assert len(said.splitlines()) == 1
        assert said.startswith("bench: ")


def test_a_file_that_is_no_journal_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "s.journal").write_text("something else\nand more\n")
    with pytest.raises(BenchError, match=r"s\.journal is no journal"):
        open_storage(str(tmp_path / "s.journal"))


@pytest.mark.parametrize(
    ("address", "kind", "message"),
    [
        ("mysql+nosuchdriver://me:secret@localhost/db", BenchError, "cannot be used|not installed"),
        ("mysql://me:secret@localhost/db", MissingPackageError, "pip install PyMySQL"),
        ("redis://localhost", BenchError, "journal file or in a database"),
        ("postgressql://localhost/db", BenchError, "Did you mean 'postgresql'"),
        ("postgresql://me:secret@127.0.0.1:1/db", BenchError, "Start the database"),
    ],
)
def test_a_storage_that_cannot_be_used_is_an_error_that_says_what_to_do(
    address: str, kind: type[BenchError], message: str
) -> None:
    if address.startswith("mysql://") and any(map(find_spec, ("MySQLdb", "pymysql"))):
        pytest.skip("a driver of MySQL is installed here")
    with pytest.raises(kind, match=message) as error:
        open_storage(address)
    assert "secret" not in str(error.value)


def test_two_processes_share_a_search_in_postgresql(postgres: str) -> None:
    study(postgres)
    processes = [writer(postgres, 10) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    trials = study(postgres).trials
    assert sorted(trial.number for trial in trials) == list(range(20))
    assert all(trial.value is not None for trial in trials)


CREATOR = """
import sys
from benchmark.search.storage import open_storage
open_storage(sys.argv[1])
"""


def test_two_processes_may_create_the_tables_at_the_same_moment(postgres: str) -> None:
    import psycopg2

    connection = psycopg2.connect(postgres)
    connection.autocommit = True
    connection.cursor().execute("CREATE DATABASE empty")
    connection.close()
    address = postgres.replace("/postgres", "/empty")
    creators = [subprocess.Popen([sys.executable, "-c", CREATOR, address]) for _ in range(3)]
    assert [creator.wait() for creator in creators] == [0, 0, 0]
