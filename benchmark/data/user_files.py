"""Text, JSON and CSV files that people made: in whatever encoding, bounded in size, with line and column in errors."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from benchmark.vocabulary import DataError

MOST_BYTES = 64 * 2**20
"""A table of every study of a large hospital is smaller."""
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")


def read_user_text(path: Path, *, head: int | None = None) -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, or else in Latin-1, where every byte is a letter.

    `head`: of so many bytes at its beginning alone.

    Raises:
        DataError: for what is no file, cannot be read, or is larger than `MOST_BYTES`.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a file. Put a file there, or move it away.")
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1 if head is None else head)
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Check its name and permissions.") from error
    if len(content) > MOST_BYTES:
        raise DataError(f"{path} is larger than {MOST_BYTES / 2**20:.0f} MiB. Is it the right file?")
    for encoding in _encodings(content):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


def _encodings(content: bytes) -> list[str]:
    marked = [encoding for mark, encoding in _MARKS if content.startswith(mark)]
    if marked:
        return marked
    # ASCII in UTF-16 without a mark: every second byte is 0.
    if content[1:2] == b"\0" and content[:1] != b"\0":
        return ["utf-16-le"]
    if content[:1] == b"\0" and content[1:2] != b"\0":
        return ["utf-16-be"]
    return ["utf-8"]


def read_user_json(path: Path, *, needs: str) -> Any:
    """The content of a JSON file; `needs` is how an error goes on: what should stand in the file.

    Raises:
        DataError: with line and column of what is no JSON.
    """
    text = read_user_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1].strip()[:60] if text.strip() else ""
        comma = re.search(r",\s*$", text[: error.pos]) and text[error.pos : error.pos + 1] in ("}", "]")
        hint = "a comma stands before the closing bracket" if comma else error.msg
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(
            f"{path} cannot be read, it is not JSON: {where}: {hint}{f' in {line!r}' if line else ''}. Correct it; "
            f"{needs}."
        ) from error
    except RecursionError as error:
        raise DataError(f"{path} is nested too deeply to be read. Correct it; {needs}.") from error


def read_user_csv(path: Path) -> list[list[str]]:
    """The lines of a table, cells stripped; the sign between its columns is found out.

    Raises:
        DataError: with the line of what cannot be read.
    """
    text = read_user_text(path)
    head = "\n".join(text.splitlines()[:20])
    delimiter = max(_DELIMITERS, key=lambda sign: (head.count(sign), -_DELIMITERS.index(sign)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [[cell.strip() for cell in row] for row in reader]
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: {error}. Repair it, or move it away if it is optional."
        ) from error
