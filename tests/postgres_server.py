"""A PostgreSQL server of the tests' own; skipped, with the reason, where there is no PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="module", name="postgres")
def own_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a PostgreSQL server of our own, on a port of the loopback."""
    found = {name: _binary(name) for name in ("initdb", "postgres", "pg_ctl")}
    if missing := [name for name, path in found.items() if path is None]:
        pytest.skip(f"PostgreSQL is not installed here: no {missing[0]} (Debian: apt-get install postgresql)")
    as_user: list[str] = []
    folder = tmp_path_factory.mktemp("postgres")
    if os.geteuid() == 0:
        # The server refuses to run as root.
        if subprocess.run(["id", "postgres"], capture_output=True, check=False).returncode or not _binary(
            "setpriv"
        ):
            pytest.skip(
                "PostgreSQL refuses to run as root, and there is no user postgres with setpriv to run it"
            )
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents:
            if parent.stat().st_uid == 0 and parent != Path("/") and "pytest" in str(parent):
                parent.chmod(parent.stat().st_mode | 0o011)
    data, port = folder / "data", _free_port()

    def call(*command: str) -> None:
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd=folder)

    call(str(found["initdb"]), "-D", str(data), "-A", "trust", "-U", "bench", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    try:
        call(str(found["pg_ctl"]), "-D", str(data), "-l", str(folder / "log"), "-w", "-o", options, "start")
        yield f"postgresql://bench@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run(
            [*as_user, str(found["pg_ctl"]), "-D", str(data), "-m", "immediate", "stop"],
            check=False, capture_output=True, cwd=folder,
        )  # fmt: skip


def _binary(name: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])
