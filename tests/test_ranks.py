"""Rank stability: hand-checkable ranks, SciPy's tau, ties, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_scores import scores_from
from planted_claims import plant_methods
from scipy import stats
from written_runs import V3, manifest_of, write_run

from benchmark.results.manifests import write_manifest
from benchmark.vocabulary import BenchError
from reports.ground.drawing import FORMATS
from reports.ground.measures import DICE, FPV, Measure
from reports.statistics.rank_figure import draw_ranks, packed
from reports.statistics.rank_tables import rank_tables
from reports.statistics.ranks import Ranking, kendall, rankings, ranks_of
from reports.statistics.resampling import resampled_means
from reports.statistics.same_cases import same_cases
from reports.statistics.scores import CaseScores
from reports.tables.report import write_report
from reports.tables.table2.frames import table2_cells
from reports.tables.table2.ranks import BEST, table2_ranks, version_groups

NAN = float("nan")


def no_ink(figure: object, stem: Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Drawing takes seconds; empty files stand for figures."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in formats]
    for path in paths:
        path.touch()
    return paths


def ranked(values: object, *, measure: Measure = DICE, **more: object) -> Ranking:
    scores = scores_from(values, measure=measure, **more)  # type: ignore[arg-type]
    return rankings(scores, list("ABCDEFGH")[: scores.n_cells])[""]


def row(ranking: Ranking, name: str) -> pd.Series:
    return ranking.frame.set_index("name").loc[name]


def test_constant_differences_leave_no_doubt() -> None:
    cases = np.arange(10.0)
    ranking = ranked([cases, cases + 5, cases + 2])
    assert list(ranking.frame["name"]) == ["B", "C", "A"]
    assert list(ranking.frame["mean_rank"]) == [1, 2, 3]
    assert list(ranking.frame["first"]) == [100, 0, 0]
    assert (ranking.frame["low"] == ranking.frame["high"]).all()
    assert ranking.tau == 1
    assert ranking.shares["share"].tolist() == [100, 100, 100]


def test_the_lowest_volume_is_the_best() -> None:
    cases = np.arange(10.0)
    ranking = ranked([cases, cases + 5, cases + 2], measure=FPV)
    assert list(ranking.frame["name"]) == ["A", "C", "B"]


def test_a_tie_shares_the_ranks_and_the_first_place() -> None:
    cases = np.arange(10.0)
    ranking = ranked([cases, cases + 0.1 + 0.2, cases + 0.3])
    assert row(ranking, "B")["rank"] == row(ranking, "C")["rank"] == 1.5
    assert list(ranking.frame["first"]) == [50, 50, 0]
    assert (row(ranking, "B")["low"], row(ranking, "B")["high"]) == (1, 2)
    assert ranks_of(np.array([3.0, 3.0, 3.0, 1.0]), higher_is_better=False).tolist() == [3, 3, 3, 1]


def test_the_share_of_first_places_is_that_of_the_resamples_in_which_the_mean_is_best() -> None:
    generator = np.random.default_rng(1)
    scores = scores_from(generator.normal(50, 5, (4, 30)))
    means = resampled_means(scores).means
    ranking = rankings(scores, list("ABCD"))[""]
    counts = np.bincount(means.argmax(axis=1), minlength=4) / len(means)
    assert [row(ranking, name)["first"] for name in "ABCD"] == pytest.approx(100 * counts)
    by_hand = (means >= means[:, [2]]).sum(axis=1).mean()
    assert row(ranking, "C")["mean_rank"] == pytest.approx(by_hand)
    assert ranking.frame["first"].sum() == pytest.approx(100)
    assert ranking.shares.groupby("name")["share"].sum().tolist() == pytest.approx([100] * 4)


def test_tau_is_scipys_with_ties() -> None:
    generator = np.random.default_rng(0)
    ranks = stats.rankdata(generator.integers(0, 5, (20, 7)), axis=1)
    order = stats.rankdata(generator.integers(0, 4, 7))
    expected = [stats.kendalltau(one, order).statistic for one in ranks]
    assert kendall(ranks, order) == pytest.approx(expected)
    assert np.isnan(kendall(np.ones((1, 3)), np.array([1.0, 2, 3]))).all()


def test_with_nothing_planted_no_method_is_surely_the_best_and_with_much_one_is() -> None:
    generator = np.random.default_rng(3)
    patients = generator.normal(60, 15, 40)
    equal = patients + generator.normal(0, 4, (6, 40))
    assert ranked(equal).frame["first"].max() < 95
    assert (ranked(equal).frame["high"] - ranked(equal).frame["low"]).median() >= 2
    planted = equal + np.array([0, 0, 6, 0, 0, 0])[:, None]
    assert row(ranked(planted), "C")["first"] > 99


def test_cells_without_values_and_with_fewer_cases_are_left_out_and_named() -> None:
    values = np.tile(np.arange(10.0), (4, 1)) + np.arange(4)[:, None]
    values[1] = NAN
    scored = np.ones((4, 10, 1), dtype=bool)
    scored[2, 7:], values[2, 7:] = False, NAN
    same = same_cases(scores_from(values, scored=scored))
    assert same.left_out == {1: "no value", 2: "scored on 7 of the 10 cases"}
    ranking = ranked(values, scored=scored)
    assert list(ranking.frame["name"]) == ["D", "A"]
    assert ranking.left_out == "Left out: B (no value); C (scored on 7 of the 10 cases)."


def test_cells_are_ranked_on_the_cases_that_most_of_them_have() -> None:
    values = np.tile(np.arange(12.0), (3, 1))
    scored = np.ones((3, 12, 1), dtype=bool)
    scored[:2, 6:], values[:2, 6:] = False, NAN
    same = same_cases(scores_from(values, scored=scored, folds=[0] * 6 + [1] * 6))
    assert (list(same.kept), len(same.scores.cases), same.n_cases_unused) == ([0, 1, 2], 6, 6)


def test_too_few_patients_are_refused_in_one_sentence() -> None:
    with pytest.raises(BenchError, match=r"at least 6 patients with a value; there are 0\."):
        ranked([[1.0, 2, 3], [2.0, 3, 4]])
    shown = rank_tables(
        [scores_from([[1.0, 2, 3], [2.0, 3, 4]])],
        ["A", "B"],
        address_of=lambda *_: "",
        number="4",
        stem="table4",
    )
    assert (shown.tables, shown.figures) == ((), ())
    assert shown.reasons[0].startswith("Rank stability of Table 4: Ranks by Dice need")


def table2_scores(n_patients: int = 12) -> CaseScores:
    """A cell's Dice is the patient's plus 0.1 times its place in Table 2; the first cell has none."""
    cells = table2_cells()
    values = np.arange(float(n_patients)) + 0.1 * np.arange(len(cells))[:, None]
    values[0] = NAN
    return scores_from(values, cells=cells)


def test_the_best_of_a_box_is_chosen_anew_in_every_resample() -> None:
    generator = np.random.default_rng(2)
    scores = scores_from(generator.normal(50, 5, (4, 20)))
    means = resampled_means(scores).means
    found = rankings(scores, list("ABCD"), {"boxes": {"AB": [0, 1], "CD": [2, 3]}})["boxes"]
    expected = (means[:, :2].max(axis=1) > means[:, 2:].max(axis=1)).mean()
    assert row(found, "AB")["first"] == pytest.approx(100 * expected)


def test_table_2_ranks_cells_within_versions_and_boxes_among_all() -> None:
    groups = version_groups(table2_cells())
    assert {name: len(members) for name, members in groups.items()} == {
        "v1": 21,
        "v2": 21,
        "v3": 21,
        "v4": 42,
        BEST: 28,
    }
    assert [len(cells) for cells in groups[BEST].values()] == [3] * 21 + [6] * 7
    shown = table2_ranks(table2_scores())
    cells, boxes = (table.printed[0] for table in shown.tables)
    assert [len(cells.rows), len(cells.columns), len(boxes.rows)] == [15, 7, 4]
    assert cells.rows[0].cells[0][0].text == "–"
    assert cells.rows[-1].cells[-1][0].text == "1.0 [1–1] 100 %"
    assert cells.rows[-1].cells[-1][0].bold
    assert boxes.rows[-1].cells[-1][0].text == "1.0 [1–1] 100 %"
    assert cells.rows[-1].cells[-1][0].address == "table2:v4/learnable/3-4-5-6-7"
    assert boxes.rows[-1].cells[-1][0].address == "table2:v4/*/3-4-5-6-7"
    # Its cell without self-supervision has no value, and takes no part.
    assert boxes.rows[0].cells[0][0].address == "table2:v1/noise/3|v1/shuffle/3"
    assert any("Left out: v1, L2, L = {3} (no value)." in note for note in cells.notes)
    assert any("(v4) 1.00 (1.00 to 1.00)" in note for note in cells.notes)
    assert [len(table.layout) for table in shown.tables] == [104, 28]


def test_the_figure_has_a_disc_for_every_rank_that_is_taken() -> None:
    generator = np.random.default_rng(4)
    ranking = ranked(generator.normal(50, 5, (5, 30)))
    ax = draw_ranks({"Dice": ranking}, "Ranks").axes[0]
    discs = ax.collections[1].get_offsets()
    assert len(discs) == len(ranking.shares)
    assert [label.get_text() for label in ax.get_yticklabels()] == list(ranking.frame["name"])
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_panels_share_a_column_where_they_are_no_taller_than_the_tallest() -> None:
    assert packed({"v1": 21, "v2": 21, "v3": 21, "v4": 42}) == [["v1", "v2"], ["v3"], ["v4"]]


def test_a_report_of_methods_has_the_ranks_of_every_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.ground.drawing.save", no_ink)
    means = {"PET": (0.5, 1.0, 2.0), "CT": (0.3, 3.0, 4.0), "EF": (0.4, 2.0, 3.0)}
    plant_methods(tmp_path / "results", "table3", means, n_patients=8)
    report = write_report(tmp_path / "results", grid="table3", source="runs", out=tmp_path / "out")
    names = [path.name for path in report.files]
    assert {"table3_ranks.md", "table3_ranks_cells.csv", "table3_rank_figure.png"} <= set(names)
    ranks = pd.read_csv(tmp_path / "out" / "table3_ranks.csv")
    assert ranks["metric"].tolist() == ["dice"] * 3 + ["fpv_ml"] * 3 + ["fnv_ml"] * 3
    assert ranks["method"].tolist() == ["PET", "EF", "CT"] * 3
    assert "3 (ranks, Dice)" in [table.printed[0].number for table in report.tables]
    assert "](table3_rank_figure.png)" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


def test_a_report_of_too_few_patients_says_why_it_has_no_ranks_and_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.ground.drawing.save", no_ink)
    write_run(tmp_path / "results", "a", [0.5, 0.6, 0.7])
    write_manifest(tmp_path / "results", manifest_of((V3, 0, 0, "a")))
    report = write_report(tmp_path / "results", source="runs", out=tmp_path / "out")
    text = report.files[0].read_text(encoding="utf-8")
    assert "Rank stability of Table 2: Ranks by Dice need two cells" in text
    assert "Mixed-effects summary of Table 2, v1–v3: A model of Dice needs two cells" in text
