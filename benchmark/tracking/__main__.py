"""The mirror process; `Mirror` starts it."""

import sys
from pathlib import Path

from benchmark.tracking.mirror import mirror

mirror(Path(sys.argv[1]), sys.argv[2], interval_seconds=float(sys.argv[3]), launcher=int(sys.argv[4]))
