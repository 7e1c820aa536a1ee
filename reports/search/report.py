"""`bench report --search`, and the end of `bench search`: what a search found, as files with an index."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
import pandas as pd
from matplotlib.figure import Figure
from optuna.exceptions import StorageInternalError
from optuna.study import Study
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from benchmark.credentials import without_secrets
from benchmark.files.places import DamagedFileError, Name
from benchmark.files.schemas import checked
from benchmark.files.writing import read_json
from benchmark.notices import notice
from benchmark.results.means import regions_words
from benchmark.results.runs import RunFolder, load_scores
from benchmark.scoring.metrics import differ_in_print
from benchmark.search.cards import place_of_trials, search_cards
from benchmark.search.storage import open_storage
from benchmark.vocabulary import BenchError, did_you_mean
from reports.evidence.experiments import BANNER, PHANTOMS
from reports.evidence.run_rows import TEST, VALIDATION
from reports.ground import banner
from reports.ground.addresses import run_address, together
from reports.ground.drawing import save, style
from reports.ground.files import ReportFiles, WrittenFigure
from reports.ground.measures import measure_of
from reports.ground.printing import PrintedTable, markdown_text
from reports.ground.threads import on_one_thread
from reports.ground.words import counted, enumerated
from reports.ground.writer import ReadyTable, ReportWriter
from reports.search import figures
from reports.search.frames import (
    Definition,
    best_trial,
    curves,
    definition_of,
    front,
    history,
    importances,
    training_steps,
    trials_frame,
)
from reports.search.grid_file import scoring_command, write_grid
from reports.search.pairs import Compared, Paired, paired
from reports.search.summary import summary, values_text
from reports.search.tables import comparison_table, trials_table


@dataclass(frozen=True)
class SearchReport:
    """The files, and what a script wants to know."""

    files: ReportFiles
    facts: Mapping[str, Any]


class _Looked(BaseModel):
    """Of the record of a look at the test part, the runs of both sides."""

    runs: dict[Literal["best", "paper"], list[Name]]


def final_file(results: Path, study: str) -> Path:
    """Where it is written down that a search has looked at the test part."""
    return results / "searches" / f"{study}.final.json"


def open_search(results: Path, name: str, *, storage: str | None = None) -> Study:
    """The newest study of that search, or the study of that very name, as the launchers left it."""
    cards = sorted(search_cards(results), key=lambda card: card.created, reverse=True)
    fitting = [card for card in cards if name in (card.search, card.study)]
    if not fitting:
        known = dict.fromkeys(card.search for card in cards)
        near = (
            did_you_mean(name, known)
            if known
            else "There is none yet; `bench search --study theta` makes one."
        )
        raise BenchError(f"There is no search {name!r} in {results}. {near}")
    return _load(fitting[0].study, place_of_trials(results, fitting[0], storage))


def _load(study: str, address: str) -> Study:
    storage = open_storage(address, create=False)
    try:
        return optuna.load_study(study_name=study, storage=storage)
    except KeyError as error:
        raise BenchError(
            f"{without_secrets(address)} has no search {study}; say where its trials are, with --storage."
        ) from error
    except (SQLAlchemyError, StorageInternalError) as error:
        words = without_secrets(str(error).splitlines()[0], address)
        raise BenchError(
            f"{without_secrets(address)} cannot be read ({words}); say where the trials of {study} are, with --storage."
        ) from error


@on_one_thread
def write_search_report(results: Path, study: Study, *, out: Path) -> SearchReport:
    """Write the report of a search to the folder `out`, from its trials and their runs in `results`."""
    definition = definition_of(study)
    with banner.under(BANNER if definition.dataset in PHANTOMS else ""):
        return _write_search_report(results, study, definition, out=out)


def _write_search_report(results: Path, study: Study, definition: Definition, *, out: Path) -> SearchReport:
    trials = trials_frame(study)
    if trials.empty:
        raise BenchError(f"The search {study.study_name} has no trial yet.")
    out.mkdir(parents=True, exist_ok=True)
    best = best_trial(trials, definition.objectives)
    pareto = front(trials, definition.objectives)
    on_front = pareto.loc[pareto["on_front"], "trial"].tolist() if len(definition.objectives) > 1 else []
    number = None if best is None else int(best["trial"])
    averaged = _averaged(results, trials)
    table = trials_table(trials, definition, best=number, front=on_front, averaged=averaged)
    layout = trials.drop(columns="feasible")
    writer = ReportWriter(out)
    writer.table(ReadyTable((table,), layout, trials, "trials"))
    written_grids = [
        written
        for trial in ([number] if number is not None else on_front)
        if (written := _write_best(results, study, trials, trial, out, alone=number is not None))
    ]
    writer.files += [path for path, _ in written_grids]
    compared = _compared(results, study, trials, best)
    pairs = {part: one.pair for part, one in compared.items()}
    if pairs:
        table = _comparison(compared, definition, best)
        frame = _pairs_frame(pairs)
        writer.table(ReadyTable((table,), frame, frame, "comparison", "%.4f"))
    with style():
        # Until they are saved: resolution and the names in SVG files are part of the style.
        for name, text, figure in _figures(study, trials, definition, number, pareto):
            paths = save(figure, out / name)
            shown = f"![{markdown_text(text)}]({paths[0].name})\n"
            writer.pictures([WrittenFigure(text, "", tuple(paths))], [shown])
    lines = summary(trials, definition, best, on_front, pairs, study=study.study_name)
    lines += [averaged] if averaged else []
    lines += [f"Score it on the test part, without training again: {c}" for _, c in written_grids[:1]]
    title = f"Search {study.study_name}"
    # Among the grids, where MLflow has its parent run.
    index = replace(writer.index(title, lines=lines), manifest=f"search_{study.study_name}")
    facts = {
        "best": number,
        "front": on_front,
        "value": None if best is None else float(best[next(iter(definition.objectives))]),
        "value_searched": _searched_value(trials, definition),
        "states": trials["state"].value_counts().to_dict(),
        "steps": training_steps(trials),
        "pairs": {part: vars(pair) for part, pair in pairs.items()},
        "files": [str(path) for path in index.files],
    }
    return SearchReport(index, facts)


def _searched_value(trials: pd.DataFrame, definition: Definition) -> float | None:
    """The best value of the search's own trials, without the paper's beside them."""
    best = best_trial(trials[trials["reference_for"].isna()], definition.objectives)
    return None if best is None else float(best[next(iter(definition.objectives))])


def _write_best(
    results: Path, study: Study, trials: pd.DataFrame, number: int, out: Path, *, alone: bool
) -> tuple[Path, str] | None:
    """The trial's run as a grid, and the command that scores it; None where its folder is on another machine."""
    trial = trials[trials["trial"] == number].iloc[0]
    if not trial["run"]:
        return None
    folder = RunFolder(results, str(trial["run"]))
    if not folder.config_file.exists():
        return None
    try:
        config = folder.config()
        if unsaid := [name for name in ("dataset", "method", "fold", "seed") if name not in config]:
            raise DamagedFileError(f"{folder.config_file} does not say {enumerated(unsaid)}")
    except DamagedFileError as error:
        notice(str(error))
        return None
    path = out / ("best.yaml" if alone else f"trial{number}.yaml")
    definition = definition_of(study)
    command = scoring_command(
        path, config, profile=definition.profile, launched=definition.launched, results=results
    )
    when = time.strftime("%Y-%m-%d", time.gmtime())
    what = "best trial" if alone else "trial on the Pareto front"
    header = (
        f"The {what} of the search {study.study_name} ({number}), found on the validation part; {when}.\n"
        f"`bench report --search {study.study_name}` prints the command that scores it on the test part, without\n"
        "training it again.\n"
        "Other folds and seeds train it again. All of a profile's training settings are written out here."
    )
    write_grid(path, config, name=f"{study.study_name}-trial{number}", cell=str(number), header=header)
    return path, command


def _averaged(results: Path, trials: pd.DataFrame) -> str:
    """What a trial's numbers average, where its data have several regions; else empty."""
    for run in trials.loc[trials["state"] == "complete", "run"]:
        if not run or not (folder := RunFolder(results, str(run))).validation_file.exists():
            continue
        with suppress(BenchError):
            regions = list(map(str, folder.validation()["region"].unique()))
            return f"Numbers of trials are means {words}." if (words := regions_words(regions)) else ""
    return ""


def _compared(
    results: Path, study: Study, trials: pd.DataFrame, best: pd.Series | None
) -> dict[str, Compared]:
    """The best trial and its reference on the validation part; what `--final` trained, on the test part."""
    found: dict[str, Compared] = {}
    if best is not None:
        own = trials[(trials["reference_for"] == best["trial"]) & (trials["state"] == "complete")]
        folders = [RunFolder(results, str(run)) for run in (best["run"], *own["run"][:1]) if run]
        if len(folders) == 2 and all(folder.validation_file.exists() for folder in folders):
            best_scores, reference_scores = (folder.validation() for folder in folders)
            if (pair := paired([best_scores], [reference_scores])) is not None:
                ours, theirs = (run_address(folder.run_id, VALIDATION) for folder in folders)
                found["validation part, where they were chosen"] = Compared(pair, ours, theirs)
    marker = final_file(results, study.study_name)
    if marker.exists():
        runs = checked(_Looked, read_json(marker, below=marker.parent), source=str(marker)).runs
        sides = [[load_scores(results, [run]) for run in runs[side]] for side in ("best", "paper")]
        whole = not any(frame.empty for side in sides for frame in side)
        if whole and (pair := paired(*sides)) is not None:
            ours, theirs = (
                together(*(run_address(run, TEST) for run in runs[side])) for side in ("best", "paper")
            )
            found[f"test part, {counted(len(sides[0]), 'seed')}"] = Compared(pair, ours, theirs)
    return found


def _comparison(
    compared: Mapping[str, Compared], definition: Definition, best: pd.Series | None
) -> PrintedTable:
    values = (
        {} if best is None else {name: best[name] for name in definition.paper if best[name] == best[name]}
    )
    return comparison_table(
        compared,
        best=f"trial {best['trial']}, {values_text(values)}" if best is not None else "see --final",
        paper=values_text(definition.paper),
    )


def _pairs_frame(pairs: Mapping[str, Paired]) -> pd.DataFrame:
    return pd.DataFrame([{"part": part, **vars(pair)} for part, pair in pairs.items()])


def _figures(
    study: Study, trials: pd.DataFrame, definition: Definition, best: int | None, pareto: pd.DataFrame
) -> list[tuple[str, str, Figure]]:
    found = []
    complete = trials[trials["state"] == "complete"]
    if not complete.empty:
        pruned = trials.loc[trials["state"] == "pruned", "trial"].tolist()
        own = {o: history(trials, o, direction) for o, direction in definition.objectives.items()}
        found.append(("history", "Optimisation history", figures.draw_history(own, pruned)))
        found.append(("slices", "Slices", figures.draw_slices(trials, definition)))
    importance = importances(study)
    if not importance.empty:
        found.append(("importances", "Importances", figures.draw_importances(importance)))
    ranked = importance.groupby("parameter")["importance"].max().sort_values(ascending=False).index
    names = [*ranked, *(name for name in definition.parameters if name not in set(ranked))]
    varied = (
        [o for o in definition.objectives if differ_in_print(complete[o], measure_of(o).scale)]
        if len(complete)
        else []
    )
    if varied:
        for objective, figure in figures.draw_contours(trials, definition, names, objectives=varied):
            found.append((f"contours_{objective}", f"Contours of {measure_of(objective).kind}", figure))
    if len(definition.objectives) > 1 and pareto["on_front"].any():
        found.append(("pareto", "Pareto front", figures.draw_front(pareto, definition)))
    told = curves(study)
    if not told.empty:
        found.append(("curves", "Validations during training", figures.draw_curves(told, best)))
    return found
