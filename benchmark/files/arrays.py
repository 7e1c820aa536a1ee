"""NumPy archives of a results folder: no objects, and no array larger than its file says."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import numpy as np

from benchmark.files.places import DamagedFileError, is_regular, kind_of, refuse_links

UNREADABLE = (
    KeyError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    OverflowError,
    MemoryError,
    RecursionError,
    NotImplementedError,
    SyntaxError,
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
)
"""What a damaged archive makes of its reader."""
MOST_MEMBERS = 200_000


class Archive:
    """An .npz file, of which each array is read when it is asked for. A context manager."""

    def __init__(self, path: Path, *, most: int, below: Path | None = None) -> None:
        """`most`: bytes of any one array; `below` as in `read_bytes`."""
        self.path, self.most = path, most
        if below is not None:
            refuse_links(path, below=below)
        if not (is_regular(path) or (below is None and path.is_file())):
            raise DamagedFileError(f"{path} is damaged (it is {kind_of(path)})")
        try:
            self._zip = zipfile.ZipFile(path)
            self.names = tuple(name.removesuffix(".npy") for name in self._zip.namelist())
        except UNREADABLE as error:
            raise self._damaged(error) from error
        if len(self.names) > MOST_MEMBERS:
            raise self._damaged(ValueError(f"{len(self.names)} arrays"))

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def array(self, name: str) -> np.ndarray:
        """DamagedFileError where there is none of that name, or none that can be believed."""
        try:
            info = self._zip.getinfo(f"{name}.npy")
            if info.file_size > self.most:
                raise ValueError(f"{name} has {info.file_size:,} bytes")
            with self._zip.open(info) as member:
                content = member.read(self.most)
            return _array(content)
        except UNREADABLE as error:
            raise self._damaged(error) from error

    def _damaged(self, error: BaseException) -> DamagedFileError:
        return DamagedFileError(f"{self.path} is damaged ({error})")


def _array(content: bytes) -> np.ndarray:
    """Its header is believed only where the bytes are there: it is what memory is taken for."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, _, kind = readers[version](file)
    if kind.hasobject or min(shape, default=0) < 0 or math.prod(shape) * kind.itemsize > len(content):
        raise ValueError(f"an array of {shape}, {kind}")
    file.seek(0)
    array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array
