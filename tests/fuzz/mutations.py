"""What may be wrong with a folder: each kind a function, with everything drawn from one generator."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .commands import SECRET, Place
from .folders import GOOD, OTHER, SEARCH, move_database

Mutation = Callable[[Place, random.Random], None]

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e300, float("nan"), float("inf"), 2**70, "", "../../outside", "/etc/passwd", "..", ".",
    "\x1b[2J\x07", "\u202eabc", "\ud800", "=cmd|' /C calc'!A0", "x" * 5000, [], {}, [[]], {"a": {"b": [1]}}, [1, "a"],
)  # fmt: skip
YAML = (
    "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "[" * 5000,
    "a: " * 200,
    "!!python/object/apply:os.system ['touch pwned']",
    "method: some\nmethod: other\n",
    "training: [1, 2]\nmethod: {}\n",
    "when: 2001-01-01\nother: !!binary aGVsbG8=\n",
    f"fold: {'9' * 5000}\n",
    "? [a, b]\n: 1\n",
    "fold: .nan\nseed: -3\n",
)  # fmt: skip


def files(place: Place) -> list[Path]:
    """The folder's files, sorted."""
    return sorted(path for path in place.results.rglob("*") if path.is_file() and not path.is_symlink())


def _some(place: Place, chance: random.Random, *endings: str) -> Path:
    found = [path for path in files(place) if not endings or path.name.endswith(endings)]
    return chance.choice(found)


def truncated(place: Place, chance: random.Random) -> None:
    path = _some(place, chance)
    path.write_bytes(path.read_bytes()[: chance.randrange(max(1, path.stat().st_size))])


def flipped(place: Place, chance: random.Random) -> None:
    path = _some(place, chance)
    content = bytearray(path.read_bytes() or b"x")
    for _ in range(chance.choice((1, 3, 30))):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)


def garbage(place: Place, chance: random.Random) -> None:
    _some(place, chance).write_bytes(
        chance.choice((b"", b"\xff\xfe{}", b"{", b"null", b"[]", b"PAR1", b"\0" * 999))
    )


def no_file(place: Place, chance: random.Random) -> None:
    path = _some(place, chance)
    path.unlink()
    kind = chance.choice(("folder", "pipe", "socket", "nothing", "huge"))
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            before = Path.cwd()
            os.chdir(path.parent)
            try:
                server.bind(path.name[:90])
            finally:
                os.chdir(before)
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(5 * 2**30)


def link(place: Place, chance: random.Random) -> None:
    path = chance.choice(
        (_some(place, chance), chance.choice([p for p in place.results.rglob("*") if p.is_dir()]))
    )
    target = chance.choice(
        (place.outside / "secret", place.outside / "folder", Path("/dev/zero"), Path("nowhere"))
    )
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to(target)


def links_where_reports_go(place: Place, chance: random.Random) -> None:
    name = chance.choice(("", "mine", "more", "html", "claims", f"search-{SEARCH}", ".cache", "html/data"))
    path = place.results / "reports" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(place.outside / "folder")


def odd_value(place: Place, chance: random.Random) -> None:
    path = _some(place, chance, ".json")
    content = json.loads(path.read_text())
    where = _places(content)
    if where:
        holder, key = chance.choice(where)
        holder[key] = chance.choice(ODD)
    path.write_text(json.dumps(content))


def odd_key(place: Place, chance: random.Random) -> None:
    path = _some(place, chance, ".json")
    content = json.loads(path.read_text())
    holders = [content, *(holder[key] for holder, key in _places(content) if isinstance(holder[key], dict))]
    holder = chance.choice([each for each in holders if isinstance(each, dict)])
    if chance.random() < 0.5 and holder:
        del holder[chance.choice(sorted(holder))]
    else:
        holder[chance.choice(("new", "__class__", "\x1b[31m", "state ", ""))] = chance.choice(ODD)
    path.write_text(json.dumps(content))


def _places(content: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        for key in keys:
            found += [(content, key), *_places(content[key])]
    return found


def deep(place: Place, chance: random.Random) -> None:
    n = chance.choice((40, 900, 100_000))
    _some(place, chance, ".json").write_text('{"a":' * n + "1" + "}" * n)


def odd_yaml(place: Place, chance: random.Random) -> None:
    _some(place, chance, ".yaml").write_text(chance.choice(YAML))


def odd_scores(place: Place, chance: random.Random) -> None:
    path = _some(place, chance, ".parquet")
    frame = pd.read_parquet(path)
    column = chance.choice(list(frame.columns))
    kind = chance.randrange(6)
    if kind == 0:
        frame.loc[0, "value"] = chance.choice((7.0, -1.0, float("inf"), float("-inf"), 1e308, float("nan")))
    elif kind == 1:
        frame[column] = chance.choice((1, "x", 2.5, None, b"x", True))
    elif kind == 2:
        frame = frame.drop(columns=column)
    elif kind == 3:
        names = [name for name in frame if pd.api.types.is_string_dtype(frame[name])]
        odd = [value for value in ODD if isinstance(value, str) and "\ud800" not in value]
        frame.loc[0, chance.choice(names)] = chance.choice(odd)
    elif kind == 4:
        frame = pd.concat([frame] * chance.choice((2, 5)), ignore_index=True)
    else:
        frame = frame.iloc[:0]
    frame.to_parquet(path, index=bool(chance.randrange(2)))


def many_rows(place: Place, chance: random.Random) -> None:
    path = _some(place, chance, ".parquet")
    table = pq.read_table(path)
    n = 3_000_000
    rows = pa.array(np.zeros(n, np.int32))
    columns = {name: table.column(name).combine_chunks().take(rows) for name in table.schema.names}
    pq.write_table(pa.table(columns), path, compression="zstd")


def odd_history(place: Place, chance: random.Random) -> None:
    rows = chance.choice(
        ("step,seg\n1,x\n", "step\nnan\n", "step,seconds\n-1,inf\n", "a,a,a\n1,2,3\n", "=1+1,step\n1,1\n",
         "step,seg\n" + "1," * 9 + "\n", '"', "\0", "step,seg\n1e400,1\n", ",".join(f"c{n}" for n in range(5000)))
    )  # fmt: skip
    _some(place, chance, ".csv").write_text(rows)


def odd_archive(place: Place, chance: random.Random) -> None:
    path = _some(place, chance, ".npz")
    kind = chance.choice((b"|u1", b"|O", b"<f8"))
    claims = b"{'descr': '%s', 'fortran_order': False, 'shape': (1000000, 1000000), }" % kind
    header = b"\x93NUMPY\x01\x00v\x00" + claims.ljust(117) + b"\n"
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name in archive.namelist()[: chance.choice((1, 3))]:
            archive.writestr(name, chance.choice((header, b"", b"\0" * 2**22)))


def odd_name(place: Place, chance: random.Random) -> None:
    path = chance.choice((place.results / "runs" / chance.choice((GOOD, OTHER)), _some(place, chance)))
    path.rename(path.with_name(chance.choice(("a b", "x\x1b[31m", "..x", "-rf", "x" * 250, "=1", "é"))))


def swapped(place: Place, chance: random.Random) -> None:
    one, other = _some(place, chance), _some(place, chance)
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def odd_card(place: Place, chance: random.Random) -> None:
    path = place.results / "searches" / f"{SEARCH}.json"
    card = json.loads(path.read_text())
    card["storage"] = chance.choice(
        (f"sqlite:///{place.outside}/new.db", "sqlite:///new.db", f"postgresql://me:{SECRET}@127.0.0.1:1/db",
         f"postgresql://127.0.0.1:1/db?password={SECRET}", f"mysql://u:/{SECRET}#@h/d", str(place.outside / "secret"),
         f"{place.outside}/new.journal", "../../outside/secret", f"https://h/?token={SECRET}", "", "redis://h")
    )  # fmt: skip
    path.write_text(json.dumps(card))


def odd_journal(place: Place, chance: random.Random) -> None:
    path = place.results / "searches" / f"{SEARCH}.journal"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for _ in range(3):
        holder, key = chance.choice(_places(lines))
        if isinstance(holder, dict):
            holder[key] = chance.choice(ODD)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def odd_grid(place: Place, chance: random.Random) -> None:
    path = _some(place, chance, ".json")
    while path.parent.name != "grids":
        path = _some(place, chance, ".json")
    content = json.loads(path.read_text())
    outside = chance.choice((str(place.outside / "folder"), "../../outside/folder", "..", "a/b"))
    if chance.randrange(2):
        content["grid"] = outside
    else:
        chance.choice(content["cells"])["run_id"] = outside
    path.write_text(json.dumps(content))


def odd_database(place: Place, chance: random.Random) -> None:
    kind = chance.randrange(4)
    if kind == 0:
        move_database(place.results, artifacts=place.outside / "folder")
        return
    with closing(sqlite3.connect(place.results / "mlflow.db")) as connection, connection:
        if kind == 1:
            odd = chance.choice([value for value in ODD if isinstance(value, str) and "\ud800" not in value])
            column = chance.choice(("name", "status", "artifact_uri", "start_time", "lifecycle_stage"))
            connection.execute("PRAGMA ignore_check_constraints = ON")
            connection.execute(f"UPDATE runs SET {column} = ?", (odd,))
        elif kind == 2:
            connection.execute("UPDATE tags SET value = '\x1b[2J'")
        else:
            connection.execute(
                f"DROP TABLE {chance.choice(('tags', 'params', 'experiments', 'alembic_version'))}"
            )


def pickled(place: Place, chance: random.Random) -> None:
    code = b"cos\nsystem\n(S'touch " + str(place.outside / "ran").encode() + b"'\ntR."
    folder = place.results / "runs" / GOOD
    name = chance.choice(
        ("checkpoint.pt", "external/checkpoint_final.pth", "last.safetensors", "projections.npz")
    )
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(code)


MUTATIONS: tuple[Mutation, ...] = (
    truncated, flipped, garbage, no_file, link, links_where_reports_go, odd_value, odd_value, odd_key, deep, odd_yaml,
    odd_scores, odd_scores, many_rows, odd_history, odd_archive, odd_name, swapped, odd_card, odd_journal, odd_grid,
    odd_database, pickled,
)  # fmt: skip
