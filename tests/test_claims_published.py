"""The claims of the Mirror U-Net paper on its own printed numbers: what the tables carry, and what they do not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pandas as pd
import pytest

from benchmark.planning.grid import STUDIES
from benchmark.vocabulary import BenchError
from reports.claims.judging import Judged, judge
from reports.claims.published import PublishedNumbers
from reports.claims.reading import claim_files, load_claims
from reports.ground.publications import published

FILES = claim_files(STUDIES / "claims")
SUPPORTED = {
    "shuffling-is-best-everywhere",
    "shuffling-is-best-on-average",
    "shuffling-is-least-sensitive",
    "bottleneck-best-of-each-version",
    "versions-agree-on-sharing",
    "other-sharing-is-worse",
    "each-version-beats-the-last",
    "rebuilding-pet-helps",
    "shuffling-beats-noise-in-figure-7",
    "best-theta-varies",
    "fixed-theta-beats-learnable",
    "learnable-theta-is-not-better",
    "near-bottleneck-better-on-average",
    "several-shared-layers-lose-against-the-bottleneck",
    "ct-alone-is-poor",
    "pet-beats-every-fusion",
    "pet-has-a-higher-fpv",
    "union-is-the-best-fusion",
    "intersection-has-the-lowest-fpv",
    "every-version-beats-every-baseline-in-dice",
    "rebuilding-ct-helps-pet",
    "classifier-mends-empty-and-faint-cases",
    "intersection-misses-no-less-than-its-parts",
    "v3-beats-all-others",
    "beats-single-task-fusion",
    "beats-multi-task-only",
    "beats-fission-only",
    "both-modalities-are-necessary",
    "v2-beats-all-others-in-the-brain",
    "bottleneck-task-is-needed",
    "default-tasks-are-second",
    "segmenting-beats-rebuilding-in-the-brain",
}
CONTRADICTED = {
    "corruption-helps-everywhere",
    "bottleneck-best-in-every-row",
    "bottleneck-best-on-average",
    "each-task-helps-in-every-row",
    "bottleneck-best-mean-over-theta",
    "bottleneck-smallest-spread-over-theta",
    "near-bottleneck-less-sensitive",
    "several-shared-layers-lose-sharply",
    "every-version-beats-every-baseline",
    "union-misses-no-more-than-its-parts",
    "every-mirror-unet-beats-all-others",
}


@pytest.fixture(scope="module")
def judged() -> dict[str, Judged]:
    return {one.id: one for one in judge(load_claims(FILES), [PublishedNumbers()])}


def test_every_claim_has_the_verdict_that_was_worked_out_by_hand(judged: dict[str, Judged]) -> None:
    by_verdict: dict[str, set[str]] = {}
    for one in judged.values():
        by_verdict.setdefault(one.verdict, set()).add(one.id)
    assert by_verdict["supported"] == SUPPORTED
    assert by_verdict["contradicted"] == CONTRADICTED
    assert by_verdict["undecided"] == {"finer-boundaries-in-v3"}, "surface Dice is not printed"
    assert len(by_verdict["untestable"]) == 17


def test_noise_loses_to_plain_l2_once(judged: dict[str, Judged]) -> None:
    one = judged["corruption-helps-everywhere"]
    assert one.counterexamples == ("v1/noise/4 > v1/none/4: 62.83 against 62.88",)
    assert (len(one.findings), one.n_against) == (42, 1)
    assert one.effect == pytest.approx(-0.05)


def test_the_bottleneck_is_best_only_in_the_shuffling_rows_and_layer_4_in_the_six_others(
    judged: dict[str, Judged],
) -> None:
    lost = judged["bottleneck-best-in-every-row"].counterexamples
    assert len(lost) == 6
    rows = {(version, level) for version in ("v1", "v2", "v3") for level in ("none", "noise")}
    assert {tuple(text.split(":")[0].split("/")) for text in lost} == rows
    assert all(": shared_layers 4 (" in text and " is first, 5 (" in text for text in lost)
    # The same by pandas, with nothing of the suite but the numbers.
    table = published(2)
    best = table.loc[table[table["version"] != "v4"].groupby(["version", "level"])["dice"].idxmax()]
    assert (best.set_index(["version", "level"])["shared_layers"] == "5").sum() == 3
    assert (best.set_index(["version", "level"])["shared_layers"] == "4").sum() == 6


def test_v4_at_the_bottleneck_has_neither_the_best_mean_over_theta_nor_the_smallest_spread(
    judged: dict[str, Judged],
) -> None:
    table = published(2)
    v4 = table[(table["version"] == "v4") & (table["level"] != "learnable")].groupby("shared_layers")["dice"]
    mean = judged["bottleneck-best-mean-over-theta"]
    assert v4.mean().idxmax() == "4"
    assert mean.effect == pytest.approx(v4.mean()["5"] - v4.mean()["4"])
    assert mean.counterexamples == (
        "mean by shared_layers 4 (62.99) and 6 (62.99) are first, 5 (62.31) comes third",
    )
    assert judged["bottleneck-smallest-spread-over-theta"].verdict == "contradicted"
    ranges, quantiles = v4.max() - v4.min(), v4.quantile([0.25, 0.75]).unstack()
    assert ranges.idxmin() == v4.std().idxmin() == (quantiles[0.75] - quantiles[0.25]).idxmin() == "6"


def test_the_intersections_fpv_is_lower_than_that_of_three_versions(judged: dict[str, Judged]) -> None:
    one = judged["every-version-beats-every-baseline"]
    assert one.counterexamples == tuple(
        f"Mirror U-Net {version}#fpv_ml < LF-Intersection#fpv_ml: {fpv} against 1.67"
        for version, fpv in (("v1", "2.93"), ("v2", "2.83"), ("v4", "2.93"))
    )
    assert (one.effect, one.unit) == (pytest.approx(-1.26), "ml")
    assert len(one.findings) == 4 * 7 * 3


def test_no_union_can_miss_more_than_pet_alone(judged: dict[str, Judged]) -> None:
    one = judged["union-misses-no-more-than-its-parts"]
    assert one.counterexamples == ("LF-Union#fnv_ml ≤ PET#fnv_ml: 3.01 against 2.15",)
    assert "were not made of the networks" in one.sentence


def test_the_one_exception_is_v4_with_three_shared_layers(judged: dict[str, Judged]) -> None:
    one = judged["each-version-beats-the-last"]
    assert one.counterexamples == ("v1/shuffle/4-5-6 > v4/0.2/4-5-6: 63.01 against 63.99",)
    assert one.effect == pytest.approx(0.01)


def test_claims_about_sharing_say_that_capacity_is_confounded_with_it(judged: dict[str, Judged]) -> None:
    # The counts that the tests of the network compare it with; importing them would import torch.
    source = (Path(__file__).parent / "test_mirror_unet.py").read_text(encoding="utf-8")
    found = re.search(r"^V1 = (\(.*\))$", source, re.MULTILINE)
    assert found is not None
    counts = ast.literal_eval(found[1])
    about_sharing = [name for name in judged if name.startswith(("bottleneck-best", "bottleneck-smallest"))]
    assert len(about_sharing) == 5
    for name in (*about_sharing, "other-sharing-is-worse", "versions-agree-on-sharing"):
        (caveat,) = judged[name].stated.claim.caveats
        assert "confounded" in caveat.text
        assert tuple(caveat.parameters.values()) == counts
        single = {name: count for name, count in caveat.parameters.items() if "," not in name}
        assert min(single, key=lambda name: single[name]) == "{5}"
        assert len(single) == 5


def test_cells_are_addresses_of_the_tables(judged: dict[str, Judged]) -> None:
    assert judged["rebuilding-pet-helps"].cells == ("table2:v2/shuffle/5", "table2:v1/shuffle/5")
    assert len(judged["other-sharing-is-worse"].cells) == 105
    assert "table5:Mirror U-Net v2#tumor_core_dice" in judged["v2-beats-all-others-in-the-brain"].cells


def test_numbers_that_are_equal_in_print_decide_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ties.yaml"
    path.write_text(
        """
name: ties
paper: ours
claims:
  - id: strict
    place: p
    says: v1 has a lower FPV than v4; both are 2.93.
    table: table3
    measure: fpv_ml
    test: &equal {better: Mirror U-Net v1, than: Mirror U-Net v4}
  - {id: weak, place: p, says: s, table: table3, measure: fpv_ml, test: {not: *equal}}
  - id: unprinted
    place: p
    says: s
    table: table2
    measure: fpv_ml
    test: {better: v1/none/5, than: v1/none/4}
""",
        encoding="utf-8",
    )
    verdicts = {one.id: one for one in judge(load_claims([path]), [PublishedNumbers()])}
    assert verdicts["strict"].verdict == "undecided"
    assert "equal in print" in verdicts["strict"].sentence
    assert verdicts["weak"].verdict == "supported", "equal is not better"
    assert verdicts["unprinted"].missing == (
        "table2:v1/none/5#fpv_ml: not printed",
        "table2:v1/none/4#fpv_ml: not printed",
    )


def test_a_table_that_does_not_exist_is_refused_with_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    claim = "{id: a, place: p, says: s, table: tabel3, test: {better: PET, than: CT}}"
    path.write_text(f"name: mine\npaper: ours\nclaims: [{claim}]\n", encoding="utf-8")
    with pytest.raises(
        BenchError, match=r"mine.yaml: claim a: there is no table 'tabel3'. Did you mean 'table"
    ):
        judge(load_claims([path]), [PublishedNumbers()])


def test_printed_numbers_have_no_intervals_and_no_p(judged: dict[str, Judged]) -> None:
    assert all(one.interval is None and pd.isna(one.p) for one in judged.values())


def test_every_part_of_section_4_is_covered(judged: dict[str, Judged]) -> None:
    places = " ".join(one.place for one in judged.values())
    for part in (
        *("Section 4.1 (1)", "Section 4.1 (2)", "Section 4.1 (3)", "ablation (v4)", "qualitative results"),
        *("comparison to baselines", "comparison to related work", "Section 4.3", "abstract", "Section 5"),
        *(f"Figure {number}" for number in (4, 5, 6, 7, 8)),
    ):
        assert part in places
