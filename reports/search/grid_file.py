"""The best trial as a grid of one cell, which `bench run --grid FILE` accepts as it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmark.files.writing import write_text

AT_LAUNCH = ("dataset", "fold", "seed", "method_digest")


def scoring_command(
    path: Path,
    config: Mapping[str, Any],
    *,
    profile: str,
    launched: Mapping[str, Sequence[str]],
    results: Path,
) -> str:
    """What scores the grid's run where it was trained: its own fold and seed, and what the search was `launched` with;
    of a search that did not write that down, its data set and the name of its profile."""
    dataset = str(config["dataset"])
    usual = {"--data": [dataset if dataset.endswith("phantom") else f"{dataset}=DIR"], "--profile": [profile]}
    options = {
        **usual,
        **{name: values for name, values in launched.items() if values},
        "--folds": [str(config["fold"])],
        "--seeds": [str(config["seed"])],
        "--results": [] if results == Path("results") else [str(results)],
    }
    words = [word for name, values in options.items() for value in values for word in (name, value)]
    return shlex.join(["bench", "run", "--grid", str(path), *words])


def write_grid(path: Path, config: Mapping[str, Any], *, name: str, cell: str, header: str) -> None:
    """`config` is a run's configuration. Its settings stand in the cell, not in `set`, where a profile would replace
    some of them."""
    settings = {key: value for key, value in config.items() if key not in AT_LAUNCH and value is not None}
    content = {
        "name": name,
        "dataset": config["dataset"],
        "blocks": [{"over": {"trial": {"values": {cell: settings}}}}],
    }
    lines = "".join(f"# {line}\n" for line in header.splitlines())
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    write_text(path, lines + text)
