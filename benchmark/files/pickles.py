"""What a checkpoint of torch would call when it is loaded, told without loading it.

`torch.load(weights_only=True)` refuses everything that is not listed there, and is what protects; this says why, names
the file, and is asked where torch is not: by whoever copies checkpoints.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from pathlib import Path

from benchmark.files.arrays import UNREADABLE
from benchmark.files.places import DamagedFileError, is_regular, kind_of

ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".pkl", ".pickle", ".damaged")
"""Of files that somebody may unpickle."""
MOST_PICKLED = 256 * 2**20
"""Bytes of the pickle itself; tensors lie beside it."""
CALLED = re.compile(
    r"""collections\ OrderedDict
      | _codecs\ encode
      | torch\ (\w+Storage|Size|device|\w+\d+|bool)
      | torch\._utils\ _rebuild_(tensor(_v2)?|parameter(_with_state)?)
      | numpy\ (dtype|ndarray)
      | numpy\.dtypes\ \w+
      | numpy\.(_core|core)\.multiarray\ (scalar|_reconstruct)
      | numpy\.(_core|core)\.numeric\ _frombuffer""",
    re.VERBOSE,
)
"""Module and name of what builds tensors and numbers, and nothing else."""
OTHERS = ("INST", "OBJ", "EXT1", "EXT2", "EXT4", "PERSID")
"""Instructions that call by other means; torch never writes them."""


class CodeInFileError(DamagedFileError):
    """A file of weights names functions that have nothing to do with weights."""


def is_pickled(path: Path) -> bool:
    """Whether the file's name is one of those that are unpickled."""
    return path.suffix in ENDINGS


def refuse_code(path: Path) -> None:
    """CodeInFileError for a checkpoint that calls anything but what builds tensors; DamagedFileError for a file that is
    neither a checkpoint nor a pickle."""
    if not is_regular(path):
        raise DamagedFileError(
            f"{path} is {kind_of(path) if path.is_symlink() or path.exists() else 'missing'}"
        )
    for content in _pickles(path):
        if found := sorted(name for name in _called(content, path) if not CALLED.fullmatch(name)):
            named = ", ".join(name.replace(" ", ".") for name in found[:3])
            raise CodeInFileError(
                f"{path} is not loaded: it holds more than weights ({named}), and would run it as code"
            )


def _pickles(path: Path) -> list[bytes]:
    """Every pickle in the file: of torch's archive each `data.pkl`; else the file itself."""
    try:
        if not zipfile.is_zipfile(path):
            if path.stat().st_size > MOST_PICKLED:
                raise ValueError("too large for a pickle")
            return [path.read_bytes()]
        with zipfile.ZipFile(path) as archive:
            inside = [info for info in archive.infolist() if info.filename.endswith(".pkl")]
            if not inside or sum(info.file_size for info in inside) > MOST_PICKLED:
                raise ValueError(f"{len(inside)} pickles in it")
            return [archive.read(info) for info in inside]
    except UNREADABLE as error:
        raise DamagedFileError(f"{path} is no checkpoint, or damaged ({error})") from error


def _called(content: bytes, path: Path) -> set[str]:
    """`module name` of everything that the pickle names."""
    found: set[str] = set()
    strings: list[str] = []
    memo: dict[int, str] = {}
    try:
        for code, argument, _ in pickletools.genops(content):
            if code.name in OTHERS:
                found.add(f"pickle {code.name}")
            elif code.name == "GLOBAL":
                found.add(str(argument))
            elif code.name == "STACK_GLOBAL":
                found.add(" ".join(strings[-2:]) if len(strings) > 1 else "an unknown name")
            elif isinstance(argument, str):
                strings.append(argument)
            elif code.name == "MEMOIZE":
                memo[len(memo)] = strings[-1] if strings else ""
            elif code.name in ("BINPUT", "LONG_BINPUT", "PUT"):
                memo[int(argument or 0)] = strings[-1] if strings else ""
            elif code.name in ("BINGET", "LONG_BINGET", "GET"):
                strings.append(memo.get(int(argument or 0), "an unknown name"))
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError) as error:
        if not found:
            raise DamagedFileError(f"{path} is no checkpoint, or damaged ({error})") from error
    return found
