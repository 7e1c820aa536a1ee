"""Which cases are shown: chosen by lesion volume and Dice, each once, with all reasons."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from written_runs import NAN, write_regions, write_run

from benchmark.results.runs import DataPlaces, RunFolder
from benchmark.vocabulary import BenchError, DataError
from reports.panels.choice import Chosen, Known, chosen_cases, known_of

LESIONS = {"a": 5.0, "b": 0.0, "c": 90.0, "d": 20.0, "e": 0.0, "f": 40.0}
ONE = pd.DataFrame({0: {"a": 0.2, "b": NAN, "c": 0.9, "d": 0.5, "e": NAN, "f": 0.7}})
TWO = ONE.assign(**{"1": pd.Series({"a": 0.3, "b": NAN, "c": 0.8, "d": 0.9, "e": NAN, "f": 0.7})})


def test_each_rule_chooses_by_hand_checkable_numbers() -> None:
    def chosen(word: str, dice: pd.DataFrame = ONE) -> list[str]:
        return [case.case_id for case in chosen_cases([word], Known(LESIONS, dice))]

    # By volume: a 5, d 20, f 40, c 90; of four the second is the median. By Dice: a, d, f, c.
    assert (chosen("largest"), chosen("median-lesion"), chosen("tumour-free")) == (["c"], ["d"], ["b"])
    assert (chosen("worst"), chosen("median"), chosen("best")) == (["a"], ["d"], ["c"])
    # Means of two runs: a 0.25, d 0.7, f 0.7, c 0.85; of equal ones the first. They differ by 0.4 in d.
    assert (chosen("median", TWO), chosen("best", TWO), chosen("differ", TWO)) == (["d"], ["c"], ["d"])


def test_a_case_is_shown_once_with_all_its_reasons_in_the_order_asked_for() -> None:
    assert chosen_cases(["auto"], Known(LESIONS, TWO)) == [
        Chosen("c", ("largest lesion volume", "best Dice")),
        Chosen("d", ("median lesion volume", "median Dice", "largest difference in Dice")),
        Chosen("b", ("without a lesion",)),
        Chosen("a", ("worst Dice",)),
    ]
    assert chosen_cases(["f", "worst", "f"], Known(LESIONS, ONE)) == [
        Chosen("f"),
        Chosen("a", ("worst Dice",)),
    ]


def test_rules_that_choose_nothing_leave_the_others() -> None:
    healthy = Known({"b": 0.0}, pd.DataFrame({0: {"b": NAN}}))
    assert chosen_cases(["auto"], healthy) == [Chosen("b", ("without a lesion",))]
    with pytest.raises(BenchError, match="No test case is worst or differ"):
        chosen_cases(["worst", "differ"], healthy)


def test_a_case_of_nobody_is_refused_with_the_nearest_word() -> None:
    with pytest.raises(BenchError, match=r"no test case 'wurst' .* Did you mean 'worst'"):
        chosen_cases(["wurst"], Known(LESIONS, ONE))


def test_cases_are_those_that_all_runs_have_scored_and_dice_is_over_regions(tmp_path: Path) -> None:
    write_regions(tmp_path, "one", {"core": {"dice": [0.4, NAN]}, "edema": {"dice": [0.8, 0.6]}})
    write_run(tmp_path, "other", [0.5, 0.5], fold=1)
    with pytest.raises(BenchError, match="no test case in common"):
        known_of(tmp_path, [("one", ""), ("other", "")])
    folder = RunFolder(tmp_path, "one")
    folder.write_data(DataPlaces(tmp_path, tmp_path / "store", tmp_path / "store", tmp_path / "splits"))
    with pytest.raises(DataError, match="not a prepared case"):
        known_of(tmp_path, [("one", "")])


def test_known_are_volumes_of_the_store_and_mean_dice_over_regions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_regions(tmp_path, "one", {"core": {"dice": [0.4, NAN]}, "edema": {"dice": [0.8, 0.6]}})
    RunFolder(tmp_path, "one").write_data(DataPlaces(tmp_path, tmp_path, tmp_path / "store", tmp_path))

    class Prepared:
        lesion_ml = 7.0

    monkeypatch.setattr("reports.panels.choice.read_case", lambda folder: Prepared())
    known = known_of(tmp_path, [("one", "")])
    assert known.lesion_ml == {"case00": 7.0, "case01": 7.0}
    assert known.dice[0].round(6).to_dict() == {"case00": 0.6, "case01": 0.6}
