"""Where a command's words go: to a terminal, a pipe, a file on a full disk, or nowhere at all.

A command that works for hours outlasts its output: what cannot be printed any more is written to a log in the results
folder. Other commands are done with their work whatever becomes of their words, and say so in their exit code.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

LASTING = ("run", "search")
"""Commands that go on for hours, and whose output is then kept in a log."""


def lasts(words: Sequence[str]) -> bool:
    """Whether a command line is that of such a command, and not a question about it."""
    return bool(words) and words[0] in LASTING and not {"--help", "--dry-run"} & set(words)


def results_named(words: Sequence[str]) -> Path:
    """The results folder that a command line names."""
    for number, word in enumerate(words):
        if word.startswith("--results="):
            return Path(word.partition("=")[2])
        if word == "--results" and number + 1 < len(words):
            return Path(words[number + 1])
    return Path("results")


def new_log(results: Path, kind: str) -> Path:
    """A file of its own in the results folder's `logs`, or beside other temporary files where that cannot be."""
    name = f"{kind}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    folder = results / "logs"
    try:
        # A link would lead elsewhere whoever has given us the folder.
        if not results.is_dir() or folder.is_symlink():
            raise FileNotFoundError
        folder.mkdir(exist_ok=True)
        (folder / name).touch(exist_ok=False)
    except OSError:
        folder = Path(tempfile.gettempdir())
        name = f"bench-{name}"
    return folder / name


def open_standard_streams() -> None:
    """Let the three standard streams lead somewhere: the next file that is opened would else be taken for one."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)
        if getattr(sys, name) is None:
            setattr(sys, name, Closed() if descriptor else io.StringIO())


class Closed(io.TextIOBase):
    """A stream that was closed before the command began."""

    def write(self, text: str) -> int:
        raise OSError(errno.EBADF, "it was closed at the start")

    def writable(self) -> bool:
        return True


class Output:
    """A stream that never fails: from the first failure on `elsewhere`, which is told why, has its text, or nobody."""

    def __init__(self, stream: TextIO, elsewhere: Callable[[str], TextIO] | None) -> None:
        self._stream: TextIO | _Lost = stream
        self._elsewhere = elsewhere
        self._unflushed: list[str] = []
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        failure: OSError | None = None
        try:
            # click asks a stream whether it takes bytes by writing some; a TypeError says no.
            self._stream.write(text)
        except OSError as error:
            failure = error
        if self.failure is None:
            self._unflushed.append(text)
            if failure is not None:
                self._move(failure)
            elif len(self._unflushed) > 1000:
                self.flush()
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
            self._unflushed.clear()
        except OSError as error:
            if self.failure is None:
                self._move(error)

    def writelines(self, lines: Sequence[str]) -> None:
        for line in lines:
            self.write(line)

    def _move(self, error: OSError) -> None:
        """Let what was not printed yet, and all that comes, go elsewhere."""
        self.failure = error
        with contextlib.suppress(OSError, ValueError):
            # What the interpreter still has for the old place is written when it ends; it must not fail then.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        kept, self._unflushed = self._unflushed, []
        self._stream = _Lost()
        if self._elsewhere is not None:
            with contextlib.suppress(OSError):
                self._stream = self._elsewhere(reason(error))
        self._stream.write("".join(kept))

    def isatty(self) -> bool:
        return self.failure is None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Lost(io.TextIOBase):
    """Takes everything and keeps nothing."""

    def write(self, text: str) -> int:
        return len(text)

    def writable(self) -> bool:
        return True


def reason(error: OSError) -> str:
    """An error of the system in its own words."""
    return error.strerror or type(error).__name__


@contextlib.contextmanager
def sturdy(words: Sequence[str]) -> Iterator[Output]:
    """Within the block printing does not fail; yields standard output. `words`: the command line."""
    before = sys.stdout, sys.stderr
    lasting, results = lasts(words), results_named(words)
    logs: list[TextIO] = []

    def log(why: str) -> TextIO:
        if not logs:
            results.mkdir(parents=True, exist_ok=True)
            path = new_log(results, "output")
            logs.append(path.open("a", encoding="utf-8", buffering=1))
            logs[0].write(
                f"bench {words[0]}: the output cannot be printed any more ({why}); it goes on here.\n"
            )
            print(
                f"bench: the output cannot be printed any more ({why}); it goes on in {path}", file=sys.stderr
            )
        return logs[0]

    output = Output(sys.stdout, log if lasting else None)
    sys.stdout = output
    sys.stderr = Output(before[1], log if lasting else None)
    try:
        yield output
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before
        for file in logs:
            file.close()
