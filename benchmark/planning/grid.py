"""Reads a study: the YAML of a table becomes the cells of a grid, every wrong key an error. Needs no torch.

    name: table2                      the grid's name, in results and reports
    dataset: autopet                  where the cells do not say otherwise
    blocks:                           a table may be a union of several grids
      - set: {method: mirror_unet}    settings of every cell of the block, nested as in RunConfig
        over:                         one factor each; the block's cells are their product, in this order
          shared_layers:
            path: method_args.shared_layers
            values: [[5], [4, 5, 6]]             named "5" and "4-5-6"
          version:
            values:                              without a path every value is a nested setting
              v1: {method_args: {version: v1}, loss_weights: {seg: 1}}
          method:
            each_modality:                       a value for every modality of the data set, instead of `values`
              name: "led by {modality}"
              settings: {method_args: {leading_modality: "{modality}"}}

Besides the settings of RunConfig a cell may say `reading`: which of a method's ways to read its output it shows. Cells
that differ in nothing else share one run.

A profile is merged over `set` and gives way to the factors: it decides how large an experiment is, the
factors what it asks. Its `rules` alone go further: they change what the factors say.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

import studies
from benchmark.config import InferenceConfig, Millimetres, RunConfig, TrainingConfig, merge
from benchmark.files.strict_yaml import parse, read_yaml
from benchmark.vocabulary import BenchError, did_you_mean

STUDIES = Path(studies.__file__).parent
PROFILES = STUDIES / "profiles"
SEARCH_PREFIX = "search_"
"""Files of this name beside the grids are searches; see `benchmark.planning.search_space`."""

NO_GRID = "run"
"""No grid is called so: with this name the addresses of a run's own rows begin."""

AT_LAUNCH = ("fold", "seed")
"""Settings that a study leaves to the command line."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _EachModality(_Strict):
    name: str = Field(pattern=r"\{modality\}")
    settings: dict[str, Any]


class _Factor(_Strict):
    path: str | None = None
    values: list[Any] | dict[Any, Any] | None = Field(default=None, min_length=1)
    each_modality: _EachModality | None = None

    @model_validator(mode="after")
    def _one_kind_of_values(self) -> _Factor:
        if (self.values is None) == (self.each_modality is None):
            raise ValueError("give either values or each_modality")
        if self.each_modality is not None and self.path is not None:
            raise ValueError("each_modality has settings; it takes no path")
        return self


class _Block(_Strict):
    set: dict[str, Any] = {}
    over: dict[str, _Factor] = {}


def _not_reserved(name: str) -> str:
    if name == NO_GRID:
        raise ValueError(f"a grid cannot be called {name}")
    return name


class _StudyFile(_Strict):
    name: Annotated[str, AfterValidator(_not_reserved)] = Field(pattern=r"^[A-Za-z0-9_-]+$")
    dataset: str
    blocks: list[_Block] = Field(min_length=1)


class PhantomSettings(_Strict):
    """The phantoms that `--data phantom` generates. None: as that data set usually is.

    Beyond `cases`, `seed` and `spacing_mm`: see `benchmark.data.phantoms.anatomy.Population`.
    """

    cases: int = Field(default=40, ge=10)
    seed: int = Field(default=0, ge=0)
    spacing_mm: Millimetres | None = None
    one_healthy_in: int | None = Field(default=None, ge=2)
    lesion_mm: float | None = Field(default=None, gt=0)
    lesion_suv: float | None = Field(default=None, gt=0)
    lesion_mm_spread: float | None = Field(default=None, ge=0)
    lesion_suv_spread: float | None = Field(default=None, ge=0)
    suv: dict[str, float] | None = None
    suv_spread: dict[str, float] | None = None

    @property
    def unusual(self) -> dict[str, Any]:
        """What the profile says beyond number, seed and grid."""
        return self.model_dump(exclude={"cases", "seed", "spacing_mm"}, exclude_none=True)


class Rule(_Strict):
    """Settings (`set`) for the runs that have others (`runs`), nested as in RunConfig."""

    runs: dict[str, Any] = Field(min_length=1)
    set: dict[str, Any] = Field(min_length=1)

    def applied(self, settings: dict[str, Any]) -> dict[str, Any]:
        """The settings with those of the rule, where it is theirs. Weights are set of losses that a run has."""
        if not _has(settings, self.runs):
            return settings
        changes = dict(self.set)
        if "loss_weights" in changes:
            own = settings.get("loss_weights", {})
            changes["loss_weights"] = {
                name: weight for name, weight in changes["loss_weights"].items() if name in own
            }
        return merge(settings, changes)


def _has(settings: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(settings, Mapping) and all(
            name in settings and _has(settings[name], value) for name, value in wanted.items()
        )
    return bool(settings == wanted)


class Profile(_Strict):
    """How large an experiment is: `config` for every run, `method_args` for the runs of one method.

    `datasets` and `methods` are settings, as `config`, for the runs on one data set and of one method; the latter win.
    A data set is named by its reader, as `nnunet/NAME`, or, where it was converted, as what it was before.
    `method_args` are named by method, and by `method/variant` where a variant has arguments of its own. `rules` are
    for runs that have certain settings, one version of a method for example; they are applied in turn, and win over the
    study's factors, too. `phantoms` are named by data set. `search_fold` is the fold of searches; None: the first of
    `folds`.
    """

    name: str
    config: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    methods: dict[str, dict[str, Any]] = {}
    method_args: dict[str, dict[str, Any]] = {}
    rules: list[Rule] = []
    folds: list[int] = [0]
    seeds: list[int] = [0]
    search_fold: int | None = Field(default=None, ge=0)
    n_folds: int = Field(default=5, ge=2)
    phantoms: dict[str, PhantomSettings] = {}


@dataclass(frozen=True)
class Value:
    """One level of a factor and the settings it stands for."""

    name: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class EachModality:
    """Levels that a data set decides: one for each of its modalities, whose name takes the place of `{modality}`."""

    name: str
    settings: Mapping[str, Any]

    def values(self, modalities: Sequence[str]) -> tuple[Value, ...]:
        return tuple(
            Value(_filled(self.name, modality), _filled(self.settings, modality)) for modality in modalities
        )


def _filled(template: Any, modality: str) -> Any:
    if isinstance(template, str):
        return template.replace("{modality}", modality)
    if isinstance(template, Mapping):
        return {key: _filled(value, modality) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, modality) for value in template]
    return template


@dataclass(frozen=True)
class Block:
    """A full product of factors over common settings."""

    settings: Mapping[str, Any]
    factors: Mapping[str, tuple[Value, ...] | EachModality]


@dataclass(frozen=True)
class Cell:
    """One place of a table. `common` gives way to a profile, `question` does not."""

    factors: Mapping[str, str]
    common: Mapping[str, Any]
    question: Mapping[str, Any]

    @property
    def reading(self) -> str:
        """How the trained network is read for this cell; empty: in the method's first way."""
        return str({**self.common, **self.question}.get("reading", ""))

    @property
    def dataset(self) -> str | None:
        """The data set that the cell insists on."""
        return {**self.common, **self.question}.get("dataset")

    def settings(self, profile: Profile, dataset: str, *, data_name: str | None = None) -> dict[str, Any]:
        """The nested settings of the cell's runs on a data set, without fold and seed.

        `data_name`: what the data set calls itself, where its reader reads several.
        """
        names = (f"{dataset}/{data_name}", data_name, dataset)
        of_dataset = next((profile.datasets[name] for name in names if name in profile.datasets), {})
        own = merge(dict(self.common), dict(self.question))
        name, variant = str(own.get("method")), own.get("method_args", {}).get("variant")
        of_method = profile.method_args.get(name, {})
        arguments = profile.method_args.get(f"{name}/{variant}", of_method) if variant else of_method
        merged = merge(
            dict(self.common),
            profile.config,
            of_dataset,
            profile.methods.get(name, {}),
            {"method_args": arguments},
            dict(self.question),
            {"dataset": dataset},
        )
        merged.pop("reading", None)
        for rule in profile.rules:
            merged = rule.applied(merged)
        return merged


@dataclass(frozen=True)
class Study:
    """A question as data."""

    name: str
    dataset: str
    blocks: tuple[Block, ...]
    source: str

    @property
    def depends_on_data(self) -> bool:
        """Whether some of its levels are a data set's modalities."""
        return any(
            isinstance(level, EachModality) for block in self.blocks for level in block.factors.values()
        )

    def on(self, modalities: Sequence[str]) -> Study:
        """The study on a data set of these modalities: levels that depend on them are spelled out."""
        blocks = []
        for block in self.blocks:
            factors = {
                name: levels.values(modalities) if isinstance(levels, EachModality) else levels
                for name, levels in block.factors.items()
            }
            blocks.append(replace(block, factors=factors))
        study = replace(self, blocks=tuple(blocks))
        _check_unique(study)
        return study

    def cells(self) -> list[Cell]:
        """All cells, block after block, each block in the order of its factors.

        BenchError where levels depend on the data set; see `on`.
        """
        cells = []
        for block in self.blocks:
            levels = list(block.factors.values())
            fixed = [level for level in levels if not isinstance(level, EachModality)]
            if len(fixed) < len(levels):
                raise BenchError(
                    f"{self.source}: some levels depend on the data set's modalities; name a data set."
                )
            for choice in itertools.product(*fixed):
                factors = {name: value.name for name, value in zip(block.factors, choice, strict=True)}
                question = merge({}, *(dict(value.settings) for value in choice))
                cells.append(Cell(factors, block.settings, question))
        return cells


def load_study(grid: str) -> Study:
    """The study of that name, or of that file; levels that depend on a data set are left open."""
    path = _find(grid, STUDIES, what="grid", option="--grid")
    content = parse(_StudyFile, read_yaml(path), source=path.name)
    blocks = []
    for number, block in enumerate(content.blocks):
        where = f"{path.name}: blocks[{number}]"
        check_settings(block.set, f"{where}.set", forbidden=AT_LAUNCH)
        factors = {name: _values(name, factor, f"{where}.over.{name}") for name, factor in block.over.items()}
        blocks.append(Block(block.set, factors))
    # Any modality will do to see whether two cells have one name.
    study = Study(content.name, content.dataset, tuple(blocks), path.name)
    study.on(["modality"])
    return study


def with_methods(study: Study, cells: Mapping[str, Mapping[str, Any]]) -> Study:
    """The study with one cell more for each of these methods; `cells` are their settings.

    BenchError where the study's cells are not methods.
    """
    if not any("method" in block.factors for block in study.blocks):
        raise BenchError(
            f"--method-file: the cells of {study.name} are not methods; choose a grid whose rows are, like table3, or "
            "leave --grid out to run the method alone."
        )
    extended = replace(study, blocks=(*study.blocks, _methods_block(cells)))
    names = [cell.factors.get("method") for cell in extended.cells()]
    if taken := [name for name in cells if names.count(name) > 1]:
        raise BenchError(f"--method-file: {study.name} has a row {taken[0]!r} already; rename {taken[0]}.py.")
    return extended


def study_of_methods(cells: Mapping[str, Mapping[str, Any]], *, dataset: str) -> Study:
    """A study of nothing but these methods on a data set, named after the first."""
    if (name := next(iter(cells))) == NO_GRID:
        raise BenchError(f"--method-file {name}.py: a grid cannot be called {name}; rename the file.")
    if name in available(STUDIES):
        raise BenchError(
            f"--method-file {name}.py: {name} is the name of one of the suite's grids; rename the file."
        )
    return Study(next(iter(cells)), dataset, (_methods_block(cells),), "--method-file")


def _methods_block(cells: Mapping[str, Mapping[str, Any]]) -> Block:
    return Block({}, {"method": tuple(Value(name, settings) for name, settings in cells.items())})


def load_profile(profile: str) -> Profile:
    """The profile of that name, or of that file."""
    path = _find(profile, PROFILES, what="profile", option="--profile")
    content = read_yaml(path)
    if "name" in content:
        raise BenchError(f"{path.name}: a profile is named by its file; remove the key 'name'.")
    loaded = parse(Profile, {**content, "name": path.stem}, source=f"profiles/{path.name}")
    not_here = (*AT_LAUNCH, "dataset", "method", "method_args")
    check_settings(loaded.config, f"profiles/{path.name}: config", forbidden=not_here)
    for part in ("datasets", "methods"):
        for name, settings in getattr(loaded, part).items():
            check_settings(settings, f"profiles/{path.name}: {part}.{name}", forbidden=not_here)
    for number, rule in enumerate(loaded.rules):
        check_settings(rule.runs, f"profiles/{path.name}: rules[{number}].runs", forbidden=AT_LAUNCH)
        where, decided = f"profiles/{path.name}: rules[{number}].set", (*AT_LAUNCH, "dataset", "method")
        check_settings(rule.set, where, forbidden=decided)
    return loaded


def available(folder: Path) -> list[str]:
    """The names of the grids or profiles of a folder."""
    return sorted(path.stem for path in folder.glob("*.yaml") if not path.stem.startswith(SEARCH_PREFIX))


def select(study: Study, only: Sequence[str]) -> list[bool]:
    """Which cells the conditions choose; all without conditions.

    A condition is `factor=value[,value...][,factor=value...]`: a cell must agree with every factor named, and
    is chosen when it satisfies one of the conditions. Errors: an unknown factor or value; a condition without cells.
    """
    return matching(study.cells(), only, where=study.name)


class HasFactors(Protocol):
    """A cell of a grid, planned or run."""

    @property
    def factors(self) -> Mapping[str, str]: ...


def matching(cells: Sequence[HasFactors], only: Sequence[str], *, where: str) -> list[bool]:
    """Which of these cells the conditions of `select` choose; `where` is what they are cells of."""
    if not only:
        return [True] * len(cells)
    conditions = [_condition(text, cells) for text in only]
    matches = [[_satisfies(cell, condition) for cell in cells] for condition in conditions]
    for text, row in zip(only, matches, strict=True):
        if not any(row):
            raise BenchError(
                f"--only {text}: no cell of {where} has this combination; see --dry-run for the cells."
            )
    return [any(column) for column in zip(*matches, strict=True)]


def _satisfies(cell: HasFactors, condition: Mapping[str, list[str]]) -> bool:
    return all(cell.factors.get(factor) in values for factor, values in condition.items())


def _condition(text: str, cells: Iterable[HasFactors]) -> dict[str, list[str]]:
    levels: dict[str, list[str]] = {}
    for cell in cells:
        for factor, value in cell.factors.items():
            known = levels.setdefault(factor, [])
            if value not in known:
                known.append(value)
    condition: dict[str, list[str]] = {}
    factor = ""
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if equals:
            factor = name
        else:
            value = name
        if factor not in levels:
            raise BenchError(
                f"--only {text}: there is no factor {factor or value!r}; there are {', '.join(levels)}."
            )
        if value not in levels[factor]:
            raise BenchError(
                f"--only {text}: {factor} is never {value!r}; it is one of {', '.join(levels[factor])}."
            )
        condition.setdefault(factor, []).append(value)
    return condition


def _values(name: str, factor: _Factor, where: str) -> tuple[Value, ...] | EachModality:
    if factor.each_modality is not None:
        check_settings(factor.each_modality.settings, f"{where}.each_modality.settings", forbidden=AT_LAUNCH)
        return EachModality(factor.each_modality.name, factor.each_modality.settings)
    return values_of(name, factor.values or [], factor.path, where)


def values_of(
    name: str, listed: Sequence[Any] | Mapping[Any, Any], path: str | None, where: str
) -> tuple[Value, ...]:
    """The levels of a factor, from a list of one setting's values or from named groups of settings."""
    if isinstance(listed, Mapping):
        named = [(str(key), value) for key, value in listed.items()]
    elif path is None:
        raise BenchError(f"{where}: give a path for the values, or name every value and write its settings.")
    else:
        named = [(_value_name(value, where), value) for value in listed]
    values = tuple(Value(level, _settings_of(value, path, f"{where}.{level}")) for level, value in named)
    if len({value.name for value in values}) < len(values):
        raise BenchError(f"{where}: two values of {name} have the same name; write them as 'name: value'.")
    return values


def _value_name(value: object, where: str) -> str:
    if isinstance(value, list):
        return "-".join(_value_name(item, where) for item in value)
    if isinstance(value, dict) or value is None:
        raise BenchError(f"{where}: the value {value!r} needs a name; write it as 'name: value'.")
    return str(value)


def _settings_of(value: object, path: str | None, where: str) -> dict[str, Any]:
    if path is None:
        if not isinstance(value, dict):
            raise BenchError(f"{where} is {value!r}; without a path every value is a nested setting.")
        settings = value
    else:
        settings = nested(path, value)
    check_settings(settings, where, forbidden=AT_LAUNCH)
    return settings


def nested(path: str, value: object) -> dict[str, Any]:
    """`a.b` and 1 as `{"a": {"b": 1}}`."""
    for key in reversed(path.split(".")):
        value = {key: value}
    assert isinstance(value, dict)
    return value


def check_settings(settings: Mapping[str, Any], where: str, *, forbidden: Sequence[str]) -> None:
    """BenchError for a setting that RunConfig does not have, or that does not belong here."""
    for key in forbidden:
        if key in settings:
            raise BenchError(
                f"{where}: {key} does not belong here; {_ELSEWHERE.get(key, 'it belongs to the study')}."
            )
    _check_keys(settings, RunConfig, where)
    for part, model in (("training", TrainingConfig), ("inference", InferenceConfig)):
        inner = settings.get(part, {})
        if not isinstance(inner, Mapping):
            raise BenchError(f"{where}.{part} is {inner!r}; it is a group of settings.")
        _check_keys(inner, model, f"{where}.{part}")


_ELSEWHERE = {
    "fold": "folds are chosen by --folds or the profile",
    "seed": "seeds are chosen by --seeds or the profile",
    "method_args": "a profile writes them under 'method_args', per method",
}


def _check_keys(settings: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    known = [*model.model_fields, *(("reading",) if model is RunConfig else ())]
    for key in settings:
        if key not in known:
            raise BenchError(f"{where}: there is no setting {key!r}. {did_you_mean(str(key), known)}")


def _check_unique(study: Study) -> None:
    seen: dict[tuple[tuple[str, str], ...], None] = {}
    for cell in study.cells():
        place = tuple(sorted(cell.factors.items()))
        if place in seen:
            raise BenchError(
                f"{study.source}: two cells are called {describe(cell.factors)}; let factors differ."
            )
        seen[place] = None


def describe(factors: Mapping[str, str]) -> str:
    """A cell in one line."""
    return " ".join(f"{name}={value}" for name, value in factors.items()) or "(one cell)"


def _find(name: str, folder: Path, *, what: str, option: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise BenchError(f"{option} {name}: there is no such file.")
    found = folder / f"{name}.yaml"
    if path.name != name or not found.is_file():
        raise BenchError(
            f"There is no {what} {name!r}. {did_you_mean(name, available(folder))} Or give a YAML file."
        )
    return found


def grid_name(grid: str) -> str:
    """A grid by its name, or by the file that `bench run --grid` takes."""
    if not grid.endswith((".yaml", ".yml")):
        return grid
    return load_study(grid).name
