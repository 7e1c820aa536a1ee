"""Table 5 as a study: the paper's rows in its order, and what stands behind each."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from drawn import BRAIN, parameters

import reports
from baselines.mirror_unet import MirrorUNet
from baselines.mirror_unet_regions import MirrorUNetRegions
from benchmark.config import run_config
from benchmark.planning.grid import load_profile, load_study
from benchmark.protocols import ExternalMethod, Method
from benchmark.registry import build_without_memory

WITH_AUTOENCODER = "SegResNet (autoencoder)"
PAPER_S_PATCH = (224, 224, 144)


def rows(profile_name: str = "paper") -> dict[str, dict[str, Any]]:
    study = load_study("table5")
    profile = load_profile(profile_name)
    return {cell.factors["method"]: cell.settings(profile, study.dataset) for cell in study.cells()}


def built(row: str) -> Method | ExternalMethod:
    settings = rows()[row]
    return build_without_memory(
        settings["method"],
        settings.get("method_args", {}),
        spec=BRAIN,
        patch_size=PAPER_S_PATCH,
        loss_weights=settings["loss_weights"],
    )


def test_the_rows_are_those_of_the_paper_in_its_order_and_one_more() -> None:
    published = Path(reports.__file__).parent / "published" / "table5.csv"
    with published.open(newline="") as file:
        printed = [row["method"] for row in csv.DictReader(file)]
    ours = list(rows())
    assert [row for row in ours if row != WITH_AUTOENCODER] == printed
    assert load_study("table5").dataset == "msd"


@pytest.mark.parametrize(
    ("row", "size"),
    [
        ("Mirror U-Net v1", 6_929_064),
        ("Mirror U-Net v2", 8_029_736),
        # v1 of PET/CT with the bottleneck decoder, and an output layer of four classes instead of two: a transposed
        # convolution, normalisation, PReLU, and a residual unit of one convolution.
        (
            "Mirror U-Net v2-rec",
            6_928_115 + 1_100_153 - 1_845 + (27 * 32 * 4 + 4) + 2 * 4 + 1 + (27 * 4 * 4 + 4),
        ),
        ("SegResNet", 4_702_244),
    ],
)
def test_the_rows_have_these_sizes_at_the_paper_s_patch(row: str, size: int) -> None:
    method = built(row)
    assert isinstance(method, Method)
    assert parameters(method) == size


def test_every_row_is_a_run_whose_losses_all_have_a_weight() -> None:
    for name, settings in rows("demo").items():
        assert set(built(name).loss_names) == set(settings["loss_weights"])
        run_config({**settings, "fold": 0, "seed": 0}, source=name)


def test_each_modality_plays_the_part_that_the_paper_gives_it() -> None:
    v1, v2, rec = (built(f"Mirror U-Net {version}") for version in ("v1", "v2", "v2-rec"))
    assert isinstance(v1, MirrorUNetRegions)
    assert isinstance(v2, MirrorUNetRegions)
    assert isinstance(rec, MirrorUNet)
    for method in (v1, v2):
        assert dict(zip(method.regions, method.branches, strict=True)) == {
            "tumor core": ("T1Gd",),
            "edema": ("FLAIR",),
        }
    assert (v1.bottleneck_region, v2.bottleneck_region) == (None, "whole tumor")
    assert (rec.first, rec.second, rec.version) == (("FLAIR",), ("T1Gd",), "v2")
    assert {method.shared_layers for method in (v1, v2, rec)} == {(5,)}


def test_the_paper_s_regions_are_told_by_every_row() -> None:
    for name in rows():
        told = built(name).predicted_regions
        assert told is None or {"whole tumor", "edema", "tumor core"} <= set(told)
