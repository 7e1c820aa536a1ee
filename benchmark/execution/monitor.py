"""What a person, or a script, sees of a running grid."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from benchmark.execution.pool import Observer
from benchmark.results.order import RunOrder
from benchmark.results.runs import Heartbeat, RunFolder, RunRecord
from benchmark.terminal import COMMANDS, plain, say
from benchmark.vocabulary import BenchError
from benchmark.words import counted

REFRESH_SECONDS = 0.5
ENDED_WELL = ("done", "trained", "pruned")
TRAINING_SHARE = 0.9
"""Of a run's time, as a first guess; the rest is evaluation."""
PACE_SECONDS = 600.0
"""How far back the pace is looked at, where that is more than a third of the time so far."""


def duration(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 05 s, 2 h 10 min, 3 d 4 h."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    if seconds < 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
    return f"{seconds // 86400} d {seconds % 86400 // 3600} h"


def heartbeat_of(results: Path, run_id: str) -> Heartbeat | None:
    """Where a run is; None while it has not said so."""
    with contextlib.suppress(BenchError, OSError, TypeError):
        return RunFolder(results, run_id).heartbeat()
    return None


def fraction(beat: Heartbeat | None, *, training_share: float = TRAINING_SHARE) -> float:
    """How much of a run is done, roughly."""
    if beat is None or beat.total <= 0 or beat.phase == "prepare":
        return 0.0
    part = min(1.0, beat.done / beat.total)
    return training_share + (1 - training_share) * part if beat.phase == "evaluate" else training_share * part


def where(beat: Heartbeat | None) -> str:
    """A heartbeat for people: phase, step, loss, validation Dice."""
    if beat is None:
        return "starting"
    words = [f"{beat.phase} {beat.done}/{beat.total}"]
    if beat.loss is not None:
        words.append(f"loss {beat.loss:.4g}")
    if beat.val_dice is not None:
        # In the unit of the tables.
        words.append(f"val Dice {100 * beat.val_dice:.1f} %")
    return "  ".join(words)


@dataclass
class _Running:
    order: RunOrder
    attempt: int
    began: float
    beat: Heartbeat | None = None
    fraction_at_start: float | None = None


class Monitor(Observer):
    """Keeps the score of a grid; subclasses show it. A context manager around `Pool.run`.

    `labels` says what each run is; `finished` runs of `total` were done before this launch.
    """

    def __init__(self, labels: Mapping[str, str], *, total: int, finished: int) -> None:
        self.labels = labels
        self.total = total
        self.finished_before = finished
        self.done = 0
        self.failed = 0
        self.running: dict[str, _Running] = {}
        self._looked = 0.0
        self._shares: list[float] = []
        """What training took of the runs that ended here."""
        self._paces: deque[tuple[float, float]] = deque()
        """When it was looked at, and how many runs were done by then since the launch, parts of runs included."""

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def finished(self) -> int:
        return self.finished_before + self.done + self.failed

    @property
    def training_share(self) -> float:
        """Of a run's time: as of those that ended here, or as guessed."""
        return statistics.median(self._shares) if self._shares else TRAINING_SHARE

    def _fraction(self, run: _Running) -> float:
        return fraction(run.beat, training_share=self.training_share)

    def eta_seconds(self) -> float | None:
        """Time that is left at the pace of late; None before there is one."""
        now = time.monotonic()
        gained = (
            self.done
            + self.failed
            + sum(
                max(0.0, self._fraction(run) - (run.fraction_at_start or 0.0))
                for run in self.running.values()
            )
        )
        if not self._paces:
            return None
        if now - self._paces[-1][0] > PACE_SECONDS / 100:
            self._paces.append((now, gained))
        # Start-up is over after a while, and later runs may be of other sizes than the first.
        window = max(PACE_SECONDS, (now - self._paces[0][0]) / 3)
        while len(self._paces) > 2 and now - self._paces[1][0] > window:
            self._paces.popleft()
        elapsed, progress = now - self._paces[0][0], gained - self._paces[0][1]
        if progress < 0.05 or elapsed < 1.0:
            return None
        left = self.total - self.finished - sum(map(self._fraction, self.running.values()))
        return max(0.0, left) * elapsed / progress

    def started(self, order: RunOrder, *, attempt: int) -> None:
        if not self._paces:
            self._paces.append((time.monotonic(), 0.0))
        self.running[order.run_id] = _Running(order, attempt, time.monotonic())

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        run = self.running.pop(order.run_id, None)
        if (
            run is not None
            and run.attempt == 1
            and record.state == "done"
            and record.train_seconds is not None
        ):
            self._shares.append(min(1.0, record.train_seconds / max(time.monotonic() - run.began, 1e-9)))
        if record.state in ENDED_WELL:
            self.done += 1
        elif record.failure != "interrupted":
            self.failed += 1

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        self.running.pop(order.run_id, None)

    def known(self, order: RunOrder) -> None:
        """A trial whose run needs no work."""
        self.finished_before += 1

    def tick(self) -> None:
        now = time.monotonic()
        if now - self._looked < REFRESH_SECONDS:
            return
        self._looked = now
        # A heartbeat of an earlier attempt lies in the folder until the new one's first.
        for run in self.running.values():
            beat = heartbeat_of(run.order.results, run.order.run_id)
            if beat is not None and beat.time >= time.time() - (now - run.began) - 1.0:
                run.beat = beat
                if run.fraction_at_start is None:
                    run.fraction_at_start = fraction(beat) if run.attempt > 1 or beat.done > 1 else 0.0
        self.refresh()

    def refresh(self) -> None:
        """Show the present state; called about twice a second."""

    def label(self, order: RunOrder) -> str:
        return self.labels.get(order.run_id, order.run_id)

    def outcome(self, order: RunOrder, record: RunRecord) -> str:
        """A finished run in one line."""
        if record.state == "pruned":
            return f"pruned  {self.label(order)}"
        if record.state in ENDED_WELL:
            seconds = f" in {duration(record.train_seconds)}" if record.train_seconds is not None else ""
            return f"done    {self.label(order)}{seconds}"
        word = "stopped" if record.failure == "interrupted" else "failed "
        return f"{word} {self.label(order)}  [{order.run_id}] {record.failure}: {first_line(record.error)}"


def first_line(text: str | None) -> str:
    """The beginning of an error, for a list."""
    return next(iter((text or "").strip().splitlines()), "no reason given")[:200]


class PlainMonitor(Monitor):
    """One line an event, for logs and pipes; every half minute a line about each running cell that came further."""

    EVERY_SECONDS = 30.0

    def __init__(self, labels: Mapping[str, str], *, total: int, finished: int) -> None:
        super().__init__(labels, total=total, finished=finished)
        self._said = time.monotonic()
        self._waits = False
        self._lines: dict[str, str] = {}
        """What was last said of a running cell."""

    def say(self, text: str) -> None:
        say(text)

    def started(self, order: RunOrder, *, attempt: int) -> None:
        first = not self._paces
        super().started(order, attempt=attempt)
        if first:
            self.say(
                f"        {self.label(order)}  starting; a line for every run that ends, and every half minute for "
                "those that came further"
            )
            self._said = time.monotonic()

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        super().ended(order, record, elsewhere=elsewhere)
        eta = self.eta_seconds()
        left = f"  ({duration(eta)} left)" if eta is not None and self.finished < self.total else ""
        other = "  (by another launcher)" if elsewhere else ""
        self.say(f"[{self.finished}/{self.total}] {self.outcome(order, record)}{other}{left}")
        self._said = time.monotonic()

    def known(self, order: RunOrder) -> None:
        super().known(order)
        self.say(f"[{self.finished}/{self.total}] known   {self.label(order)}")

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        super().retried(order, record)
        self.say(
            f"again   {self.label(order)}  [{order.run_id}] {record.failure}: {first_line(record.error)}"
        )

    def waiting(self, orders: Sequence[RunOrder]) -> None:
        if not self._waits:
            self._waits = True
            self.say(f"Waiting for {counted(len(orders), 'run')} of another launcher.")

    def stopping(self, count: int, *, killed: bool) -> None:
        self.say(_stopping(count, killed))

    def refresh(self) -> None:
        if time.monotonic() - self._said < self.EVERY_SECONDS:
            return
        self._said = time.monotonic()
        for run_id, run in self.running.items():
            line = f"        {self.label(run.order)}  {where(run.beat)}"
            if self._lines.get(run_id) != line:
                self._lines[run_id] = line
                self.say(line)


class JsonMonitor(Monitor):
    """One JSON object a line."""

    def say(self, event: str, order: RunOrder | None = None, **content: Any) -> None:
        subject = {} if order is None else {"run": order.run_id, "cell": self.label(order)}
        counted = {"finished": self.finished, "total": self.total}
        print(
            json.dumps({"event": event, "time": round(time.time(), 3), **subject, **content, **counted}),
            flush=True,
        )

    def started(self, order: RunOrder, *, attempt: int) -> None:
        super().started(order, attempt=attempt)
        self.say("started", order, attempt=attempt, device=order.resources.device)

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        super().ended(order, record, elsewhere=elsewhere)
        self.say(record.state, order, failure=record.failure, error=record.error, elsewhere=elsewhere)

    def known(self, order: RunOrder) -> None:
        super().known(order)
        self.say("known", order)

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        super().retried(order, record)
        self.say("retried", order, failure=record.failure, error=record.error)

    def stopping(self, count: int, *, killed: bool) -> None:
        self.say("stopping", running=count, killed=killed)


class LiveMonitor(Monitor):
    """A bar over the grid and one line per running cell, redrawn in place; failures scroll by above."""

    def __init__(
        self, labels: Mapping[str, str], *, total: int, finished: int, title: str, console: Console
    ) -> None:
        super().__init__(labels, total=total, finished=finished)
        self._console = console
        self._title = title
        self._note = ""
        self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)

    def __enter__(self) -> LiveMonitor:
        self._live.__enter__()
        self.refresh()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def ended(self, order: RunOrder, record: RunRecord, *, elsewhere: bool) -> None:
        super().ended(order, record, elsewhere=elsewhere)
        if record.state not in ENDED_WELL:
            self._console.print(Text(self.outcome(order, record), style="red"))
        self.refresh()

    def retried(self, order: RunOrder, record: RunRecord) -> None:
        super().retried(order, record)
        text = f"again   {self.label(order)}  [{order.run_id}] {first_line(record.error)}"
        self._console.print(Text(text, style="yellow"))

    def waiting(self, orders: Sequence[RunOrder]) -> None:
        self._note = f"waiting for {counted(len(orders), 'run')} of another launcher"

    def stopping(self, count: int, *, killed: bool) -> None:
        self._note = _stopping(count, killed)
        self.refresh()

    def refresh(self) -> None:
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        eta = self.eta_seconds()
        words = [f"{self.finished}/{self.total}"]
        if self.failed:
            words.append(f"{self.failed} failed")
        if self.finished < self.total:
            words.append("estimating" if eta is None else f"{duration(eta)} left")
        progress = sum(map(self._fraction, self.running.values()))
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, self.total), completed=self.finished + progress, width=40)
        head.add_row(Text(self._title, style="bold"), bar, Text(", ".join(words)))
        cells = Table.grid(padding=(0, 2))
        for run in self.running.values():
            elapsed = duration(time.monotonic() - run.began)
            again = f"attempt {run.attempt}" if run.attempt > 1 else ""
            cells.add_row(
                Text(self.label(run.order), style="cyan", overflow="ellipsis", no_wrap=True),
                Text(where(run.beat)),
                Text(run.order.resources.device, style="dim"),
                Text(f"{elapsed} {again}", style="dim"),
            )
        note = [Text(self._note, style="yellow")] if self._note else []
        return Group(head, cells, *note)


def _stopping(count: int, killed: bool) -> str:
    runs = counted(count, "run")
    if killed:
        return f"Killing {runs}; the next start continues from the last checkpoints."
    return f"Stopping {runs} with a checkpoint. Press Ctrl-C again to kill them."


class Preparation:
    """Shows how far checking, phantoms and preparation are: `show(what, done, total)`."""

    SILENT_SECONDS = 1.0
    """Without a terminal only what takes longer is mentioned."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._quiet = quiet
        self._live: Live | None = None
        self._what = ""
        self._drawn = 0.0
        self._began = 0.0
        self._said = False

    def __enter__(self) -> Preparation:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*exception)

    def show(self, what: str, done: int, total: int) -> None:
        """The callback of `ready_data`, and of `write_phantoms` with a name."""
        now = time.monotonic()
        if self._live is not None:
            if now - self._drawn >= 0.1 or done >= total:
                self._drawn = now
                line = Table.grid(padding=(0, 2))
                bar = ProgressBar(total=max(1, total), completed=done, width=40)
                line.add_row(Text(what.capitalize(), style="bold"), bar, Text(f"{done}/{total} cases"))
                self._live.update(line, refresh=True)
            return
        if what != self._what:
            self._what, self._began, self._said = what, now, False
        if not self._quiet and not self._said and now - self._began > self.SILENT_SECONDS:
            self._said = True
            self._console.print(f"{what.capitalize()}: {counted(total, 'case')}")

    def named(self, what: str) -> Callable[[int, int], None]:
        """A callback `(done, total)` under a fixed name."""
        return lambda done, total: self.show(what, done, total)


class _PlainStatus(Status):
    """Rich takes what a status says for markup, whatever its console takes."""

    def __init__(self, status: RenderableType, *, console: Console) -> None:
        super().__init__(_as_it_is(status), console=console)

    def update(self, status: RenderableType | None = None, **options: Any) -> None:
        super().update(None if status is None else _as_it_is(status), **options)


def _as_it_is(text: RenderableType) -> RenderableType:
    return Text(text) if isinstance(text, str) else text


class _PlainConsole(Console):
    """Styles are the suite's own; text may be anybody's, and gives no commands to the terminal."""

    def status(self, status: RenderableType, **_: Any) -> Status:
        return _PlainStatus(status, console=self)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            commands = segment.control is None and COMMANDS.search(segment.text)
            yield segment._replace(text=plain(segment.text)) if commands else segment


def console(*, to_stderr: bool = False) -> Console:
    """A terminal that prints text as it is: brackets in paths are no markup, and nothing in it is a command."""
    return _PlainConsole(file=sys.stderr if to_stderr else sys.stdout, highlight=False, markup=False)


def monitor_for(
    labels: dict[str, str], screen: Console, *, total: int, due: int, title: str, as_json: bool
) -> Monitor:
    """The monitor for a terminal, for a file or pipe, or for scripts."""
    if as_json:
        return JsonMonitor(labels, total=total, finished=total - due)
    if screen.is_terminal:
        return LiveMonitor(labels, total=total, finished=total - due, title=title, console=screen)
    return PlainMonitor(labels, total=total, finished=total - due)
