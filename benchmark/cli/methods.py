"""`bench methods` and `bench check-method`: what methods there are, and whether one keeps the contract."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from benchmark.cli.common import AsJson, MethodFiles

if TYPE_CHECKING:
    from rich.console import Console

    from benchmark.contract import Verdict


def list_methods(
    name: Annotated[str | None, typer.Argument(help="A method, to read everything about it.")] = None,
    method_file: MethodFiles = None,
    as_json: AsJson = False,
) -> None:
    """What methods there are; with a name: its description, arguments, variants and sizes."""
    import json

    from benchmark.contract import catalogue
    from benchmark.execution.monitor import console
    from benchmark.registry import method_names, use_method_files

    if method_file:
        use_method_files(method_file)
    if name is not None:
        described = catalogue.description(name)
        if as_json:
            print(json.dumps(described, indent=1, default=list))
        else:
            _print_description(console(), described)
        return
    rows = [catalogue.summary(known) for known in method_names()]
    if as_json:
        print(json.dumps(rows, indent=1))
    else:
        _print_methods(console(), rows)


MOST_COLUMNS = 100


def _print_methods(screen: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """A method in a line of columns, what is as long as it is in lines below; all within MOST_COLUMNS."""
    title = ("method", "tasks", "fusion", "parameters", "modalities", "labels")
    shown = [
        (
            row["method"],
            " + ".join(row["tasks"]),
            row["fusion"],
            _size(row["parameters"], trains_itself=row["trains_itself"]),
            row["takes_modalities"],
            row["takes_labels"],
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(title, *shown, strict=True)]
    right = title.index("parameters")

    def line(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        padded[right] = cells[right].rjust(widths[right])
        return "  ".join(padded).rstrip()

    screen.print(line(title), style="dim", soft_wrap=True, highlight=False)
    for row, cells in zip(rows, shown, strict=True):
        screen.print(line(cells), soft_wrap=True, highlight=False)
        for below in _below(row):
            screen.print(below, style="dim", soft_wrap=True, highlight=False)


def _below(row: Mapping[str, Any]) -> Iterator[str]:
    """Data sets, variants, paper and what is wrong with a method, indented."""
    told = {
        "data sets": _served(row) + (f" ({row['shown_with']})" if row["shown_with"] else ""),
        "variants": ", ".join(row["variants"]),
        "paper": row["paper"],
        "problem": row["problem"] or "",
    }
    for name, text in told.items():
        if text:
            yield from textwrap.wrap(
                f"{name}: {text}", MOST_COLUMNS, initial_indent="    ", subsequent_indent="      "
            )


def _served(facts: Mapping[str, Any]) -> str:
    return ", ".join(name for name, reason in facts["datasets"].items() if reason is None) or "none"


_TAKES = {
    "any": "Takes any number of modalities; ",
    "branches": "Takes two roles, each a modality or a group, as the data set or an argument names them; ",
}
_TELLS = {"several": "tells several labels apart.", "one": "for data sets of one label."}


def _print_description(screen: Console, described: Mapping[str, Any]) -> None:
    from rich.padding import Padding
    from rich.table import Table

    def table(title: str, columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> None:
        screen.print(f"\n{title}", style="bold")
        grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
        for column, justify in columns.items():
            grid.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
        for row in rows:
            grid.add_row(*row)
        screen.print(Padding(grid, (0, 0, 0, 2)))

    for number, kind in enumerate(described["variants"]):
        variant = f", variant {kind['variant']!r}" if len(described["variants"]) > 1 else ""
        screen.print(
            ("\n" if number else "") + f"{described['method']}{variant}: {kind['class']}", style="bold"
        )
        screen.print(kind["paper"], style="italic")
        screen.print(_TAKES[kind["takes_modalities"]] + _TELLS[kind["takes_labels"]])
        screen.print()
        for line in _reflowed(kind["text"], width=screen.width):
            screen.print(line)
        if kind["arguments"]:
            shown = [
                (each["name"], "" if each["required"] else repr(each["default"]), each["type"])
                for each in kind["arguments"]
            ]
            table("Arguments", {"name": "left", "default": "left", "type": "left"}, shown)
        columns = {"": "left", "arguments": "left", "parameters": "right", "data sets": "left"}
        table("Examples", columns, [_example_row(example, kind) for example in kind["examples"]])
        for example in kind["examples"]:
            if example["problem"]:
                screen.print(f"  {example['name']}: {example['problem']}", style="yellow")
        if kind["trains_itself"]:
            continue
        table(
            "Losses with their default weights, and readings",
            {"": "left", "losses": "left", "readings": "left"},
            [
                (
                    example["name"],
                    _pairs(example["loss_weights"]),
                    ", ".join(filter(None, example["readings"])),
                )
                for example in _changes(kind["examples"])
            ],
        )


def _example_row(example: Mapping[str, Any], kind: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        example["name"],
        _pairs(example["arguments"]),
        _size(example["parameters"], trains_itself=kind["trains_itself"]),
        _served(example),
    )


def _changes(examples: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The examples whose losses or readings are not those of the first that is served."""
    seen: list[tuple[object, object]] = []
    for example in examples:
        what = example["loss_weights"], example["readings"]
        if example["readings"] and what not in seen:
            seen.append(what)
            yield example


def _size(parameters: int | None, *, trains_itself: bool) -> str:
    if parameters is not None:
        return f"{parameters:,}"
    return "planned from the data" if trains_itself else "-"


def _pairs(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in content.items())


def _reflowed(text: str, *, width: int) -> Iterator[str]:
    """A docstring's paragraphs and bullets, broken again for the terminal."""
    items: list[str] = []
    for line in text.splitlines():
        bullet = line.lstrip().startswith(("* ", "- "))
        if not line.strip() or bullet or not items or not items[-1]:
            items.append(line.rstrip())
        else:
            items[-1] += f" {line.strip()}"
    for item in items:
        indent = len(item) - len(item.lstrip())
        hanging = " " * (indent + 2 * item.lstrip().startswith(("* ", "- ")))
        yield from textwrap.wrap(
            item, max(width, 20), subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False
        ) or [""]


def check_method(
    method: Annotated[str, typer.Argument(help="A file, like my_net.py, or a method's name.")],
    as_json: AsJson = False,
) -> None:
    """Check whether a method keeps the contract, and say what fails and what to do. Exit code 1 if anything does."""
    import json

    import torch

    from benchmark.contract import settings, verdicts_of
    from benchmark.execution.monitor import console

    # Small networks gain nothing from a second thread, and lose much where other processes compute.
    torch.set_num_threads(1)
    name = _name_of(method)
    tried = settings(name)
    found: list[Verdict] = []
    with console(to_stderr=True).status("") as shown:
        for number, setting in enumerate(tried):
            shown.update(f"{number + 1} of {len(tried)}: {setting}")
            found += verdicts_of(setting)
    broken = any(verdict.state == "broken" for verdict in found)
    if as_json:
        checks = [
            {
                "check": verdict.check.name,
                "example": verdict.setting.example,
                "dataset": verdict.setting.spec.name,
                "state": verdict.state,
                "words": verdict.words,
            }
            for verdict in found
        ]
        print(json.dumps({"method": name, "kept": not broken, "checks": checks}, indent=1))
    else:
        _print_verdicts(console(), name, found)
    raise typer.Exit(1 if broken else 0)


def _name_of(method: str) -> str:
    """The method's name; a file is made known first."""
    from benchmark.registry import method_module, method_names, use_method_files

    path = Path(method)
    if path.suffix != ".py":
        return method
    if path.stem in method_names() and path.exists():
        known = method_module(path.stem).__file__
        if known is not None and path.samefile(known):
            return path.stem
    (name,) = use_method_files([path])
    return name


def _print_verdicts(screen: Console, name: str, found: Sequence[Verdict]) -> None:
    """A line for each check; below one that fails, what is wrong and for which settings."""
    by_check: dict[str, list[Verdict]] = {}
    for verdict in found:
        by_check.setdefault(verdict.check.name, []).append(verdict)
    served = [v.setting for v in next(iter(by_check.values())) if v.setting.unsupported is None]
    screen.print(f"{name}: {_places(served) or 'serves no data set'}", style="bold")
    fail, unchecked = 0, dict[str, list[str]]()
    for check, verdicts in by_check.items():
        broken = [v for v in verdicts if v.state == "broken"]
        kept = [v for v in verdicts if v.state == "kept"]
        if broken:
            fail += 1
            screen.print(f"  fails        {check}", style="red")
            _print_words(screen, broken)
        elif kept:
            screen.print(f"  kept         {check}")
        else:
            reasons = dict.fromkeys(
                word for v in verdicts for word in v.words if v.setting.unsupported is None
            )
            unchecked.setdefault("; ".join(reasons) or "no data set is served", []).append(check)
    for reason, checks in unchecked.items():
        which = checks[0] if len(checks) == 1 else f"{len(checks)} checks"
        screen.print(f"  not checked  {which}: {reason}", style="dim")
    for reason, settings in _by_words(
        (v.setting.unsupported, v) for v in next(iter(by_check.values()))
    ).items():
        screen.print(f"  {_places([v.setting for v in settings])}: not served. {reason}", style="dim")
    if fail:
        screen.print(f"{fail} of {len(by_check)} checks fail{'s' if fail == 1 else ''}.", style="red")
    else:
        screen.print("It keeps the contract.", style="green")


def _print_words(screen: Console, broken: Sequence[Verdict]) -> None:
    from rich.padding import Padding

    for words, verdicts in _by_words((words, v) for v in broken for words in v.words).items():
        screen.print(Padding(f"{_places([v.setting for v in verdicts])}: {words}", (0, 0, 0, 15)))


def _by_words(pairs: Iterable[tuple[str | None, Verdict]]) -> dict[str, list[Verdict]]:
    grouped: dict[str, list[Verdict]] = {}
    for words, verdict in pairs:
        if words is not None:
            grouped.setdefault(words, []).append(verdict)
    return grouped


def _places(settings: Sequence[Any]) -> str:
    """Examples, with the data sets of each in common."""
    by_example: dict[str, list[str]] = {}
    for setting in settings:
        by_example.setdefault(setting.example, []).append(setting.spec.name)
    by_specs: dict[tuple[str, ...], list[str]] = {}
    for example, specs in by_example.items():
        by_specs.setdefault(tuple(specs), []).append(example)
    return "; ".join(f"{', '.join(names)} on {' and '.join(specs)}" for specs, names in by_specs.items())
