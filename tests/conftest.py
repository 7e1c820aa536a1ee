"""Annotations are checked in every test; small data sets on disk for those that need them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from jaxtyping import install_import_hook

WITH_TENSORS = (
    "nn",
    "protocols",
    "train",
    "inference",
    "evaluate",
    "mask_pair",
    "metrics",
    "run",
    "stitching",
    "panels",
    "predicting",
    "projections",
    "results",
    "data.patches",
)
CHECKED = ["baselines", *(f"benchmark.{name}" for name in (*WITH_TENSORS, "data.prepare", "data.store"))]
install_import_hook(CHECKED, "annotation_checker.checked")

import pytest  # noqa: E402
import torch  # noqa: E402
from written_studies import write_study  # noqa: E402

# Started in the background or by `nohup`, the tests would ignore signals, and so would all that they start.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGTERM, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)

# Tests run side by side, and small networks gain nothing from a second thread.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tcia_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten patients, every third without a lesion. Tests must not change it."""
    root = tmp_path_factory.mktemp("tcia")
    for i in range(10):
        write_study(root / f"PETCT_{i:02d}" / "study", seed=i, lesion=i % 3 != 2)
    return root


@pytest.fixture(scope="session")
def real_root() -> Path:
    """A folder of real PET/CT cases in the TCIA layout, where the environment names one."""
    named = os.environ.get("BENCH_REAL_DATA")
    if not named:
        pytest.skip("BENCH_REAL_DATA does not name a folder of real PET/CT cases")
    return Path(named)
