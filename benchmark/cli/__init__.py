"""The command line: parse, call, return an exit code.

0: all is well. 1: it worked, and found failed runs or faulty cases. 2: an error the user can act on, in one
line on stderr. 130: stopped by Ctrl-C; the same command continues. Imports at the top of every file here must stay
light: `bench --help` reads them all.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from benchmark.cli import data, evaluate, merge, methods, panels, predict, results, run, search, why
from benchmark.vocabulary import BenchError

app = typer.Typer(
    name="bench",
    help="Train, score and compare segmentation methods. Start with: bench run --grid table2",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"mirror-bench {version('mirror-bench')}")
        raise typer.Exit


@app.callback()
def _bench(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command()(run.run)
app.command()(search.search)
app.command()(results.status)
app.command()(results.show)
app.command()(results.report)
app.command()(why.why)
app.command()(evaluate.evaluate)
app.command()(predict.predict)
app.command()(panels.panels)
app.command()(results.sync)
app.command()(merge.merge)
app.command("methods")(methods.list_methods)
app.command()(methods.check_method)
app.add_typer(data.app)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `bench`."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="bench")
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
