"""The window of a picture: prepared values back to HU and SUV."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.vocabulary import DataError, Percentiles, Window, ZScore
from reports.panels.windows import DisplayWindow, physical, rule_of, shown, unit_of

RAMP = np.linspace(0, 1, 1001, dtype=np.float16).reshape(7, 11, 13)
CT, PET = Window(-100.0, 250.0), Window(0.0, 15.0)


def test_prepared_values_are_brought_back_to_their_unit() -> None:
    assert physical(0.0, CT) == -100
    assert physical(1.0, CT) == 250
    assert physical(0.4, CT) == pytest.approx(40.0)
    assert physical(0.2, PET) == pytest.approx(3.0)


def test_ct_is_shown_as_soft_tissue_as_far_as_its_values_reach() -> None:
    """-160 to 240 HU; prepared values begin at -100, so that 240 HU is 340/350 of them."""
    soft = shown("CT", CT, RAMP)
    assert soft == DisplayWindow(0.0, soft.high, "soft tissue,\n−100 to 240 HU")
    assert soft.high == pytest.approx(340 / 350)
    wide = Window(-1000.0, 1000.0)
    window = shown("ct", wide, RAMP)
    assert (physical(window.low, wide), physical(window.high, wide)) == (-160.0, pytest.approx(240.0))
    assert not window.inverted


def test_pet_is_dark_on_white_between_suv_0_and_7_and_the_only_one_that_is_projected() -> None:
    pet = shown("PET", PET, RAMP)
    assert pet == DisplayWindow(0.0, pet.high, "SUV 0 to 7", inverted=True, projected=True)
    assert pet.high == pytest.approx(7 / 15)
    assert shown("SUV", Window(0.0, 5.0), RAMP).words == "SUV 0 to 5"
    assert not shown("CT", CT, RAMP).projected


def test_other_modalities_are_shown_between_percentiles_that_are_named() -> None:
    values = np.concatenate([np.zeros(5000), np.linspace(-2, 3, 1001)]).reshape(-1, 1, 1)
    window = shown("FLAIR", ZScore(nonzero=True), values)
    assert (window.low, window.high) == (pytest.approx(-1.975, abs=0.01), pytest.approx(2.995, abs=0.01))
    assert window.words == "z-score −2 to 3"
    assert shown("T2", None, 100 * values).words.endswith("as in the file")
    assert shown("T2", Percentiles(1, 99), np.abs(values)).words.endswith("between percentiles 1 and 99")
    assert shown("US", Window(0.0, 200.0), RAMP).words == "1.199 to 199.8"
    assert shown("empty", ZScore(), np.zeros((2, 2, 2))).high == 1


def test_a_unit_is_known_only_where_values_can_be_brought_back() -> None:
    assert (unit_of("CT", CT), unit_of("pt", PET), unit_of("CT", ZScore()), unit_of("T1", PET)) == (
        *("HU", "SUV", "", ""),
    )


def test_rules_are_read_from_their_json() -> None:
    assert rule_of({"rule": "Window", "low": -100, "high": 250}) == CT
    assert rule_of({"rule": "ZScore", "nonzero": True}) == ZScore(nonzero=True)
    assert rule_of(None) is None
    for wrong in ({"rule": "Gamma"}, {"rule": "Window", "low": 0, "width": 3}):
        with pytest.raises(DataError, match="no rule for intensities"):
            rule_of(wrong)
