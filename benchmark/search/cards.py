"""Search cards, `results/searches/<study>.json`: where a report finds the trials of a search. Needs no Optuna.

A card may be a stranger's. It names a journal or an SQLite file in its own results folder; every other place is
asked for, since opening it is up to the user: `--storage`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmark.credentials import is_address, without_secrets
from benchmark.files.places import DamagedFileError, Name, is_regular, refuse_links, regular_files
from benchmark.files.schemas import STRICT, Amount, Text, read_as
from benchmark.files.writing import write_json
from benchmark.notices import notice
from benchmark.vocabulary import BenchError

FINAL = ".final.json"
"""How the record of a look at the test part ends; it is no card."""


@dataclass(frozen=True)
class SearchCard:
    """`storage` is the name of a journal beside the card, its path, or a database's address without its secrets;
    `has_password`: it had some."""

    __pydantic_config__ = STRICT

    search: Name
    study: Name
    storage: Text
    has_password: bool
    created: Amount


def is_card(path: Path) -> bool:
    """Whether a file of a results folder is one by its name."""
    return path.parent.name == "searches" and path.suffix == ".json" and not path.name.endswith(FINAL)


def read_card(path: Path) -> SearchCard:
    """DamagedFileError for what is none, or is not in its place. Its address has no secrets, whoever wrote it."""
    try:
        card = read_as(SearchCard, path, below=path.parent)
        if card.study != path.stem:
            raise DamagedFileError(f"{path} is that of another search, {card.study}")
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. Remove it; `bench search` writes it again.") from error
    shown = without_secrets(card.storage)
    return replace(card, storage=shown, has_password=card.has_password or shown != card.storage)


def search_cards(results: Path) -> list[SearchCard]:
    """The cards that can be read, by name; of others it is said why."""
    found = []
    for path in regular_files(results / "searches", "*.json", below=results / "searches"):
        if is_card(path):
            try:
                found.append(read_card(path))
            except DamagedFileError as error:
                notice(str(error))
    return found


def clean_card(path: Path) -> None:
    """Write a copied card again without secrets; what is no card, or damaged, stays as it is not: it is removed."""
    try:
        write_json(path, asdict(read_card(path)))
    except DamagedFileError as error:
        notice(f"{error} It is left out.")
        path.unlink(missing_ok=True)


def is_elsewhere(results: Path, card: SearchCard) -> bool:
    """Whether its trials are where no report looks by itself."""
    if card.has_password or (is_address(card.storage) and not card.storage.startswith("sqlite")):
        return True
    return not _file_of(results, card).resolve().is_relative_to(results.resolve())


def _file_of(results: Path, card: SearchCard) -> Path:
    path = Path(card.storage.partition(":///")[2] if is_address(card.storage) else card.storage)
    return path if path.is_absolute() else results / "searches" / path


def place_of_trials(results: Path, card: SearchCard, given: str | None) -> str:
    """The address that a report may open: the one that was given, or the card's, where that is in its results folder.

    BenchError where somebody must say where the trials are.
    """
    if given is not None:
        return given if is_address(given) else str(Path(given).resolve())
    if is_elsewhere(results, card):
        raise BenchError(
            f"The trials of {card.study} lie in {card.storage}, outside of {results}, where no report looks by itself: "
            "if you trust the address, give it with --storage."
        )
    path = _file_of(results, card)
    if not is_regular(path):
        raise BenchError(
            f"The trials of {card.study} lay in {path}, which is gone; say where, with --storage."
        )
    refuse_links(path, below=results if path.is_relative_to(results) else results.resolve())
    return f"sqlite:///{path.resolve()}" if is_address(card.storage) else str(path)
