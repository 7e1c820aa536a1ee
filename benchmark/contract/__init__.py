"""The contract that every method keeps, as checks that say in words what is wrong and what to do.

    for verdict in verdicts("my_net"):
        print(verdict.check.name, verdict.setting, verdict.state, verdict.words)

It asks nothing but `benchmark.protocols` of a method, and finds its variants and examples by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from benchmark.contract.checks import CHECKS, Check
from benchmark.contract.declared import serves
from benchmark.contract.setting import BRAIN_MRI, SPECS, THREE_MODALITIES, Setting, settings
from benchmark.contract.words import NotChecked, words_of

__all__ = [
    "BRAIN_MRI",
    "CHECKS",
    "SPECS",
    "THREE_MODALITIES",
    "Check",
    "Setting",
    "Verdict",
    "settings",
    "verdicts",
    "verdicts_of",
]

State = Literal["kept", "broken", "not checked"]


@dataclass(frozen=True)
class Verdict:
    """What a check found: `words` are the findings of a broken promise, or why there is no answer."""

    check: Check
    setting: Setting
    state: State
    words: tuple[str, ...] = ()


def verdicts(name: str) -> Iterator[Verdict]:
    """All checks of a method, of every variant and example, on every data set."""
    for setting in settings(name):
        yield from verdicts_of(setting)


def verdicts_of(setting: Setting) -> Iterator[Verdict]:
    """All checks of one setting. The global random state is left as it was."""
    told: set[str] = set()
    for check in CHECKS:
        if check.of == "external" and not setting.trains_itself:
            continue
        verdict = verdict_of(check, setting)
        if verdict.state == "broken" and set(verdict.words) <= told:
            verdict = Verdict(check, setting, "not checked", ("it fails as above",))
        told |= set(verdict.words)
        yield verdict


def verdict_of(check: Check, setting: Setting) -> Verdict:
    """One check; whatever the method raises is a finding."""
    if setting.unsupported is not None and check.run is not serves:
        return Verdict(check, setting, "not checked", ("it does not serve the data set",))
    if setting.trains_itself and check.of == "ours":
        return Verdict(check, setting, "not checked", ("not applicable, it trains itself",))
    try:
        with torch.random.fork_rng(devices=range(min(1, torch.cuda.device_count()))):
            findings = check.run(setting)
    except NotChecked as reason:
        return Verdict(check, setting, "not checked", (str(reason),))
    except Exception as error:
        findings = [words_of(error, setting.file)]
    return Verdict(check, setting, "broken" if findings else "kept", tuple(findings))
