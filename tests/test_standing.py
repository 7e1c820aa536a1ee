"""What of a table is significantly different from the best of its group: by hand, on planted scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from slow_tests import Counts, slack

from reports.ground.latex import latex_text
from reports.ground.measures import DICE, FNV, FPV, Measure
from reports.ground.notes import MISSING
from reports.ground.words import p_text
from reports.statistics.paired import holm, pair_ps, signed_rank_ps
from reports.statistics.scores import CaseScores
from reports.statistics.standing import Grouping, Lesions, standings
from reports.statistics.tables import standing_notes, statistics_table
from reports.tables.comparison.frames import TABLE3
from reports.tables.comparison.report import report as comparison_report
from reports.tables.table2.report import report as table2_report
from tests.published_experiment import as_published
from tests.written_runs import NAN, manifest_of, methods_manifest, write_readings

N = 12
ALL = (Grouping("all", (), "∼", "the table"),)


def scores_of(*rows: list[float], measure: Measure = DICE, names: Sequence[str] = "ABCDE") -> CaseScores:
    """A cell a row, a patient a case, one fold and one seed."""
    values = np.array(rows)[:, :, None]
    cases = pd.DataFrame({"case_id": [f"c{i}" for i in range(values.shape[1])], "fold": 0})
    cases["patient"] = cases["case_id"]
    cells = pd.DataFrame({"method": list(names)[: len(rows)]})
    return CaseScores(measure, cells, cases, (0,), values, np.ones(values.shape, dtype=bool))


def planted() -> CaseScores:
    """A is best; B differs from A by turns, C is worse by 1, 2, ..., 12 points."""
    best = [60.0 + i for i in range(N)]
    by_turns = [value + (-1) ** i * (i + 1) - 0.1 for i, value in enumerate(best)]
    return scores_of(best, by_turns, [value - (i + 1) for i, value in enumerate(best)])


def test_what_is_worse_in_every_patient_is_told_from_the_best_and_what_differs_by_turns_is_not() -> None:
    frame = standings({"dice": planted()}, ALL, lesions={})["dice"].set_index("method")
    assert frame.loc["A", "all_best"]
    # All twelve differences have one sign: the two extreme ones of 2^12 assignments of signs.
    assert frame.loc["C", "all_p"] == pytest.approx(2 / 2**N)
    # Three pairs: A and C, B and C (both by C's deficit), A and B.
    assert frame.loc["C", "all_p_adjusted"] <= 3 * 2 / 2**N
    assert frame.loc["C", "all_effect"] == pytest.approx(1.0)
    assert frame.loc["C", "all_difference"] == pytest.approx(6.5)
    assert list(frame["marks"]) == ["", "∼", ""]


def test_the_rules_for_zeros_by_hand() -> None:
    """Differences 0, 0, 0, 1, 2, 3: the zeros have rank 2 each, the others 4, 5 and 6, which sum up to 15.

    After Pratt two of the eight signs of these are as extreme. Split, all six ranks have signs: of 64 choices those
    whose negative ranks sum up to 3 at most, none or one zero, and their mirror images, 8. Without zeros three
    patients are too few.
    """
    row = np.array([[0.0, 0, 0, 1, 2, 3]])
    assert [float(signed_rank_ps(row, zeros=rule)[0]) for rule in ("pratt", "zsplit")] == [0.25, 0.125]
    assert np.isnan(signed_rank_ps(row, zeros="wilcox")[0])
    assert signed_rank_ps(np.zeros((1, 8)), zeros="wilcox") == 1.0
    none = np.arange(1.0, 9.0)[None]
    assert len({float(signed_rank_ps(none, zeros=rule)[0]) for rule in ("pratt", "zsplit", "wilcox")}) == 1


@pytest.mark.parametrize("rule", ["pratt", "zsplit", "wilcox"])
def test_the_rules_for_zeros_are_those_of_scipy(rule: str) -> None:
    drawn = np.random.default_rng(3)
    rows = drawn.normal(0.2, 1, (5, 200)).round(2) * (drawn.random((5, 200)) < 0.4)
    expected = [stats.wilcoxon(row, zero_method=rule, method="asymptotic").pvalue for row in rows]
    np.testing.assert_allclose(signed_rank_ps(rows, zeros=rule), expected, rtol=1e-12)


def most_are_zero(n: int = 300) -> CaseScores:
    """Of 300 patients 38 have some 3 ml of B alone, 22 some 2 ml of A alone; the others have none of either."""
    a, b = np.zeros(n), np.zeros(n)
    b[:38] = 3.0 + np.arange(38) / 60
    a[38:60] = 2.0 + np.arange(22) / 60
    return scores_of(list(a), list(b), measure=FPV)


def test_where_zeros_decide_about_a_mark_the_other_rules_are_told() -> None:
    scores = most_are_zero()
    differences = scores.values[0, :, 0] - scores.values[1, :, 0]
    expected = {
        rule: stats.wilcoxon(differences, zero_method=rule, method="asymptotic").pvalue
        for rule in ("pratt", "zsplit", "wilcox")
    }
    frame = standings({"fpv_ml": scores}, ALL, lesions={})["fpv_ml"]
    rival = frame.loc[1]
    assert (rival["all_n_zero"], rival["all_n_patients"]) == (240, 300)
    for column, rule in (("p_adjusted", "pratt"), ("p_zsplit", "zsplit"), ("p_wilcox", "wilcox")):
        assert rival[f"all_{column}"] == pytest.approx(expected[rule])
    assert expected["pratt"] < 0.05 < expected["zsplit"]
    assert (rival["all_untold"], rival["all_disputed"], frame.loc[0, "all_disputed"]) == (False, True, False)
    measures = {"fpv_ml": FPV}
    table = statistics_table(
        {"fpv_ml": frame},
        ALL,
        measures=measures,
        label=lambda record: ("", str(record["method"])),
        number="1",
        title="t",
        stub=("Method",),
    )
    (note,) = [note for note in table.notes if "no difference, and" in note]
    assert "FPV of B against the best of the table: 240 of 300 patients have no difference" in note
    shown = [p_text(expected[rule]) for rule in ("pratt", "zsplit", "wilcox")]
    assert (
        f"{shown[0]} after Pratt, {shown[1]} where zeros are split between the signs, {shown[2]} without"
        in note
    )
    (under,) = [
        n for n in standing_notes({"fpv_ml": frame}, ALL, measures=measures, where="there") if "depends" in n
    ]
    assert "in 1 in FPV: there says what other rules give" in under


def test_where_the_rules_agree_nothing_is_said_of_zeros() -> None:
    frames = standings({"dice": planted()}, ALL, lesions={})
    assert not frames["dice"]["all_disputed"].any()
    assert frames["dice"]["all_p_zsplit"].isna().all()
    assert not any(
        "depends" in n for n in standing_notes(frames, ALL, measures={"dice": DICE}, where="there")
    )


def test_the_spread_of_cases_stands_beside_their_mean() -> None:
    """Of 1, 2, 3, 10 the mean is 4, the median 2.5, the standard deviation (9 + 4 + 1 + 36) / 3 under the root."""
    frame = standings({"dice": scores_of([1.0, 2, 3, 10, NAN], [5.0, NAN, NAN, NAN, NAN])}, ALL, lesions={})[
        "dice"
    ]
    assert frame["median"].tolist() == [2.5, 5.0]
    assert frame["sd"][0] == pytest.approx((50 / 3) ** 0.5)
    assert np.isnan(frame["sd"][1])
    table = statistics_table(
        {"dice": frame}, ALL, measures={"dice": DICE}, label=lambda r: ("", r["method"]), number="1", title="t",
        stub=("Method",),
    )  # fmt: skip
    assert table.columns[1:3] == ("SD", "Median")
    shown = [["".join(span.text for span in cell) for cell in row.cells[:3]] for row in table.rows]
    assert shown == [["4.00", "4.08", "2.50"], ["5.00", MISSING, "5.00"]]


def test_holm_runs_over_all_pairs_of_all_measures_of_a_table() -> None:
    scores = planted()
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = holm(np.concatenate([pair_ps(scores, pairs)] * 2))
    both = standings({"a": scores, "b": scores}, ALL, lesions={})["a"]
    assert both["all_p_adjusted"][1] == pytest.approx(expected[0])
    assert both["all_p_adjusted"][2] == pytest.approx(expected[1])


@pytest.mark.parametrize(("n", "judged"), [(5, False), (7, False), (8, True)])
def test_nothing_is_marked_where_no_difference_could_be_significant(n: int, judged: bool) -> None:
    """Six pairs of eight patients: at best p = 6 x 2 / 2^8 = 0.047; of seven 0.094."""
    rows = [[60.0 + i + 0.1 * cell * (-1) ** i for i in range(n)] for cell in range(3)]
    frame = standings({"dice": scores_of(*rows, [10.0 + i for i in range(n)])}, ALL, lesions={})["dice"]
    assert frame["all_judged"].all() == judged
    assert sum(frame["marks"] == "∼") == (2 if judged else 0)
    assert not frame["all_untold"][3]


def test_a_measure_with_too_few_patients_is_not_marked_beside_one_with_enough() -> None:
    """Five of twelve patients have a Dice; the volumes of all twelve can be told apart."""
    volumes = scores_of(*planted().values[:, :, 0].tolist(), measure=FPV)
    few = planted()
    few.values[:, 5:] = NAN
    frames = standings({"dice": few, "fpv_ml": volumes}, ALL, lesions={})
    assert not frames["dice"]["all_judged"].any()
    assert list(frames["dice"]["marks"]) == ["", "", ""]
    assert frames["fpv_ml"]["all_judged"].all()
    notes = list(standing_notes(frames, ALL, measures={"dice": DICE, "fpv_ml": FPV}, where="there"))
    assert any("best of the table in Dice are not marked" in note for note in notes)


def test_a_pair_with_too_few_patients_in_common_is_not_marked() -> None:
    scores = planted()
    scores.values[1, 4:] = NAN
    frame = standings({"dice": scores}, ALL, lesions={})["dice"]
    assert frame["all_judged"].all()
    assert np.isnan(frame["all_p"][1])
    assert frame["marks"][1] == ""
    notes = list(standing_notes({"dice": frame}, ALL, measures={"dice": DICE}, where="there"))
    assert any(
        "Not compared with the best of the table, and without a sign: 1 in Dice" in note for note in notes
    )


def test_a_best_mean_that_rests_on_outliers_is_told_from_nothing() -> None:
    """Of volumes: B is lower in 58 of 60 patients and very much higher in two, so that A has the lower mean."""
    generator = np.random.default_rng(0)
    a = generator.uniform(1, 2, 60)
    b = np.r_[a[:58] - 0.2, 40.0, 40.0]
    frame = standings({"fpv": scores_of(a.tolist(), b.tolist(), measure=FPV)}, ALL, lesions={})["fpv"]
    assert frame["all_best"].tolist() == [True, False]
    assert frame["all_p_adjusted"][1] < 1e-6
    assert frame["marks"].tolist() == ["", "∼"]


@pytest.mark.parametrize("n_seeds", [2, 4])
def test_trainings_that_differ_by_chance_alone_are_seldom_told_apart(n_seeds: int, counts: Counts) -> None:
    """Two equal methods, with more noise of the training than of the patients: ranks find differences every time."""
    generator = np.random.default_rng(n_seeds)
    trials = counts(25, 100)
    told = ranked = 0
    for _ in range(trials):
        values = generator.normal(60, 2, 40)[:, None] + generator.normal(0, 4, (2, 1, n_seeds))
        values = values + generator.normal(0, 1, (2, 40, n_seeds))
        plain = scores_of(*values[:, :, 0].tolist())
        scores = replace(
            plain, seeds=tuple(range(n_seeds)), values=values, scored=np.ones(values.shape, bool)
        )
        frame = standings({"dice": scores}, ALL, lesions={})["dice"]
        ranked += frame["all_p"].min() <= 0.05
        told += "∼" not in "".join(frame["marks"])
    assert ranked / trials >= 0.8
    # 0.05 where there are seeds enough, and up to 0.16 with two (see test_resampling.py); three standard errors more.
    share, most = {2: (0.16, 0.27), 4: (0.05, 0.14)}[n_seeds]
    assert told / trials <= most + slack(share, trials, 100)


def test_tables_of_equal_cells_seldom_tell_one_from_the_best(counts: Counts) -> None:
    """Eight equal cells, the best chosen by its value: about one table in twenty at most has a false finding."""
    generator = np.random.default_rng(0)
    tables, false = counts(30, 120), 0
    names = [f"m{i}" for i in range(8)]
    for _ in range(tables):
        values = generator.normal(60, 10, 30) + generator.normal(0, 3, (8, 30))
        pairs = list(combinations(range(8), 2))
        scores = scores_of(*values.tolist(), names=names)
        adjusted = dict(zip(pairs, holm(pair_ps(scores, pairs)), strict=True))
        best = int(scores.means().argmax())
        false += any(adjusted[min(cell, best), max(cell, best)] <= 0.05 for cell in range(8) if cell != best)
    # Three standard errors of a share of 0.05 in 120 are 0.06.
    assert false / tables <= 0.11 + slack(0.05, tables, 120)


def test_of_volumes_the_lowest_is_the_best() -> None:
    volumes = scores_of([3.0] * N, [1.0 + 0.01 * i for i in range(N)], measure=FNV)
    frame = standings({"fpv": volumes}, ALL, lesions={})["fpv"]
    assert list(frame["all_best"]) == [False, True]
    assert frame["all_difference"][0] < 0


def test_the_interval_holds_the_mean_and_narrows_with_the_spread() -> None:
    wide, narrow = standings({"dice": scores_of([0.0, 100.0] * 6, [49.0, 51.0] * 6)}, ALL, lesions={})[
        "dice"
    ].to_dict("records")
    for row in (wide, narrow):
        assert row["low"] < row["value"] == 50.0 < row["high"]
    # The standard error of a mean is in proportion to the standard deviation: fifty to one.
    assert (wide["high"] - wide["low"]) / (narrow["high"] - narrow["low"]) == pytest.approx(50, rel=1e-6)


def test_counts_are_of_cases_used_undefined_and_missed() -> None:
    dice = scores_of([50.0, 0.0, NAN, 70.0])
    lesions = Lesions(scores_of([1.0, 4.0, 0.0, 2.0]), missed=scores_of([0.0, 3.0, 0.0, 1.0]))
    frame = standings({"dice": dice}, ALL, lesions={"dice": lesions})["dice"]
    assert frame.loc[0, ["n_used", "n_undefined", "n_missed", "n_lesions"]].to_list() == [3, 1, 4, 7]
    lesions.missed.scored[:] = lesions.all.scored[:] = False
    frame = standings({"dice": dice}, ALL, lesions={"dice": lesions})["dice"]
    assert frame.loc[0, ["n_missed", "n_lesions"]].isna().all(), "runs of earlier versions did not count them"


def test_with_five_patients_nothing_is_marked_and_the_notes_say_why() -> None:
    scores = scores_of([60.0, 61, 62, 63, 64], [10.0, 11, 12, 13, 14])
    frames = standings({"dice": scores}, ALL, lesions={})
    assert frames["dice"]["marks"].eq("").all()
    assert frames["dice"]["low"].isna().all()
    notes = " ".join(standing_notes(frames, ALL, measures={"dice": DICE}, where="there"))
    assert "are not marked: with so few patients" in notes
    assert frames["dice"]["all_effect"].isna().all()
    heads = {
        n: statistics_table(
            standings({"dice": scores_of([60.0] * n, [10.0] * n)}, ALL, lesions={}),
            ALL,
            measures={"dice": DICE},
            number="1",
            title="",
            stub=("Method",),
            label=lambda record: ("", record["method"]),
        ).columns[0]
        for n in (5, N)
    }
    assert heads == {5: "Mean", N: "Mean [95 %]"}, "without intervals none are announced"
    assert "n used 5, n undefined 0" in notes


def test_small_p_are_not_printed_as_zero() -> None:
    assert [p_text(p) for p in (0.0002, 0.04567, NAN)] == ["< 0.001", "0.046", "–"]


def test_the_signs_can_be_set_by_latex() -> None:
    assert latex_text("1.00 ∼≃ (≈)") == r"1.00 $\sim$$\simeq$ ($\approx$)"


def test_a_table_of_methods_marks_what_is_not_told_from_the_best(tmp_path: Path) -> None:
    dice = planted().values[:, :, 0] / 100
    for name, values in zip("abc", dice, strict=True):
        zeros = [0.0] * N
        scores = {"dice": list(values), "fpv_ml": zeros, "fnv_ml": zeros, "missed": zeros}
        write_readings(tmp_path, name, {"": scores})
    manifest = methods_manifest("table3", ("PET", 0, 0, "a"), ("EF", 0, 0, "b"), ("CT", 0, 0, "c"))
    as_published(tmp_path, manifest)
    written = comparison_report(TABLE3, tmp_path, manifest, source="both", out=tmp_path / "out", summary=[])
    (table,) = written.tables[1].printed
    (ef,) = [row for row in table.rows if row.label == "EF" and row.cells[0][0].text == "Dice [%]"]
    _, value, *counts, difference, p, effect = [cell[0] for cell in ef.cells]
    assert {span.address for span in (value, *counts) if span.text != "–"} == {f"{manifest.name}:EF"}
    assert {span.address for span in (difference, p, effect)} == {f"{manifest.name}:PET|EF"}
    text = (tmp_path / "out" / "table3.md").read_text(encoding="utf-8")
    assert "∼ is not significantly different from the best of the measure." in text
    own = next(line for line in text.splitlines() if line.startswith("| Dice"))
    # CT, PET, EF in the paper's order: 59.00, 65.50, 65.40.
    assert own.count("∼") == 1
    statistics = (tmp_path / "out" / "table3_statistics.md").read_text(encoding="utf-8")
    assert "bootstrap, patients drawn within folds" in statistics
    cells = pd.read_csv(tmp_path / "out" / "table3_cells.csv")
    pet = cells[(cells["method"] == "PET") & (cells["metric"] == "dice")].iloc[0]
    assert pet["low"] < 65.5 < pet["high"]
    assert ("≈" in text) == bool(cells["paper"].between(cells["low"], cells["high"]).any())


def test_table_2_compares_within_its_boxes_and_versions(tmp_path: Path) -> None:
    dice = planted().values[:, :, 0] / 100
    levels = {"none": dice[2], "noise": dice[1], "shuffle": dice[0]}
    cells = []
    for level, values in levels.items():
        write_readings(
            tmp_path, level, {"": {"dice": list(values), "fpv_ml": [0.0] * N, "fnv_ml": [0.0] * N}}
        )
        factors = {"version": "v1", "self_supervision": level, "shared_layers": "5"}
        cells.append((factors, 0, 0, level))
    table2_report(tmp_path, manifest_of(*cells), source="runs", out=tmp_path / "out", summary=[])
    text = (tmp_path / "out" / "table2.md").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    rows = {line.split("|")[2].strip(): line for line in reversed(lines)}
    assert "64.90 ∼≃" in rows["L2 + noise"]
    assert "∼" not in rows["L2"]
    assert "∼" not in rows["L2 + shuffling"]
    frame = pd.read_csv(tmp_path / "out" / "table2_statistics_cells.csv")
    assert frame["box_best"].sum() == frame["version_best"].sum() == 1
