"""JSON of a results folder: read into a dataclass, strictly. Types, ranges and names are those of its annotations."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from benchmark.files.places import MOST_BYTES, DamagedFileError, read_text

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Of a dataclass that is read by `read_as`: `__pydantic_config__ = STRICT`."""
UNDEFINED = ConfigDict(extra="forbid")
"""The same of one whose numbers may be undefined, or infinite, as the loss of a training that diverged."""
DEEPEST = 32
"""Levels of lists and mappings; what the suite writes has fewer than ten."""
_SURROGATE = re.compile("[\ud800-\udfff]")
TOLD = 3
"""Faults of a file that are told."""

Whole = Annotated[int, Field(ge=0, le=2**53)]
Positive = Annotated[int, Field(ge=1, le=2**53)]
Amount = Annotated[float, Field(ge=0)]
"""Seconds, bytes: not negative, and finite."""


def read_mapping(path: Path, *, below: Path | None = None, most: int = MOST_BYTES) -> dict[str, Any]:
    """The mapping in a JSON file, of at most `DEEPEST` levels."""
    text = read_text(path, below=below, most=most)
    try:
        content = json.loads(text, parse_constant=_not_a_number)
    except (ValueError, RecursionError) as error:
        words = "it is too deep" if isinstance(error, RecursionError) else error
        raise DamagedFileError(f"{path} is damaged ({words})") from error
    if not isinstance(content, dict):
        raise DamagedFileError(f"{path} is damaged (it holds no mapping)")
    refuse_odd(content, source=path)
    return content


def _not_a_number(text: str) -> float:
    # What a diverged training wrote of its loss.
    return float(text.replace("Infinity", "inf"))


def refuse_odd(content: object, *, source: Path) -> None:
    """DamagedFileError for what JSON or YAML can say and nobody writes: more than `DEEPEST` levels, integers beyond 64
    bits, half a character, which no file and no terminal takes, and keys or values of other types than JSON has."""
    level: list[object] = [content]
    for _ in range(DEEPEST):
        for value in level:
            if fault := _fault(value):
                raise DamagedFileError(f"{source} is damaged (it holds {fault})")
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in ((*each, *each.values()) if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise DamagedFileError(f"{source} is damaged (it has more than {DEEPEST} levels)")


def _fault(value: object) -> str:
    if isinstance(value, str):
        return "half a character" if _SURROGATE.search(value) else ""
    if isinstance(value, dict):
        return "" if all(isinstance(key, str) for key in value) else "a key that is no text"
    if isinstance(value, int):
        return "an integer of more than 64 bits" if abs(value) >= 2**63 else ""
    return "" if value is None or isinstance(value, float | list) else f"a {type(value).__name__}"


def read_as(kind: type[T], path: Path, *, below: Path | None = None) -> T:
    """The file's content as a dataclass; DamagedFileError names the keys that do not fit, and those of a newer
    version."""
    return checked(kind, read_mapping(path, below=below), source=str(path))


def checked(kind: type[T], content: object, *, source: str) -> T:
    """Content that was JSON as a dataclass, or a model."""
    try:
        found: T = _adapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise DamagedFileError(f"{source} is damaged ({_faults(error)})") from error
    return found


def _adapter(kind: Any) -> TypeAdapter[Any]:
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


_adapters: dict[Any, TypeAdapter[Any]] = {}
"""A kind's own, built once: it takes longer than reading a thousand files."""


def _faults(error: ValidationError) -> str:
    found = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(map(str, fault["loc"]))[:200]
        if fault["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            found.append(f"{where}: this version does not know the key; a newer one wrote the file")
        else:
            found.append(f"{where}: {fault['msg']}")
    more = f"; {len(found) - TOLD} more" if len(found) > TOLD else ""
    return "; ".join(found[:TOLD]) + more


class Open(BaseModel):
    """Known keys have their types, others are left as they are."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


Text = Annotated[str, Field(max_length=100_000)]


class Facts(Open):
    """Of `facts` in run.json, what anybody reads; whoever made the run may have written more."""

    tasks: list[Text] = []
    fusion: Text = ""
    remarks: list[Text] = []
    versions: dict[str, Text | None] = {}
    data: dict[str, Text] = {}
    protocol: Whole | None = None
    threads: Positive = 1
    scores_sha256: Text = ""
    weights_file: Text = ""
    weights_sha256: Text = ""
    precision: Text | None = None
    git_commit: Text | None = None
    python: Text | None = None
    host: Text | None = None
    device: Text | None = None
    gpu: Text | None = None
    cpu: Text | None = None


class Costs(Open):
    """Of a reading, as `RunRecord.costs`."""

    parameters: Whole | None = None
    gflops: Amount | None = None
    patch_size: list[Positive] | None = None
    inference_seconds_per_case: Amount | None = None
    timed_cases: Whole | None = None


class Settings(Open):
    """Of a run's configuration, what is read without asking whether this version could run it."""

    dataset: Text = ""
    method: Text = ""
    fold: Whole = 0
    seed: Whole = 0
    training: dict[str, Any] = {}
    inference: dict[str, Any] = {}
    method_args: dict[str, Any] = {}
    loss_weights: dict[str, Any] = {}


def plausible_facts(content: dict[str, Any]) -> dict[str, Any]:
    """For schemas: the facts, if what is known of them has its types."""
    Facts.model_validate(content)
    if "tasks" in content and "fusion" not in content:
        raise ValueError("it has tasks and no fusion")
    return content


def plausible_costs(content: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For schemas: costs by reading."""
    for costs in content.values():
        Costs.model_validate(costs)
    return content
