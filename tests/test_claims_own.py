"""Claims on own runs: planted effects are found, their opposites too, and where there is none nothing is claimed."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted_claims import plant_methods, plant_table2, table2_factors
from scipy import stats
from slow_tests import Counts, slack
from written_runs import (
    NAN,
    methods_manifest,
    score_rows,
    write_failure,
    write_readings,
    write_run,
    write_scores,
)

from benchmark.planning.grid import STUDIES
from benchmark.results.manifests import write_manifest
from benchmark.results.runs import RunFolder
from reports.claims.judging import Judged, judge
from reports.claims.language import Claim
from reports.claims.own import OwnNumbers
from reports.claims.published import PublishedNumbers
from reports.claims.reading import Stated, claim_files, load_claims
from reports.claims.testing import signed_ranks, t_tests
from reports.statistics.paired import compare, rank_biserial, signed_rank_p
from reports.statistics.scores import CaseScores

SHUFFLE_WINS = {
    "for_each": {"version": ["v1"], "shared_layers": "all"},
    "holds": {"best": "level", "is": "shuffle"},
}
BOTTLENECK_WINS = {
    "for_each": {"version": ["v1"]},
    "holds": {"best": "shared_layers", "is": "5", "of": {"mean": {"level": "all"}}},
}
STEADY = {
    "lowest": "shared_layers",
    "is": "5",
    "of": {"version": "v4", "spread": {"level": ["0.1", "0.2", "0.3"]}},
}


def claim(name: str, test: Mapping[str, Any], table: str = "table2", **more: Any) -> Stated:
    words = {"id": name, "place": "here", "says": "so", "table": table, "test": test, **more}
    return Stated(Claim.model_validate(words), "mine", "ours", "mine.yaml")


def verdicts(results: Path, *claims: Stated) -> dict[str, Judged]:
    return {one.id: one for one in judge(claims, [OwnNumbers(results)])}


def planted(factors: Mapping[str, str], sign: int) -> float:
    """Shuffling gains 3 points, the bottleneck 2; v4 wobbles by 6 over theta but at the bottleneck. Or loses."""
    if factors["version"] == "v4":
        wobble = 0.0 if (factors["shared_layers"] == "5") == (sign > 0) else 0.06
        return 0.5 + wobble * {"0.1": -1, "0.3": 1}.get(factors["fusion_weight"], 0)
    gain = 0.03 * (factors["self_supervision"] == "shuffle") + 0.02 * (factors["shared_layers"] == "5")
    return 0.5 + sign * gain


@pytest.mark.parametrize(("sign", "verdict"), [(1, "supported"), (0, "undecided"), (-1, "contradicted")])
def test_planted_effects_are_found_opposites_too_and_nothing_where_there_is_none(
    tmp_path: Path, sign: int, verdict: str
) -> None:
    plant_table2(
        tmp_path,
        (lambda factors: planted(factors, sign)) if sign else (lambda factors: 0.5),
        versions=("v1", "v4"),
    )
    found = verdicts(
        tmp_path,
        claim("shuffling", SHUFFLE_WINS),
        claim("bottleneck", BOTTLENECK_WINS),
        claim("steady", STEADY),
    )
    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, verdict)
    for one in found.values():
        assert one.interval is not None
        assert one.interval.covers == "patients"
        assert one.p_adjusted >= one.p
        if sign:
            assert np.sign(one.effect) == sign
            assert one.p_adjusted < 0.001
            assert one.probability == pytest.approx(1.0 if sign > 0 else 0.0, abs=0.01)
            assert (one.interval.low > 0) == (sign > 0)
    if sign > 0:
        assert found["shuffling"].effect == pytest.approx(3.0, abs=1.0), "the smallest of 14 margins of 3"
        assert found["shuffling"].counterexamples == ()


@pytest.mark.slow
def test_the_papers_claims_get_own_and_published_verdicts_side_by_side(tmp_path: Path) -> None:
    plant_table2(tmp_path, lambda factors: planted(factors, -1), n_patients=20)
    claims = load_claims(claim_files(STUDIES / "claims"))
    judged = judge(claims, [PublishedNumbers(), OwnNumbers(tmp_path)])
    assert len(judged) == 2 * len(claims)
    assert [one.source for one in judged[:4]] == ["paper", "runs", "paper", "runs"]
    both = {(one.id, one.source): one for one in judged}
    assert both["shuffling-is-best-everywhere", "paper"].verdict == "supported"
    assert both["shuffling-is-best-everywhere", "runs"].verdict == "contradicted"
    table3 = both["pet-beats-every-fusion", "runs"]
    assert table3.verdict == "undecided"
    assert table3.missing[0] == "table3:PET: no runs of table3"
    assert pd.isna(table3.p), "what cannot be tested does not count in Holm's correction"


METHODS = {"PET": (0.6, 3.0, 2.0), "EF": (0.5, 5.0, 4.0), "MF": (0.6, 3.0, 2.0)}


def test_a_conjunction_needs_every_part_and_one_failure_contradicts_it(tmp_path: Path) -> None:
    plant_methods(tmp_path, "mine", METHODS)
    each = {"method": ["EF", "MF"]}
    found = verdicts(
        tmp_path,
        claim("one", {"better": "PET", "than": "EF"}, "mine"),
        claim("all", {"better": "PET", "than": {"each": each}}, "mine"),
        claim("some", {"better": "PET", "than": {"any": each}}, "mine"),
        claim("wrong", {"better": {"each": each}, "than": "PET"}, "mine"),
        claim("volumes", {"better": "PET#fpv_ml", "than": "EF#fpv_ml"}, "mine"),
        claim("margin", {"better": "PET", "than": "EF", "by": 8}, "mine"),
        claim("too-much", {"better": "PET", "than": "EF", "by": 12}, "mine"),
        claim("within", {"difference": "PET", "minus": "MF", "at_least": -2, "at_most": 2}, "mine"),
    )
    assert {name: one.verdict for name, one in found.items()} == {
        "one": "supported",
        "all": "undecided",
        "some": "supported",
        "wrong": "contradicted",
        "volumes": "supported",
        "margin": "supported",
        "too-much": "contradicted",
        "within": "supported",
    }
    assert found["one"].effect == pytest.approx(10.0, abs=0.5)
    assert found["volumes"].effect == pytest.approx(2.0, abs=0.1)
    assert found["volumes"].unit == "ml"
    assert found["some"].p == pytest.approx(2 * found["one"].p), "Bonferroni over two alternatives"


def test_the_numbers_of_a_comparison_are_those_of_the_paired_statistics(tmp_path: Path) -> None:
    plant_methods(tmp_path, "mine", METHODS, n_patients=30)
    own = OwnNumbers(tmp_path)
    (one,) = judge([claim("one", {"better": "PET", "than": "MF"}, "mine")], [own])
    scores = own.launches["mine"].scores("dice")
    assert isinstance(scores, CaseScores)
    pair = compare(scores, 0, 2, resampled=own.launches["mine"].resampled("dice"))
    assert one.effect == pytest.approx(pair.difference)
    assert one.interval is not None
    assert (one.interval.low, one.interval.high) == pytest.approx((pair.interval.low, pair.interval.high))
    (finding,) = one.findings
    ranks = signed_rank_p(scores.case_values()[0] - scores.case_values()[2])
    assert min(finding.p_holds, finding.p_fails) >= ranks / 2 - 1e-12


def test_cells_without_all_their_runs_leave_it_undecided_and_are_named(tmp_path: Path) -> None:
    plant_methods(tmp_path, "mine", METHODS)
    write_failure(tmp_path, "half", "memory")
    cells = [("PET", 0, 0, "PET"), ("EF", 0, 0, "EF"), ("MF", 0, 0, "MF"), ("MF", 1, 0, "half")]
    write_manifest(tmp_path, methods_manifest("mine", *cells))
    found = verdicts(
        tmp_path,
        claim("all", {"better": "PET", "than": {"each": {"method": ["EF", "MF"]}}}, "mine"),
        claim("wrong", {"better": {"each": {"method": ["EF", "MF"]}}, "than": "PET"}, "mine"),
        claim("hd", {"better": "PET#hd95_mm", "than": "EF#hd95_mm"}, "mine"),
    )
    assert found["all"].verdict == "undecided"
    assert found["all"].missing == ("mine:MF: 1 of 2 runs done (1 failed)",)
    assert "1 cell of 3 missing" in found["all"].sentence
    assert found["wrong"].verdict == "contradicted", "EF alone refutes it, whatever MF will be"
    assert found["hd"].missing[0] == "mine:PET#hd95_mm: not scored in HD95"


def test_a_race_is_told_among_those_that_have_numbers(tmp_path: Path) -> None:
    plant_methods(tmp_path, "mine", METHODS)
    write_failure(tmp_path, "lost", "code")
    cells = [("PET", 0, 0, "PET"), ("EF", 0, 0, "EF"), ("MF", 0, 0, "lost")]
    write_manifest(tmp_path, methods_manifest("mine", *cells))
    one = verdicts(tmp_path, claim("best", {"best": "method", "is": "EF"}, "mine"))["best"]
    assert one.verdict == "contradicted"
    (text,) = one.counterexamples
    assert text.startswith("method PET (6")
    assert text.endswith(") comes second")


def test_five_patients_allow_no_verdict(tmp_path: Path) -> None:
    plant_methods(tmp_path, "mine", METHODS, n_patients=5)
    one = verdicts(tmp_path, claim("one", {"better": "PET", "than": "EF"}, "mine"))["one"]
    assert (one.verdict, pd.isna(one.p)) == ("undecided", True)
    assert one.sentence == "5 patients: fewer than 6 allow no test."


def test_outlying_patients_alone_do_not_support_a_claim_of_means(tmp_path: Path) -> None:
    """Two patients lift the mean, most others are a little worse: mean and ranks disagree."""
    worse = [0.50] * 30
    better = [0.49] * 28 + [1.0, 1.0]
    write_run(tmp_path, "a", better)
    write_run(tmp_path, "b", worse)
    write_manifest(tmp_path, methods_manifest("mine", ("a", 0, 0, "a"), ("b", 0, 0, "b")))
    found = verdicts(
        tmp_path,
        claim("up", {"better": "a", "than": "b"}, "mine"),
        claim("down", {"better": "b", "than": "a"}, "mine"),
    )
    assert found["up"].effect > 0
    assert {one.verdict for one in found.values()} == {"undecided"}


def test_seeds_are_covered_where_every_cell_has_several(tmp_path: Path) -> None:
    """What differs from seed to seed as much as between the methods is not shown, however many patients agree."""
    generator = np.random.default_rng(0)
    patients = generator.normal(0.5, 0.1, 100)
    cells = []
    for name, dice in (("a", 0.02), ("b", 0.0)):
        for seed, shift in enumerate((0.05, -0.05)):
            run = f"{name}{seed}"
            write_run(tmp_path, run, list(patients + dice + shift * (name == "a")), seed=seed)
            cells.append((name, 0, seed, run))
    write_manifest(tmp_path, methods_manifest("mine", *cells))
    one = verdicts(tmp_path, claim("one", {"better": "a", "than": "b"}, "mine"))["one"]
    assert one.effect == pytest.approx(2.0)
    assert one.interval is not None
    assert one.interval.covers == "patients and seeds"
    assert one.verdict == "undecided"


def test_undefined_cases_take_no_part(tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    base = generator.normal(0.5, 0.05, 20)
    for name, gain in (("a", 0.05), ("b", 0.0)):
        dice = list(base + gain + generator.normal(0, 0.01, 20))
        write_run(tmp_path, name, [*dice, *[NAN] * 30])
    write_manifest(tmp_path, methods_manifest("mine", ("a", 0, 0, "a"), ("b", 0, 0, "b")))
    one = verdicts(tmp_path, claim("one", {"better": "a", "than": "b"}, "mine"))["one"]
    assert (one.verdict, one.n_patients) == ("supported", 20)


LOGIC = {
    "for_each": {"method": ["CT", "PET"]},
    "holds": {"difference": "LF-Union#fnv_ml", "minus": {"measure": "fnv_ml"}, "at_most": 0},
}


def write_unions(results: Path, union: list[float], *, run_id: str = "late") -> None:
    readings = {
        reading: {"dice": [0.5] * 8, "fnv_ml": fnv}
        for reading, fnv in (("ct", [4.0] * 8), ("pet", [1.0] * 8), ("union", union))
    }
    write_readings(results, run_id, readings)
    cells = [("CT", 0, 0, run_id, "ct"), ("PET", 0, 0, run_id, "pet"), ("LF-Union", 0, 0, run_id, "union")]
    write_manifest(results, methods_manifest("table3", *cells))


def test_logic_is_checked_case_by_case_without_a_test(tmp_path: Path) -> None:
    write_unions(tmp_path, [1.0, 0.5, *[1.0] * 6])
    one = verdicts(tmp_path, claim("logic", LOGIC, "table3", kind="logic"))["logic"]
    assert (one.verdict, one.sentence) == ("supported", "Holds in every one of 8 cases.")
    assert pd.isna(one.p)


def test_logic_that_fails_in_one_case_is_an_error(tmp_path: Path) -> None:
    write_unions(tmp_path, [0.0] * 7 + [1.1])
    one = verdicts(tmp_path, claim("logic", LOGIC, "table3", kind="logic"))["logic"]
    assert one.verdict == "contradicted"
    assert one.sentence == "Fails in 1 of 8 cases, first in case07 (fold 0, seed 0): an error."


def test_logic_of_unions_is_not_asked_of_other_networks(tmp_path: Path) -> None:
    write_unions(tmp_path, [9.0] * 8)
    write_run(tmp_path, "ct", [0.5] * 8, fnv_ml=[1.0] * 8)
    cells = [("CT", 0, 0, "ct"), ("PET", 0, 0, "late", "pet"), ("LF-Union", 0, 0, "late", "union")]
    write_manifest(tmp_path, methods_manifest("table3", *cells))
    one = verdicts(tmp_path, claim("logic", LOGIC, "table3", kind="logic"))["logic"]
    # What can be asked, against PET of the same training, already fails.
    assert one.verdict == "contradicted"
    write_unions(tmp_path, [1.0] * 8)
    write_manifest(tmp_path, methods_manifest("table3", *cells))
    one = verdicts(tmp_path, claim("logic", LOGIC, "table3", kind="logic"))["logic"]
    assert one.verdict == "undecided"
    assert "not read from the same trainings" in one.sentence


def test_logic_of_alternatives_is_decided_in_each_case_by_itself(tmp_path: Path) -> None:
    """The union is at most CT's FNV of 4 in half of the cases, and at most PET's of 1 in the others."""
    write_unions(tmp_path, [4.0, 1.0] * 4)
    parts = [{"difference": "LF-Union", "minus": name, "at_most": 0} for name in ("CT", "PET")]
    one = verdicts(tmp_path, claim("logic", {"any": parts}, "table3", kind="logic"))["logic"]
    assert (one.verdict, one.sentence) == ("supported", "Holds in every one of 8 cases.")


def test_runs_that_no_table_may_mix_decide_no_claim(tmp_path: Path) -> None:
    for number, name in enumerate(("pet", "ef")):
        write_run(tmp_path, name, [0.9 - 0.5 * number] * 12)
        folder = RunFolder(tmp_path, name)
        record = folder.record()
        folder.write_record(replace(record, facts={**record.facts, "protocol": 1 + number}))
    write_manifest(tmp_path, methods_manifest("table3", ("PET", 0, 0, "pet"), ("EF", 0, 0, "ef")))
    asked = claim("better", {"difference": "PET", "minus": "EF", "at_least": 0}, "table3")
    one = verdicts(tmp_path, asked)["better"]
    assert one.verdict == "undecided"
    assert "mixes runs that are not comparable" in " ".join(one.missing)


def test_claims_are_about_one_region_of_several_and_a_launch_with_results(tmp_path: Path) -> None:
    for number, name in enumerate(("v2", "v1")):
        rows = [
            score_rows(
                name, {"": {"dice": [dice - 0.01 * case for case in range(12)]}}, where={"region": region}
            )
            for region, dice in (("core", 0.9 - 0.5 * number), ("edema", 0.5))
        ]
        write_scores(tmp_path, name, rows)
    cells = [("Mirror U-Net v2", 0, 0, "v2"), ("Mirror U-Net v1", 0, 0, "v1")]
    finished = methods_manifest("table5", *cells)
    write_manifest(tmp_path, finished)
    write_manifest(tmp_path, replace(finished, key="newer", created=2.0, cells=finished.cells[:0]))
    test = {"better": "Mirror U-Net v2#core_dice", "than": "Mirror U-Net v1#core_dice"}
    assert verdicts(tmp_path, claim("better", test, "table5"))["better"].verdict == "supported"


def test_rank_tests_of_many_comparisons_are_those_of_one_at_a_time() -> None:
    generator = np.random.default_rng(2)
    for n in (8, 30, 80):
        patients = generator.normal(0.3, 1.0, (5, n)).round(1)
        patients[3] = 0.0  # no difference at all
        together = signed_ranks(patients)
        for row, (holds, fails) in zip(patients, together, strict=True):
            if not row.any():
                assert (holds, fails) == (1.0, 1.0)
                continue
            p, side = signed_rank_p(row), rank_biserial(row)
            assert (holds, fails) == pytest.approx((p / 2, 1 - p / 2) if side > 0 else (1 - p / 2, p / 2))


def test_t_tests_are_students_with_the_bootstrap_error() -> None:
    error = np.sqrt(2.0)
    found = t_tests(np.array([2.0, 5.0, 0.0]), np.array([error, 0.0, 0.0]), np.full(3, 9.0))
    assert found[0] == pytest.approx((stats.t.sf(2 / error, 9), stats.t.cdf(2 / error, 9)))
    assert found[1] == pytest.approx((0.0, 1.0)), "the same in every resample"
    assert found[2] == pytest.approx((0.5, 0.5))
    assert np.all(t_tests(np.array([1.0]), np.array([np.nan]), np.array([9.0])) == 1.0)


def test_with_no_effect_a_report_makes_a_false_claim_as_seldom_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counts: Counts
) -> None:
    """Five claims about six equal methods: at most 5 % of reports may claim anything, either way."""
    # statsmodels collects garbage after every correction, which takes most of the time of a hundred.
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    names = [f"m{number}" for number in range(6)]
    plant_methods(tmp_path, "mine", dict.fromkeys(names, (0.5, 1.0, 1.0)), n_patients=60)
    claims = [
        claim("pair", {"better": "m0", "than": "m1"}, "mine"),
        claim("best", {"best": "method", "is": "m0"}, "mine"),
        claim("some", {"better": "m2", "than": {"any": {"method": ["m3", "m4", "m5"]}}}, "mine"),
        claim("order", {"order": ["m3", "m4", "m5"]}, "mine"),
        claim("mean", {"better": {"mean": {"method": ["m0", "m1"]}}, "than": "m5"}, "mine"),
    ]
    own = OwnNumbers(tmp_path, resamples=300)
    launch = own.launches["mine"]
    scores = launch.scores("dice")
    assert isinstance(scores, CaseScores)
    generator = np.random.default_rng(3)
    trials, wrong = counts(25, 100), 0
    for _ in range(trials):
        launch._means.clear()
        launch._resampled.clear()
        patients = generator.normal(50, 10, (1, scores.values.shape[1], 1))
        scores.values[:] = patients + generator.normal(0, 5, scores.values.shape)
        wrong += any(one.verdict != "undecided" for one in judge(claims, [own]))
    most = 0.11 + slack(0.05, trials, 100)
    assert wrong / trials <= most, "of 100 reports; with 5 % there are more in one of a hundred"


def test_the_grid_of_the_tests_is_the_grid_of_the_study() -> None:
    assert len(table2_factors()) == 105
