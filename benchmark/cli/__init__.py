"""The command line: parse, call, return an exit code.

0: all is well. 1: it worked, and found failed runs or faulty cases. 2: an error the user can act on, in one
line on stderr. 3: an error that nobody foresaw, in one line on stderr and with its traceback in a log. 130: stopped by
Ctrl-C; the same command continues. Imports at the top of every file here must stay light: `bench --help` reads them
all.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

from benchmark.processes import signals

with signals.ending_silently():
    import typer

    from benchmark.cli import (
        cluster,
        data,
        evaluate,
        merge,
        methods,
        panels,
        predict,
        results,
        run,
        search,
        streams,
        why,
    )
    from benchmark.credentials import without_secrets
    from benchmark.terminal import complain
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
app.command()(cluster.work)
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
    """The command `bench`. Always ends with SystemExit."""
    streams.open_standard_streams()
    words = list(sys.argv[1:] if arguments is None else arguments)
    with streams.sturdy(words) as output:
        code = _run(words)
        output.flush()
        # A reader that has seen enough closes its end, which is no trouble of anybody's.
        if (failure := output.failure) and failure.errno != errno.EPIPE and not streams.lasts(words):
            complain(f"the output could not be printed: {streams.reason(failure)}.")
            code = code or 2
    sys.exit(code)


def _run(words: list[str]) -> int:
    """The one place where errors end: the exit code."""
    try:
        app(args=words, prog_name="bench")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BenchError as error:
        complain(error)
        return 2
    except Exception as error:
        log = streams.new_log(streams.results_named(words), "error")
        with contextlib.suppress(OSError):
            log.write_text(without_secrets(traceback.format_exc()), encoding="utf-8")
        said = f"{type(error).__name__}: {error}".strip().splitlines()[0].rstrip(".")
        command = " ".join(["bench", *words[:1]])
        complain(
            f"{command} ended with an error that nobody foresaw: {said}. Its traceback is in {log}; what is done is "
            "kept."
        )
        return 3
    return 0
