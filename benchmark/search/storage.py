"""Where a search keeps its trials: a journal file for one machine, a database by its address for several."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from benchmark.credentials import is_address, without_secrets
from benchmark.files.writing import open_log, written_whole
from benchmark.vocabulary import BenchError, MissingPackageError, did_you_mean

log = logging.getLogger(__name__)

optuna.logging.set_verbosity(optuna.logging.WARNING)

DRIVERS = {
    "postgresql": {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]"},
    "mysql": {"pymysql": "PyMySQL", "mysqldb": "mysqlclient"},
    "mariadb": {"pymysql": "PyMySQL", "mysqldb": "mysqlclient"},
    "sqlite": {"pysqlite": ""},
}
"""Databases, how SQLAlchemy names what speaks to each, and the package that brings it; the first is preferred."""
MODULES = {"mysqldb": "MySQLdb", "pysqlite": "sqlite3"}
"""Drivers whose module has another name."""
MOST_JOURNAL_BYTES = 2**30
CREATION_ATTEMPTS = 5
COLLISIONS = ("IntegrityError", "ProgrammingError", "InternalError")


def journal_file(results: Path, name: str) -> Path:
    """Where a search's journal lies when nobody says otherwise."""
    return results / "searches" / f"{name}.journal"


def open_storage(address: str, *, create: bool = True) -> BaseStorage:
    """The storage at a journal file's path, or at a database's address, with its tables.

    `create` False, for who only looks: what is not there is not made. MissingPackageError with the package to install
    where the database's driver is missing; BenchError where the database does not answer.
    """
    if not is_address(address):
        return _journal(Path(address), create=create)
    kind = address.partition("://")[0]
    database = kind.partition("+")[0]
    if database not in DRIVERS:
        raise BenchError(
            f"--storage {without_secrets(address)}: searches are kept in a journal file or in a database. "
            f"{did_you_mean(database, ['postgresql', 'mysql'])}"
        )
    url = _with_driver(address, database)
    if database == "sqlite" and not create:
        url = _only_read(url)
    for attempt in range(1, CREATION_ATTEMPTS + 1):
        try:
            # A connection that was idle during a long training may be gone.
            return optuna.storages.get_storage(
                RDBStorage(
                    url,
                    engine_kwargs={"pool_pre_ping": True, "pool_size": 2},
                    skip_table_creation=not create,
                )
            )
        except ImportError as error:
            raise MissingPackageError(
                f"--storage {without_secrets(address)}: the driver of {kind} is not installed; "
                f"pip install {_package(kind)}."
            ) from error
        except Exception as error:
            # Two processes that create the tables at the same moment collide, and the second try finds them.
            if attempt == CREATION_ATTEMPTS or type(error).__name__ not in COLLISIONS:
                words = without_secrets(_first_line(error), url, address)
                raise BenchError(
                    f"--storage {without_secrets(address)} cannot be used: {words} Start the database, or correct "
                    "the address."
                ) from error
            time.sleep(0.3 * attempt)
    raise AssertionError("the last attempt returns or raises")


def _with_driver(address: str, database: str) -> str:
    """The address with a driver that is installed, where it names none: what SQLAlchemy takes by itself depends on its
    version."""
    if "+" in address.partition("://")[0]:
        return address
    installed = [name for name in DRIVERS[database] if find_spec(MODULES.get(name, name)) is not None]
    return address.replace(f"{database}:", f"{database}+{installed[0]}:", 1) if installed else address


def _package(kind: str) -> str:
    database, _, driver = kind.partition("+")
    packages = DRIVERS[database]
    return packages.get(driver) or (driver or next(iter(packages.values())))


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".") + "."


def _only_read(url: str) -> str:
    """The address of an SQLite file that is there, and is neither made nor changed."""
    kind, _, path = url.partition(":///")
    if not Path(path).is_file():
        raise BenchError(f"--storage {url}: there is no such file. Correct the address.")
    return f"{kind}:///file:{quote(str(Path(path).absolute()))}?mode=ro&uri=true"


def _journal(path: Path, *, create: bool) -> BaseStorage:
    try:
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.is_file() or path.stat().st_size > MOST_JOURNAL_BYTES:
            raise BenchError(
                f"{path} is no journal of a search, or too large for one. Choose another --storage."
            )
        return JournalStorage(_JournalFile(path))
    except OSError as error:
        raise BenchError(f"Cannot write {path}: {error.strerror}. Choose another --storage.") from error
    except Exception as error:
        # What Optuna makes of lines that others wrote is of any kind.
        if isinstance(error, BenchError):
            raise
        raise BenchError(
            f"{path} is no journal of a search, or damaged ({_first_line(error)}) Move it away and start again: "
            "configurations that were trained are taken over."
        ) from error


def trial_by_number(study: optuna.Study, storage: BaseStorage, number: int) -> optuna.trial.Trial:
    """A trial of a study in that storage, to be written to."""
    study_id = storage.get_study_id_from_name(study.study_name)
    return optuna.trial.Trial(study, storage.get_trial_id_from_study_id_trial_number(study_id, number))


class _JournalFile(JournalFileBackend):
    """Optuna's journal, whose lock ends with its process, and which mends what killed writers and power cuts left."""

    def __init__(self, path: Path) -> None:
        self._journal = path
        self._process_lock = _ProcessLock(path)
        super().__init__(str(path), lock_obj=self._process_lock)
        # A line without its end may be growing; whoever writes the next sees to it.
        if _is_damaged(line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")):
            with self._process_lock.held():
                mend(path)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._process_lock.held():
            if not _ends_whole(self._journal):
                mend(self._journal)
            with self._journal.open("r+b") as file:
                file.seek(0, 2)
                file.write(lines.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())


def mend(path: Path) -> None:
    """Take out what is no entry, and keep it beside, in a file that is named so.

    A writer whose line is not whole was never told that it was written: without the line the journal is as it was when
    the writer died. Of a half line that another writer's whole one was joined to, that one stays. Only for who holds
    the journal's lock. ValueError where the file has no entry at all.
    """
    content = path.read_bytes()
    kept, damage, number = [], [], 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        whole = _entry_in(line)
        if whole != line:
            damage.append(f"line {number}: ".encode() + line.removesuffix(b"\n") + b"\n")
        if whole is not None:
            kept.append(whole)
    if not damage:
        return
    if number > 1 and not kept:
        raise ValueError("no line of it is an entry")
    beside = path.with_name(f"{path.name}.damaged")
    earlier = beside.read_bytes() if beside.exists() else b""
    with written_whole(beside) as temporary:
        temporary.write_bytes(earlier + b"".join(damage))
    with written_whole(path) as temporary:
        temporary.write_bytes(b"".join(kept))
    log.warning("%s was damaged in %d lines, which are kept in %s", path, len(damage), beside)


def _is_damaged(lines: Iterable[bytes]) -> bool:
    return any(_entry_in(line) != line for line in lines)


def _ends_whole(path: Path) -> bool:
    """Whether the last line is an entry; only the end of a long file is read."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        length = 4096
        while True:
            file.seek(max(0, size - length))
            end = file.read()
            if length >= size or end.count(b"\n") > 1:
                break
            length *= 4
    lines = end.splitlines(keepends=True)
    return not lines or _entry_in(lines[-1]) == lines[-1]


def _entry_in(line: bytes) -> bytes | None:
    """The line, where it is an entry; else the entry at its end, where there is one."""
    if not line.endswith(b"\n"):
        return None
    start = 0
    while start >= 0:
        if _is_entry(line[start:]):
            return line[start:]
        start = line.find(_BEGINNING, start + 1)
    return None


_BEGINNING = b'{"op_code":'


def _is_entry(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return isinstance(entry, dict) and isinstance(entry.get("op_code"), int)


class _ProcessLock(JournalFileOpenLock):
    """A lock that the kernel frees when its process ends, however it ends.

    Optuna's own is a file that a killed process leaves behind; the others then wait for half a minute.
    """

    def __init__(self, journal: Path) -> None:
        self._path = journal.with_name(f".{journal.name}.flock")
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        try:
            file = os.fdopen(open_log(self._path), "ab")
        except OSError as error:
            raise BenchError(
                f"Cannot write {self._path}: {error.strerror}. Remove it, or choose another --storage."
            ) from error
        fcntl.flock(file, fcntl.LOCK_EX)
        self._file = file
        return True

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The lock, within the block."""
        self.acquire()
        try:
            yield
        finally:
            self.release()
