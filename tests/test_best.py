"""Which cells are like the best of their group: planted effects, false findings, too few patients."""

from __future__ import annotations

import gc
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from made_scores import scores_from

from reports.measures import FNV
from reports.statistics.best import Grouping, against_best
from reports.statistics.paired import compare_all, holm, pair_ps

NAN = float("nan")
TABLE = Grouping("table", (), "≈")
BOX, VERSION = Grouping("box", ("version", "layers"), "≈"), Grouping("version", ("version",), "∼")
CELLS = pd.DataFrame({"version": list("aaaabb"), "layers": list("112233")})


def planted(effects: list[float], *, n: int = 60, noise: float = 3.0) -> np.ndarray:
    generator = np.random.default_rng(len(effects) + n)
    return (
        generator.normal(60, 10, n)
        + np.array(effects)[:, None]
        + generator.normal(0, noise, (len(effects), n))
    )


def test_cells_that_are_worse_are_told_from_the_best_and_others_are_marked() -> None:
    scores = scores_from(planted([0.0, 6.0, 6.1, -5.0]))
    found = against_best({"dice": scores}, [TABLE])["dice"]
    rows = found.frame.set_index("cell")
    best = int(scores.means().argmax())
    assert rows["best"].unique().tolist() == [best]
    assert {1, 2} == {best, *rows.index[rows["like_best"].eq(True)]}
    assert rows["like_best"].eq(False).sum() == 2
    assert found.marks([TABLE]) == ["≈" if cell in {1, 2} - {best} else "" for cell in range(4)]
    assert rows.loc[best, "difference":"n_patients"].isna().all()
    assert rows.loc[0, "difference"] == pytest.approx(scores.means()[0] - scores.means()[best])
    assert rows.loc[0, "difference_low"] < rows.loc[0, "difference"] < rows.loc[0, "difference_high"] < 0
    assert rows.loc[0, "effect"] < -0.8


def test_p_is_adjusted_over_all_pairs_of_all_measures() -> None:
    dice, volume = planted([0, 1, 2]), planted([0, -1, -3])
    found = against_best({"dice": scores_from(dice), "fnv_ml": scores_from(volume, measure=FNV)}, [TABLE])
    pairs = [(0, 1), (0, 2), (1, 2)]
    stacked = scores_from(np.concatenate([dice, volume]))
    expected = compare_all(stacked, [*pairs, *((a + 3, b + 3) for a, b in pairs)])
    by_pair = {(one.first, one.second): one.p_adjusted for one in expected}
    rows = found["dice"].frame.set_index("cell")
    assert rows.loc[0, "p_adjusted"] == pytest.approx(by_pair[0, 2])
    lowest = found["fnv_ml"].frame.set_index("cell")
    assert lowest["best"].unique().tolist() == [2], "of volumes the lowest is the best"
    assert lowest.loc[1, "p_adjusted"] == pytest.approx(by_pair[4, 5])
    assert found["dice"].n_tested == 6


def test_a_cell_is_compared_in_its_box_and_in_its_version() -> None:
    scores = scores_from(planted([0, 8, 0, 0.1, 0, 9]), cells=CELLS)
    found = against_best({"dice": scores}, [BOX, VERSION])["dice"]
    best = found.frame.pivot(index="cell", columns="against", values="best")
    assert best["version"].tolist() == [1, 1, 1, 1, 5, 5]
    assert best["box"].tolist()[:2] == [1, 1]
    assert best["box"].tolist()[4:] == [5, 5]
    marks = found.marks([BOX, VERSION])
    assert [mark for mark in marks if mark] == ["≈"], (
        "the two cells of box 2 are alike, far from the version's best"
    )
    # 6 pairs in version a and 1 in b; those of the boxes are among them.
    assert found.n_tested == 7


def test_cells_without_values_are_no_part_of_it() -> None:
    values = planted([0, 8, 0, 0.1, 0, 9])
    values[[3, 4]] = NAN
    found = against_best({"dice": scores_from(values, cells=CELLS)}, [BOX, VERSION])["dice"]
    assert sorted(found.frame[found.frame["against"] == "box"]["cell"]) == [0, 1]
    assert found.cells["low"].isna().tolist() == [False, False, False, True, True, False]
    assert found.marks([BOX])[3:] == ["", "", ""]


@pytest.mark.parametrize(("n", "can_tell"), [(5, False), (7, False), (8, True)])
def test_nothing_is_marked_where_no_difference_could_be_significant(n: int, can_tell: bool) -> None:
    """Six pairs of eight patients: at best p = 6 x 2 / 2^8 = 0.047; of seven 0.094."""
    found = against_best({"dice": scores_from(planted([0, 0, 0, 50], n=n))}, [TABLE])["dice"]
    assert found.n_tested == (0 if n < 6 else 6)
    assert found.can_tell == can_tell
    if can_tell:
        assert found.frame["like_best"].eq(False).sum() == 3
    else:
        assert found.frame["like_best"].isna().all()
        assert found.marks([TABLE]) == [""] * 4


def test_the_intervals_of_all_cells_are_those_of_their_means() -> None:
    scores = scores_from(planted([0, 5]))
    found = against_best({"dice": scores}, [TABLE])["dice"]
    means = scores.means()
    assert ((found.cells["low"] < means) & (means < found.cells["high"])).all()
    assert found.cells["covers"].unique().tolist() == ["patients"]
    standard_error = scores.values[0].std(ddof=1) / 60**0.5
    assert found.cells["high"][0] - found.cells["low"][0] == pytest.approx(2 * 2.0 * standard_error, rel=0.1)


def test_tables_of_equal_cells_seldom_have_an_unmarked_one() -> None:
    """Twelve equal cells, the best chosen by its value: about one table in twenty at most has a false
    finding."""
    generator = np.random.default_rng(0)
    pairs = list(combinations(range(12), 2))
    tables, false = 200, 0
    gc.freeze()  # See `test_paired`.
    for _ in range(tables):
        values = generator.normal(60, 10, 40) + generator.normal(0, 3, (12, 40))
        scores = scores_from(values)
        adjusted = dict(zip(pairs, holm(pair_ps(scores, pairs)), strict=True))
        best = int(scores.means().argmax())
        false += any(adjusted[min(cell, best), max(cell, best)] < 0.05 for cell in range(12) if cell != best)
    gc.unfreeze()
    # Three standard errors of a share of 0.05 in 200 are 0.046.
    assert false / tables <= 0.096
