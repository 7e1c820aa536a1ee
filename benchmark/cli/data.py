"""`bench data`: phantoms, checks, preparation and conversion."""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmark.cli.common import AsJson, DataNames, Jobs, Results, data_roots, spacing_of, stopped_by_ctrl_c
from benchmark.terminal import say
from benchmark.vocabulary import BenchError
from benchmark.words import counted, named_data

app = typer.Typer(
    name="data", help="Phantoms, checks, preparation and conversion of data sets.", no_args_is_help=True
)


class Kind(enum.StrEnum):
    """What phantoms show."""

    PET_CT = "pet-ct"
    BRAIN = "brain"


@app.command("phantom")
def data_phantom(
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    kind: Annotated[Kind, typer.Option(help="Whole-body PET/CT or brain MRI.")] = Kind.PET_CT,
    cases: Annotated[int, typer.Option(min=1, help="How many; of PET/CT some patients have two.")] = 40,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    spacing: Annotated[str | None, typer.Option(help="Voxel edges in mm, e.g. 4 or 2,2,3.")] = None,
    jobs: Jobs = None,
) -> None:
    """Write phantoms as NIfTI files: PET/CT in AutoPET's layout, brains in the Medical Segmentation Decathlon's."""
    from benchmark.datasets.registry import phantom_readers
    from benchmark.execution.monitor import Preparation, console
    from benchmark.processes.devices import cores

    name, phantoms = next(
        (name, found) for name, found in phantom_readers().items() if found.kind == kind.value
    )
    with stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        phantoms.write(
            out,
            cases=cases,
            seed=seed,
            spacing_mm=spacing_of(spacing) or phantoms.default_spacing_mm,
            jobs=jobs or cores(),
            progress=shown.named("generate phantoms"),
        )
    say(f"{cases} phantoms in {out}; use them with --data {named_data(name, out)}")


@app.command("check")
def data_check(
    data: Annotated[str, typer.Argument(metavar="NAME=DIR", help="A data set and its folder.")],
    dataset: Annotated[
        str | None, typer.Option(help="Which data set it is, where the argument is a folder alone.")
    ] = None,
    cheap: Annotated[bool, typer.Option("--cheap", help="Headers only.")] = False,
    jobs: Jobs = None,
    as_json: AsJson = False,
) -> None:
    """List what is wrong or odd about a data set's files, each with case and remedy, and what it is like.

    Exit code 1 if there are faults; warnings are none.
    """
    from benchmark.data.check import checked_cases
    from benchmark.data.facts import dataset_findings, summary
    from benchmark.data.findings import findings_json, report_findings
    from benchmark.datasets.registry import dataset as reader_of
    from benchmark.execution.monitor import Preparation, console
    from benchmark.processes.devices import cores

    name, path = _named_folder(data, dataset)
    reader = reader_of(name)
    spec, labelled = reader.spec_of(path), reader.discover(path)
    cases = labelled or reader.unlabelled(path)
    with stopped_by_ctrl_c(), Preparation(console(to_stderr=as_json), quiet=as_json) as shown:
        checked = checked_cases(
            cases, spec, thorough=not cheap, jobs=jobs or cores(), progress=shown.named("check")
        )
    findings = [*reader.remarks(path), *dataset_findings(cases, checked.facts), *checked.findings]
    if as_json:
        say(findings_json(findings))
    else:
        say(report_findings(findings, cases=len(cases)))
        say(f"\n{summary(cases, checked.facts, spec)}")
        if not labelled:
            say("No case has a label: the data set can be predicted, but neither trained on nor scored.")
    raise typer.Exit(1 if any(finding.is_fault for finding in findings) else 0)


def _named_folder(data: str, dataset: str | None) -> tuple[str, Path]:
    """`nnunet=DIR`, or `DIR` with the data set's name beside it; AutoPET where nothing names it."""
    from benchmark.datasets.registry import dataset_names

    name, equals, folder = data.partition("=")
    if equals and name in dataset_names() and not Path(data).exists():
        if dataset not in (None, name):
            raise BenchError(
                f"{data} names the data set {name}, and --dataset {dataset} another. Leave one out."
            )
        if not folder:
            raise BenchError(f"{data} names no folder. Say {name}=DIR.")
        return name, Path(folder)
    return dataset or "autopet", Path(data)


@app.command("prepare")
def data_prepare(
    data: Annotated[str | None, typer.Argument(metavar="NAME=DIR", help="A data set and its folder.")] = None,
    data_option: Annotated[str | None, typer.Option("--data", hidden=True)] = None,
    spacing: Annotated[
        str | None, typer.Option(help="Voxel edges in mm; default: the data set's own.")
    ] = None,
    n_folds: Annotated[int, typer.Option(min=2, help="Folds to draw.")] = 5,
    splits: Annotated[Path | None, typer.Option(help="Your own splits.")] = None,
    skip_bad_cases: Annotated[bool, typer.Option("--skip-bad-cases", help="Leave broken cases out.")] = False,
    results: Results = Path("results"),
    jobs: Jobs = None,
) -> None:
    """Check, resample, crop and store a data set, and draw its splits, as `bench run` would."""
    from benchmark.datasets.pipeline import ready_data, warning_lines
    from benchmark.datasets.registry import dataset as reader_of
    from benchmark.execution.monitor import Preparation, console
    from benchmark.execution.pool import check_writable
    from benchmark.processes.devices import cores

    named = [text for text in (data, data_option) if text is not None]
    if len(named) != 1:
        raise BenchError("Name one data set and its folder: bench data prepare NAME=DIR.")
    ((name, root),) = data_roots(named).items()
    if root is None:
        raise BenchError(
            f"{name}: write phantoms first (`bench data phantom --out DIR`), then say {name}=DIR."
        )
    check_writable(results)
    with stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        ready = ready_data(
            name,
            root,
            results=results,
            preparation=reader_of(name).spec_of(root).preparation_at(spacing_of(spacing)),
            n_folds=n_folds,
            splits_file=splits,
            skip_bad_cases=skip_bad_cases,
            jobs=jobs or cores(),
            progress=shown.show,
        )
    for line in warning_lines(ready):
        say(line)
    if ready.excluded_cases:
        say(f"Left out {len(ready.excluded_cases)} bad cases: {', '.join(ready.excluded_cases)}")
    say(f"{ready.n_cases} cases in {ready.store}, {len(ready.rebuilt)} of them prepared now")
    say(f"{ready.n_folds} folds in {ready.splits}")


@app.command("convert")
def data_convert(
    data: Annotated[str, typer.Argument(metavar="NAME=DIR", help="A data set and its folder.")],
    out: Annotated[Path, typer.Option(help="Folder that gets the data set, as nnU-Net's nnUNet_raw.")],
    number: Annotated[int, typer.Option(min=1, max=999, help="Its number in nnU-Net.")] = 501,
    splits: Annotated[
        Path | None, typer.Option(help="Folds to take along, as `bench data prepare` or a run wrote them.")
    ] = None,
    copy: Annotated[bool, typer.Option("--copy", help="Copy files instead of linking them.")] = False,
    data_name: DataNames = None,
) -> None:
    """Write a data set as nnU-Net's raw data; `--data nnunet=DIR` reads it back without a loss."""
    from benchmark.data.splits import read_stored_splits
    from benchmark.datasets.convert import convert_to_nnunet, mended_labels
    from benchmark.datasets.registry import dataset as reader_of
    from benchmark.execution.monitor import Preparation, console
    from benchmark.planning import setup

    ((name, root),) = data_roots([data]).items()
    if root is None:
        raise BenchError(
            f"{name}: write phantoms first (`bench data phantom --out DIR`), then say {name}=DIR."
        )
    reader = reader_of(name)
    called = setup.data_name(name, root, setup.data_names(data_name or (), {name: root}))
    with stopped_by_ctrl_c(), Preparation(console(), quiet=False) as shown:
        folder = convert_to_nnunet(
            [*reader.discover(root), *reader.unlabelled(root)],
            replace(reader.spec_of(root), name=called),
            out,
            number=number,
            splits=read_stored_splits(splits) if splits else None,
            copy=copy,
            progress=shown.named("convert"),
        )
    if mended := mended_labels(folder):
        say(
            f"{counted(len(mended), 'label')} rewritten as whole numbers of one byte, which they are up to rounding, "
            f"but were stored {' or '.join(sorted(set(mended.values())))}; {folder / 'conversion.json'} lists them"
        )
    say(f"{folder}; use it with --data {named_data('nnunet', folder)}")
