"""Where methods come from: the suite, files, installed packages; and how one is chosen and bound."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark.data.readers.autopet import SPEC
from benchmark.datasets.registry import dataset
from benchmark.protocols import Method
from benchmark.registry import (
    METHOD_FILES,
    build_method,
    method_classes,
    method_digest,
    method_names,
    use_method_files,
)
from benchmark.vocabulary import BenchError

NET = "from healthy_method import Healthy\n\nclass Net(Healthy):\n    pass\n"
TWO = """
from healthy_method import Healthy

class Narrow(Healthy):
    variant = "narrow"

class Wide(Healthy):
    variant = "wide"
    def __init__(self, dataset, patch_size, *, width=16):
        super().__init__(dataset, patch_size, width=width)
"""
PATCH = (16, 16, 16)


@pytest.fixture(autouse=True)
def _no_method_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METHOD_FILES, "")


def write(folder: Path, code: str, name: str = "net.py") -> Path:
    path = folder / name
    path.write_text(code, encoding="utf-8")
    return path


def build(name: str, **arguments: object) -> Method:
    method = build_method(name, arguments, spec=SPEC, patch_size=PATCH, loss_weights=None)
    assert isinstance(method, Method)
    return method


def test_a_file_is_a_method_under_its_own_name_until_other_files_are_named(tmp_path: Path) -> None:
    assert use_method_files([write(tmp_path, NET)]) == ["net"]
    assert "net" in method_names()
    assert type(build("net")).__name__ == "Net"
    assert isinstance(build("net", width=8), Method)
    use_method_files([])
    assert "net" not in method_names()


def test_processes_that_are_started_afterwards_know_the_file(tmp_path: Path) -> None:
    use_method_files([write(tmp_path, NET)])
    program = "from benchmark.registry import method_names; print('net' in method_names())"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "True"


def test_an_edited_file_has_another_digest_and_is_read_again_and_the_suite_s_own_have_none(
    tmp_path: Path,
) -> None:
    use_method_files([write(tmp_path, NET)])
    before, old = method_digest("net"), type(build("net"))
    assert method_digest("net") == before
    assert type(build("net")) is old
    write(tmp_path, NET.replace("Net", "Other"))
    assert method_digest("net") != before
    assert type(build("net")).__name__ == "Other"
    assert method_digest("mirror_unet") is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["no_such.py"], "there is no such Python file"),
        (["my-net.py"], "the name must be that of a Python module, like my_net.py"),
        (["mirror_unet.py"], "is the name of one of the suite's methods; rename the file"),
        (["a/net.py", "b/net.py"], "have the same name; rename one"),
    ],
)
def test_files_that_cannot_be_methods_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        if path.stem != "no_such":
            path.write_text(NET)
    with pytest.raises(BenchError, match=message):
        use_method_files(paths)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import no_such_package", r"net\.py cannot be imported: ModuleNotFoundError"),
        ("from healthy_method import Healthy", r"net\.py must define a subclass of Method; it defines none"),
        (TWO.replace("narrow", "wide"), "defines 2 methods; each needs a `variant` of its own"),
    ],
)
def test_files_without_a_method_say_so(tmp_path: Path, code: str, message: str) -> None:
    use_method_files([write(tmp_path, code)])
    with pytest.raises(BenchError, match=message):
        method_classes("net")


def test_variant_chooses_among_the_classes_of_a_file_the_first_being_the_default(tmp_path: Path) -> None:
    use_method_files([write(tmp_path, TWO)])
    assert list(method_classes("net")) == ["narrow", "wide"]
    assert type(build("net")).__name__ == "Narrow"
    assert type(build("net", variant="wide")).__name__ == "Wide"
    assert build("net", variant="wide").head.weight.shape[1] == 16
    assert build("net", variant="wide", width=8).head.weight.shape[1] == 8
    with pytest.raises(BenchError, match=r"net has no variant 'wid'. Did you mean 'wide'"):
        build("net", variant="wid")


def test_variant_is_an_ordinary_argument_where_a_file_defines_one_class(tmp_path: Path) -> None:
    use_method_files([write(tmp_path, NET)])
    with pytest.raises(BenchError, match=r"net has no argument 'variant'"):
        build("net", variant="wide")
    assert build("middle_fusion", variant="sum", channels=(4, 8)).how == "sum"


def test_arguments_and_losses_that_reach_nobody_are_refused(tmp_path: Path) -> None:
    use_method_files([write(tmp_path, NET)])
    with pytest.raises(BenchError, match=r"net has no argument 'widht'. Did you mean 'width'"):
        build("net", widht=8)
    with pytest.raises(BenchError, match=r"has the losses .'rec', 'seg'., but loss_weights names .'seg'."):
        build_method("net", {}, spec=SPEC, patch_size=PATCH, loss_weights={"seg": 1.0})
    with pytest.raises(BenchError, match=r"There is no method 'mirror_nuet'. Did you mean 'mirror_unet'"):
        build("mirror_nuet")
    with pytest.raises(BenchError, match=r"There is no data set 'autopte'. Did you mean 'autopet'"):
        dataset("autopte")


def test_a_path_may_hold_colons_and_spaces(tmp_path: Path) -> None:
    folder = tmp_path / "a:b c"
    folder.mkdir()
    use_method_files([write(folder, NET)])
    assert build("net").head.weight.shape[1] == 4


OFFER = """
import json, sys
sys.path.insert(0, {site!r})
from benchmark.datasets.registry import dataset
from benchmark.registry import build_method, method_digest, method_names
spec = dataset("autopet").spec_of(None)
built = build_method("their_net", {{}}, spec=spec, patch_size=(16, 16, 16), loss_weights=None)
print(json.dumps([
    "their_net" in method_names(), type(built).__module__, method_digest("their_net"),
]))
"""


def test_an_installed_package_offers_a_method_by_an_entry_point(tmp_path: Path) -> None:
    info = tmp_path / "their_methods-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-methods\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mirror_bench.methods]\ntheir_net = their_package.net\n")
    (tmp_path / "their_package").mkdir()
    (tmp_path / "their_package" / "__init__.py").write_text("")
    source = Path(__file__).with_name("healthy_method.py").read_text(encoding="utf-8")
    (tmp_path / "their_package" / "net.py").write_text(source, encoding="utf-8")
    program = OFFER.format(site=str(tmp_path))
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    known, module, digest = json.loads(output.stdout)
    assert (known, module) == (True, "their_package.net")
    (tmp_path / "their_package" / "widths.py").write_text("WIDTH = 8\n")
    again = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(again.stdout)[2] != digest, "a method may be made of several files"
    for point, expected in (("their_package.net:Healthy", 0), ("their_package.net:Nothing", 1)):
        (info / "entry_points.txt").write_text(f"[mirror_bench.methods]\ntheir_net = {point}\n")
        named = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert named.returncode == expected, named.stderr
    (tmp_path / "their_package" / "net.py").write_text("import no_such_package", encoding="utf-8")
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (
        "BenchError: The installed method 'their_net' cannot be imported: ModuleNotFoundError"
        in failed.stderr
    )


def test_building_a_method_draws_from_torch_s_seed_alone(tmp_path: Path) -> None:
    use_method_files([write(tmp_path, NET)])
    built = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        built.append(build("net").head.weight)
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])
