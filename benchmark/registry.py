"""From a name to a method's class.

Methods are the files of `baselines/`, the files named with `--method-file`, and what installed packages offer under
the entry point group `mirror_bench.methods`.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import os
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from benchmark.vocabulary import BenchError, DatasetSpec, UnsupportedDatasetError, did_you_mean

if TYPE_CHECKING:
    from benchmark.protocols import BaseMethod, ExternalMethod, Method

ENTRY_POINTS = "mirror_bench.methods"
METHOD_FILES = "BENCH_METHOD_FILES"
"""Environment variable through which worker processes learn of `--method-file`: a JSON list of paths."""


def use_method_files(paths: Sequence[Path]) -> list[str]:
    """Make the methods of these files known to this process and to those it starts; returns their names.

    Replaces what was named before. A file is a method's name: `my_net.py` is `my_net`.
    """
    for path in paths:
        if path.suffix != ".py" or not path.is_file():
            raise BenchError(f"--method-file {path}: there is no such Python file.")
        if not path.stem.isidentifier():
            raise BenchError(
                f"--method-file {path}: the name must be that of a Python module, like my_net.py."
            )
        if path.stem in _built_in():
            raise BenchError(
                f"--method-file {path}: {path.stem!r} is the name of one of the suite's methods; rename the file."
            )
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        raise BenchError("Two of the files given with --method-file have the same name; rename one.")
    os.environ[METHOD_FILES] = json.dumps([str(path.resolve()) for path in paths])
    return names


def method_names() -> list[str]:
    """All methods that are known here. Imports none of them."""
    return sorted({*_built_in(), *_files(), *_offered()})


def _built_in() -> list[str]:
    package = importlib.util.find_spec("baselines")
    if package is None or package.submodule_search_locations is None:
        raise BenchError(
            "The package `baselines` is not installed beside `benchmark`; install the suite again."
        )
    return [module.name for module in pkgutil.iter_modules(package.submodule_search_locations)]


def _files() -> dict[str, Path]:
    named = json.loads(os.environ.get(METHOD_FILES) or "[]")
    return {Path(text).stem: Path(text) for text in named}


def _offered() -> Mapping[str, importlib.metadata.EntryPoint]:
    return _offered_on(tuple(sys.path))


@functools.cache
def _offered_on(_: tuple[str, ...]) -> Mapping[str, importlib.metadata.EntryPoint]:
    # All installed packages are read for it, which takes as long as to build a small network.
    return {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}


def method_module(name: str) -> ModuleType:
    """The module that defines a method."""
    files, offered = _files(), _offered()
    if name in offered and (name in files or name in _built_in()):
        raise BenchError(
            f"The installed package {offered[name].module.partition('.')[0]!r} offers a method {name!r}, and so does "
            "another place here; one of them must be renamed or removed."
        )
    if name in _built_in():
        return importlib.import_module(f"baselines.{name}")
    if name in files:
        return _module_of(files[name])
    if name in offered:
        try:
            return importlib.import_module(offered[name].module)
        except Exception as error:
            raise BenchError(
                f"The installed method {name!r} cannot be imported: {type(error).__name__}: {error}."
            ) from error
    raise BenchError(f"There is no method {name!r}. {did_you_mean(name, method_names())}")


def _module_of(path: Path) -> ModuleType:
    module_name = f"method_file_{path.stem}_{_digest(path)}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        alone = (
            " A method file stands alone; code in several files belongs into a package with an entry point."
            if isinstance(error, ModuleNotFoundError)
            else ""
        )
        raise BenchError(f"{path} cannot be imported: {type(error).__name__}: {error}.{alone}") from error
    return module


def method_digest(name: str) -> str | None:
    """A hash of the source of a method from outside this repository; part of a run's identity.

    None for the suite's own methods, which the recorded commit describes.
    """
    if name in _built_in():
        return None
    if (path := _files().get(name)) is not None:
        return _digest(path)
    offered = _offered()
    return _package_digest(offered[name].module) if name in offered else None


def _package_digest(module: str) -> str | None:
    """A hash of all Python files of a module's package: a method may be made of several."""
    package = importlib.util.find_spec(module.partition(".")[0])
    if package is None:
        raise BenchError(f"The package of the installed method {module!r} is gone; install it again.")
    folders = [Path(folder) for folder in package.submodule_search_locations or ()]
    sources = sorted(path for folder in folders for path in folder.rglob("*.py"))
    if package.origin and not sources:
        sources = [Path(package.origin)]
    return hashlib.sha256("".join(map(_digest, sources)).encode()).hexdigest()[:12]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def method_classes(name: str) -> dict[str, type[BaseMethod]]:
    """The methods that a file defines, by `variant`, the default first."""
    from benchmark.protocols import BaseMethod

    module = method_module(name)
    point = _offered().get(name)
    if point is not None and point.attr:
        members = [getattr(module, point.attr, None)]
    else:
        members = [member for member in vars(module).values() if _defined_in(member, module)]
    found = [
        member
        for member in members
        if inspect.isclass(member) and issubclass(member, BaseMethod) and not inspect.isabstract(member)
    ]
    where = module.__file__ or name
    if not found:
        raise BenchError(f"{where} must define a subclass of Method; it defines none that is complete.")
    by_variant = {kind.variant: kind for kind in found}
    if len(by_variant) < len(found):
        raise BenchError(f"{where} defines {len(found)} methods; each needs a `variant` of its own.")
    return by_variant


def _defined_in(member: object, module: ModuleType) -> bool:
    return inspect.isclass(member) and member.__module__ == module.__name__


def _chosen(name: str, method_args: Mapping[str, Any]) -> tuple[type[BaseMethod], dict[str, Any]]:
    """The class, and the arguments that are left for its constructor."""
    kinds = method_classes(name)
    left = dict(method_args)
    if len(kinds) == 1:
        return next(iter(kinds.values())), left
    variant = left.pop("variant", next(iter(kinds)))
    if variant not in kinds:
        raise BenchError(f"{name} has no variant {variant!r}. {did_you_mean(str(variant), kinds)}")
    return kinds[variant], left


def build_method(
    name: str,
    method_args: Mapping[str, Any],
    *,
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
    loss_weights: Mapping[str, float] | None,
) -> Method | ExternalMethod:
    """A method with its arguments and the names of its losses checked: a knob that has no effect is an error.

    `loss_weights` None: they are the method's own, and need no check.
    """
    kind, arguments = _chosen(name, method_args)
    known = [p for p in inspect.signature(kind).parameters if p not in ("dataset", "patch_size")]
    for argument in arguments:
        if argument not in known:
            raise BenchError(f"{name} has no argument {argument!r}. {did_you_mean(argument, known)}")
    method: Any = kind(spec, patch_size, **arguments)  # type: ignore[call-arg]
    if loss_weights is not None and set(method.loss_names) != set(loss_weights):
        if kind.losses_by_modality:
            raise UnsupportedDatasetError(
                f"{name} has a loss for each modality, on {spec.name} {_listed(method.loss_names)}, but the study "
                f"weighs {_listed(loss_weights)}: it is for data with other modalities than "
                f"{_listed(spec.modalities)}. Write a study with loss_weights of these names, or leave these cells out."
            )
        raise BenchError(
            f"{name} with {dict(method_args)} has the losses {sorted(method.loss_names)}, "
            f"but loss_weights names {sorted(loss_weights)}; they must be the same."
        )
    built: Method | ExternalMethod = method
    return built


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def build_without_memory(
    name: str,
    method_args: Mapping[str, Any],
    *,
    spec: DatasetSpec,
    patch_size: tuple[int, int, int],
    loss_weights: Mapping[str, float] | None,
) -> Method | ExternalMethod:
    """As `build_method`, on the meta device: shapes without values. Errors are those of `build_method`."""
    import torch

    settings: dict[str, Any] = {"spec": spec, "patch_size": patch_size, "loss_weights": loss_weights}
    try:
        with torch.device("meta"):
            return build_method(name, method_args, **settings)
    except BenchError:
        raise
    except Exception:
        # Some networks look at values while they are built.
        built = build_method(name, method_args, **settings)
    return built.to("meta") if isinstance(built, torch.nn.Module) else built
