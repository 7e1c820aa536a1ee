"""What was found out about a data set: faults, which keep a case out, and warnings, which a person should know of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.data.folders import passed_over
from benchmark.data.naming import printable
from benchmark.words import counted

Severity = Literal["fault", "warning"]
THE_DATA_SET = ""
"""In place of a case, for what concerns no single one."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or odd (`warning`), with one case, in plain words."""

    case_id: str
    problem: str
    remedy: str
    files: tuple[Path, ...] = ()
    severity: Severity = "fault"

    @property
    def is_fault(self) -> bool:
        return self.severity == "fault"

    def __str__(self) -> str:
        return f"{self.case_id or 'data set'}: {self.problem}. {self.remedy}"

    def to_json(self) -> dict[str, object]:
        return {
            "case_id": self.case_id,
            "severity": self.severity,
            "problem": self.problem,
            "remedy": self.remedy,
            "files": [str(path) for path in self.files],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, object]) -> Finding:
        """What `to_json` gave; KeyError and TypeError for anything else."""
        files = content["files"]
        if not isinstance(files, list):
            raise TypeError("files is no list")
        return cls(
            case_id=str(content["case_id"]),
            problem=str(content["problem"]),
            remedy=str(content["remedy"]),
            files=tuple(Path(path) for path in files),
            severity="fault" if content["severity"] == "fault" else "warning",
        )


def report_findings(findings: Sequence[Finding], *, cases: int | None = None) -> str:
    """The findings as text for a person, grouped by case, faults first; `cases` is how many were checked."""
    faults = [finding for finding in findings if finding.is_fault]
    warnings = [finding for finding in findings if not finding.is_fault]
    parts = [_headline(faults, "fault", cases), *_listed(faults)]
    if warnings:
        parts += ["", _headline(warnings, "warning", cases), *_listed(warnings)]
    return printable("\n".join(parts))


def _headline(findings: Sequence[Finding], noun: str, cases: int | None) -> str:
    if not findings:
        return f"No {noun}s found." if cases is None else f"No {noun}s found in {counted(cases, 'case')}."
    named = {finding.case_id for finding in findings} - {THE_DATA_SET}
    among = counted(len(named), "case") if cases is None else f"{len(named)} of {counted(cases, 'case')}"
    return f"{counted(len(findings), noun)}{f' in {among}' if named else ''}"


def _listed(findings: Iterable[Finding]) -> list[str]:
    grouped: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        grouped[finding.case_id].append(finding)
    lines = []
    for case_id, own in grouped.items():
        lines += ["", case_id or "The data set"]
        for finding in own:
            lines += [f"  {finding.severity:<7} {finding.problem}", f"  remedy  {finding.remedy}"]
            lines += [
                f"  {'file' if number == 0 else '    '}    {path}"
                for number, path in enumerate(finding.files)
            ]
    return lines


def findings_json(findings: Iterable[Finding]) -> str:
    """For scripts: a list of objects with `case_id`, `severity`, `problem`, `remedy` and `files`."""
    return json.dumps([finding.to_json() for finding in findings], indent=1)


def passed_over_finding(folders: Iterable[Path]) -> list[Finding]:
    """That files of archivers (`__MACOSX`, `._x.nii.gz`, `.DS_Store`) are not read."""
    paths = passed_over(folders)
    if not paths:
        return []
    number = counted(len(paths), "file or folder", "files or folders")
    problem = f"{number} of archivers passed over, such as {paths[0].name}"
    return [
        Finding(
            THE_DATA_SET,
            problem,
            "None needed; remove them if they disturb you.",
            tuple(paths[:3]),
            "warning",
        )
    ]
