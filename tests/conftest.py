"""Annotations are checked in every test; small data sets on disk for those that need them."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path

import monai.networks.nets  # noqa: F401
import torch._dynamo
from jaxtyping import install_import_hook

# While jaxtyping imports a checked module, it hides the compiled files of all that this one imports in turn, and the
# libraries would be compiled again in every run: so the large ones are imported above, before it looks.
# Processes that the tests start find the suite compiled as well, also where the environment asks for no such files.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

ROOT = Path(__file__).parents[1]
OF_ARRAYS = re.compile(
    r"^(?:from|import) (?:jaxtyping|numpy\.typing)\b|^from torch import .*\bTensor\b", re.MULTILINE
)
WHOLE = ("baselines", "benchmark.nn", "benchmark.data.store", "benchmark.results", "benchmark.execution.run")
"""Checked though some of their files name no shape: methods and their parts, and who hands arrays on."""
UNCHECKED = "benchmark.data.phantoms."
"""They call small functions of arrays so often that a case takes seven times as long with checks."""


def annotated_modules(root: Path) -> list[str]:
    """The modules whose annotations are checked: those that name arrays or tensors, and `WHOLE`."""
    files = sorted(
        f for package in ("baselines", "benchmark", "reports") for f in (root / package).rglob("*.py")
    )
    found = [file for file in files if OF_ARRAYS.search(file.read_text(encoding="utf-8"))]
    names = [".".join(file.relative_to(root).with_suffix("").parts) for file in found]
    return [*WHOLE, *(name for name in names if not name.startswith(UNCHECKED))]


install_import_hook(annotated_modules(ROOT), "annotation_checker.checked")

import pytest  # noqa: E402
from slow_tests import Counts, is_listed  # noqa: E402
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


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        dest="all_tests",
        help="the slow tests too, and simulations with their full counts (as `make test-all`)",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--all`, what is marked slow, there or in slow_tests.txt, is left out."""
    for item in items:
        if is_listed(item.nodeid):
            item.add_marker(pytest.mark.slow)
    if config.option.all_tests:
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session")
def all_tests(request: pytest.FixtureRequest) -> bool:
    """Whether everything is to be tested, however long it takes."""
    return bool(request.config.option.all_tests)


@pytest.fixture(scope="session")
def counts(all_tests: bool) -> Counts:
    """How often something is simulated: the first number, and the second with `--all`."""
    return lambda few, many: many if all_tests else few


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
