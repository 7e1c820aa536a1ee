"""What goes to a terminal: text that others wrote moves no cursor, hides nothing and gives no commands there.

`benchmark.execution.monitor.console` does the same with what has styles. Importing this one is quick.
"""

from __future__ import annotations

import logging
import re
import sys

from benchmark.credentials import without_secrets
from benchmark.notices import LOGGER

SHOWN_INSTEAD = "\N{REPLACEMENT CHARACTER}"
COMMANDS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters but tab and the end of a line, what turns the direction of writing, and halves of characters."""


def plain(text: str) -> str:
    """The text with a sign in place of every character that a terminal would obey."""
    return COMMANDS.sub(SHOWN_INSTEAD, text)


def say(text: str, *, to_stderr: bool = False) -> None:
    """Print a text, whoever wrote what is in it."""
    print(plain(text), file=sys.stderr if to_stderr else sys.stdout, flush=True)


def complain(error: object) -> None:
    """One line on stderr, as every error of the suite is told."""
    say(f"bench: {without_secrets(str(error))}", to_stderr=True)


class _Notices(logging.Handler):
    """Prints each notice once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text not in self._said:
            self._said.add(text)
            complain(text)


def tell_notices() -> None:
    """From now on, what is left out since it is damaged is said on stderr, once a command."""
    LOGGER.handlers = [_Notices()]
    LOGGER.propagate = False
