"""SLURM: pilots as the tasks of a job array, by `sbatch` alone.

The script is written beside the plan, so that what was submitted can be read, and submitted again by hand. It ends with
the pilot's exit code, and submits its own task again where the pilot was stopped with work left, or was killed: SLURM
sends USR1 to the script before the time limit, which tells the pilot to save its checkpoints. Nothing here needs
accounting (`sacct`). Tried with SLURM 22.05.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from benchmark.execution.plan_file import RunPlan
from benchmark.files.places import is_there, read_text
from benchmark.files.schemas import STRICT, Amount, Whole, read_as
from benchmark.files.strict_yaml import parse, read_yaml
from benchmark.files.writing import write_json, write_text
from benchmark.vocabulary import BenchError

TRY_AGAIN = 75
"""The exit code of a pilot that was stopped with work left (EX_TEMPFAIL of sysexits.h)."""
USUAL_FILE = Path("~/.config/mirror-bench/slurm.yaml")
SECONDS = 60.0
"""How long SLURM's commands may take."""
MOST_TASKS = 1000
"""Tasks of an array where SLURM does not say how many it takes."""

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:,/@+=&|*\[\]()-]*$")]
"""What stands behind an option of sbatch: nothing that a shell, or a line of options, takes for more than one word."""
Line = Annotated[str, Field(pattern=r"^[^\r\n]*$")]


class SlurmSettings(BaseModel):
    """What a pilot asks SLURM for, from a YAML file (`~/.config/mirror-bench/slurm.yaml` or `--cluster FILE`) and from
    `--submit KEY=VALUE`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    gpus: Word = "1"
    """Of a pilot, on one node, as `--gres=gpu:` takes them: 2, a100:1; 0: it computes on the CPU."""
    cpus: int = Field(4, ge=1)
    memory: Annotated[str, Field(pattern=r"^[0-9]+[KMGT]?$")] | None = None
    """Of a pilot, as `--mem` takes it: 32G. None: the cluster's default."""
    time: Annotated[str, Field(pattern=r"^[0-9]+([:-][0-9]+)*$")] | None = None
    """Of a pilot, as `--time` takes it. None: the partition's default; a longer one than its limit waits for ever."""
    margin_seconds: int = Field(300, ge=10)
    """How long before the time limit a pilot is told to save its checkpoints. SLURM may be a minute early."""
    bfloat16: bool | None = None
    """Whether the nodes' devices compute in bfloat16, for precision `auto`. None: GPUs do."""
    modules: tuple[Word, ...] = ()
    """For `module load`."""
    setup: tuple[Line, ...] = ()
    """Lines of the script before the pilot starts, e.g. `source ~/envs/bench/bin/activate`."""
    sbatch: tuple[Line, ...] = ()
    """Further options, one a line, as after `#SBATCH`: `--mail-type=END`."""
    command: tuple[Line, ...] = ()
    """How `bench` is called on the nodes, e.g. [apptainer, exec, --nv, bench.sif, bench]. None: as here."""
    jobs_per_device: int = Field(1, ge=1)

    @property
    def uses_gpus(self) -> bool:
        return self.gpus.rpartition(":")[2] != "0"

    @property
    def computes_in_bfloat16(self) -> bool:
        return self.uses_gpus if self.bfloat16 is None else self.bfloat16


def settings_from(file: Path | None, given: Sequence[str] = ()) -> SlurmSettings:
    """Those of a file (None: the usual one, where there is one), then `KEY=VALUE`s; BenchError names what is wrong."""
    usual = USUAL_FILE.expanduser()
    path = file or (usual if usual.is_file() else None)
    content: dict[str, Any] = {} if path is None else read_yaml(path)
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not value:
            raise BenchError(f"--submit {text}: write KEY=VALUE, e.g. --submit partition=gpu.")
        many = key in ("modules", "setup", "sbatch", "command")
        content[key] = [*content.get(key, ()), value] if many else value
    if isinstance(content.get("time"), int):
        raise BenchError(
            f'{path}: time: YAML reads this as a number in base 60; write it in quotes, "24:00:00".'
        )
    for key in ("gpus", "memory"):
        if isinstance(content.get(key), int):
            content[key] = str(content[key])
    source = "--submit" if path is None else f"{path}, --submit" if given else str(path)
    return parse(SlurmSettings, content, source=source)


@dataclass(frozen=True)
class Submission:
    """`jobs`: of the arrays; `workers`: pilots in all."""

    __pydantic_config__ = STRICT

    jobs: tuple[Whole, ...]
    workers: Whole
    submitted: Amount


def script_of(folder: Path, title: str, n_runs: int, settings: SlurmSettings) -> str:
    """The batch script of the pilots of a plan in its `folder`; the same arguments give the same bytes.

    The script's own argument is the number of the array's first pilot.
    """
    if odd := re.search(r'[%"\\\n$`]', str(folder)):
        raise BenchError(
            f"SLURM cannot write logs to {folder}: {odd.group()!r} means something else to it. Choose other --results."
        )
    name = re.sub(r"[^A-Za-z0-9._-]", "-", title)
    options = [
        f"--job-name=bench-{name}",
        f'--output="{folder}/pilot-%A_%a.log"',
        "--open-mode=append",
        "--requeue",
        f"--signal=B:USR1@{settings.margin_seconds}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={settings.cpus}",
    ]
    if settings.uses_gpus:
        options.append(f"--gres=gpu:{settings.gpus}")
    if settings.memory:
        options.append(f"--mem={settings.memory}")
    named = {name: getattr(settings, name) for name in ("time", "partition", "account", "qos", "constraint")}
    options += [f"--{name}={value}" for name, value in named.items() if value]
    options += [line.removeprefix("#SBATCH").strip() for line in settings.sbatch]
    script = folder / "slurm.sh"
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {option}" for option in options),
            f"# Pilots of plan {folder.name}: {n_runs} runs of {name}.",
            *(f"module load {module}" for module in settings.modules),
            *settings.setup,
            "number=$(($1 + SLURM_ARRAY_TASK_ID))",
            # USR1 comes to this shell alone, before the time limit. TERM comes to all: of scancel, or where SLURM
            # starts the job again. It must not end the shell, and what is ignored here the pilot would ignore too.
            "pilot= told= ended=",
            "trap 'told=1; kill -TERM \"$pilot\" 2>/dev/null' USR1",
            "trap 'ended=1' TERM",
            f'{shlex.join(_command(folder, settings))} --pilot "$number" &',
            "pilot=$!",
            'while kill -0 "$pilot" 2>/dev/null; do wait "$pilot"; code=$?; done',
            # A signal ends `wait` early; the pilot's own code is the last answer.
            'wait "$pilot" 2>/dev/null; last=$?; [ "$last" = 127 ] || code=$last',
            # Whose time is up gets TERM as well, if saving takes longer than the margin.
            'if [ -n "$told" ] || [ -z "$ended" ]; then again=1; else again=; fi',
            f'if [ -n "$again" ] && {{ [ "$code" = {TRY_AGAIN} ] || [ "$code" -gt 128 ]; }}; then',
            # Not `scontrol requeue` first: SLURM holds a requeued job back for two minutes.
            '  sbatch --parsable --array="$SLURM_ARRAY_TASK_ID" '
            f'{shlex.quote(str(script))} "$1" >> {shlex.quote(str(folder / "resubmitted"))} ||',
            '    scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
            "fi",
            'exit "$code"',
            "",
        ]
    )


def _command(folder: Path, settings: SlurmSettings) -> list[str]:
    words = [*(settings.command or (sys.executable, "-m", "benchmark.cli")), "work", str(folder)]
    if not settings.uses_gpus:
        words += ["--devices", "cpu"]
    elif settings.jobs_per_device > 1:
        words += ["--jobs-per-device", str(settings.jobs_per_device)]
    return words


def submit(plan: RunPlan, settings: SlurmSettings, workers: int) -> Submission:
    """Write the script and submit so many pilots, as few arrays as SLURM allows.

    BenchError where there is no SLURM, and for what it refuses, with its words; arrays that it took by then are
    cancelled.
    """
    script = plan.folder / "slurm.sh"
    write_text(script, script_of(plan.folder, plan.title, len(plan.orders), settings))
    largest, jobs = _largest_array(), list[int]()
    try:
        for first in range(0, workers, largest):
            tasks = min(largest, workers - first)
            answer = _call("sbatch", "--parsable", f"--array=0-{tasks - 1}", str(script), str(first))
            jobs.append(int(answer.split(";")[0]))
    except (BenchError, ValueError):
        if jobs:
            _call("scancel", *map(str, jobs))
        raise
    made = Submission(tuple(jobs), workers, time.time())
    write_json(plan.folder / "submissions" / f"{jobs[0]}.json", asdict(made))
    return made


def submissions(plan: RunPlan) -> list[Submission]:
    """What was submitted of a plan, the oldest first; what pilots submitted again counts as theirs."""
    files = sorted((plan.folder / "submissions").glob("*.json"), key=lambda path: path.name)
    found = [read_as(Submission, path, below=plan.results) for path in files]
    return sorted(found, key=lambda one: one.submitted)


@dataclass(frozen=True)
class QueuedTask:
    """A pilot as `squeue` shows it. `state`: PENDING, RUNNING, ...; `reason`: why it is pending."""

    job: str
    state: str
    reason: str
    node: str
    left: str


def queue(plan: RunPlan) -> list[QueuedTask]:
    """The plan's pilots that SLURM has, pending or running; BenchError where it cannot be asked."""
    jobs = [str(job) for one in submissions(plan) for job in one.jobs] + _resubmitted(plan)
    if not jobs:
        return []
    answer = _call(
        "squeue", "--noheader", "--array", "--states=all", f"--jobs={','.join(jobs)}", "--format=%F_%K|%T|%R|%N|%L",
        fine=("Invalid job id",),
    )  # fmt: skip
    tasks = [QueuedTask(*(line.split("|") + [""] * 5)[:5]) for line in answer.splitlines() if line]
    return [
        task
        for task in tasks
        if task.state in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED")
    ]


def cancel(plan: RunPlan) -> int:
    """Cancel all of the plan's pilots, which save their checkpoints within the cluster's KillWait; how many."""
    tasks = queue(plan)
    if tasks:
        _call("scancel", *(task.job for task in tasks))
    return len(tasks)


def _resubmitted(plan: RunPlan) -> list[str]:
    path = plan.folder / "resubmitted"
    return re.findall(r"^(\d+)", read_text(path, below=plan.results), re.MULTILINE) if is_there(path) else []


def _largest_array() -> int:
    """How many tasks an array may have: MaxArraySize is one more than the largest index."""
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", _call("scontrol", "show", "config"), re.MULTILINE)
    largest = int(found.group(1)) if found else MOST_TASKS
    if largest < 1:
        raise BenchError("This SLURM takes no job arrays (MaxArraySize is 0), which pilots are submitted as.")
    return largest


def _call(*command: str, fine: Sequence[str] = ()) -> str:
    """What one of SLURM's commands prints; BenchError with its own words. `fine`: faults that mean: nothing there."""
    if shutil.which(command[0]) is None:
        raise BenchError(f"There is no {command[0]} here: submit from a login node of a SLURM cluster.")
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(
            f"{command[0]} did not answer within {SECONDS:.0f} s; is slurmctld there?"
        ) from error
    if answer.returncode:
        words = " ".join((answer.stderr or answer.stdout).split()) or f"exit code {answer.returncode}"
        if any(text in words for text in fine):
            return ""
        raise BenchError(f"{command[0]}: {words}")
    return answer.stdout
