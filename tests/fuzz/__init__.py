"""Results folders as strangers might send them: sound ones, and mutations of these, through every reading command."""

import sys
from pathlib import Path

# The helpers of the tests, also where this is started as `python -m tests.fuzz`.
sys.path.append(str(Path(__file__).parents[1]))
