"""What was left out since it is damaged: said once, beside whatever a command is asked for."""

from __future__ import annotations

import logging

LOGGER = logging.getLogger("benchmark.files")


def notice(text: str) -> None:
    """Tell whoever looks, and go on; the command line prints each sentence once, on stderr."""
    LOGGER.warning("%s", text)
