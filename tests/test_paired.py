"""Paired comparisons: hand-checkable numbers, published examples, planted effects."""

from __future__ import annotations

import gc
from itertools import combinations, product

import numpy as np
import pytest
from made_scores import scores_from
from scipy import stats
from slow_tests import slow_after
from statsmodels.stats.multitest import multipletests

from reports.statistics.paired import (
    cohens_dz,
    compare,
    holm,
    pair_ps,
    rank_biserial,
    signed_rank_p,
    signed_rank_ps,
)
from reports.statistics.resampling import drawn_means, resampled_means

NAN = float("nan")
HAMILTON_BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
HAMILTON_AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
"""Hollander and Wolfe, Nonparametric Statistical Methods, Table 3.1: V = 40, one-sided p = 0.01953."""


def test_the_published_example_of_hollander_and_wolfe() -> None:
    result = compare(scores_from([HAMILTON_BEFORE, HAMILTON_AFTER]), 0, 1)
    assert result.p == pytest.approx(2 * 10 / 512)
    assert result.effect == pytest.approx((40 - 5) / 45)
    assert result.difference == pytest.approx(np.mean(HAMILTON_BEFORE) - np.mean(HAMILTON_AFTER))
    paired = stats.ttest_rel(HAMILTON_BEFORE, HAMILTON_AFTER)
    assert result.dz == pytest.approx(paired.statistic / 9**0.5)
    assert (result.n_cases, result.n_patients, result.n_zero) == (9, 9, 0)


def test_with_zeros_p_is_that_of_all_signs_after_pratt() -> None:
    differences = np.array([0.0, 0.0, 1.0, 2.0, 2.0, -1.5, 4.0, 5.0, 6.0])
    ranks = stats.rankdata(np.abs(differences))
    observed = abs((np.sign(differences) * ranks).sum())
    signs = np.array(list(product([-1, 1], repeat=7)))
    extreme = np.abs(signs @ ranks[2:]) >= observed - 1e-9
    assert signed_rank_p(differences) == pytest.approx(extreme.mean())
    # Ranks 1.5 (twice) are of zeros, 4 is Wilcoxon's of -1.5.
    assert rank_biserial(differences) == pytest.approx((45 - 3 - 4 - 4) / 45)


def test_many_differences_have_the_normal_approximation_of_cureton() -> None:
    generator = np.random.default_rng(0)
    differences = np.r_[np.zeros(20), generator.normal(0.3, 1, 60)]
    ranks = stats.rankdata(np.abs(differences))
    n, zeros = 80, 20
    above = ranks[differences > 0].sum()
    mean = (n * (n + 1) - zeros * (zeros + 1)) / 4
    variance = (n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1)) / 24
    assert signed_rank_p(differences) == pytest.approx(2 * stats.norm.sf(abs(above - mean) / variance**0.5))


# With up to 13 patients and ties SciPy goes through all signs.
@pytest.mark.parametrize("n", slow_after(5, [6, 9, 14, 30, 51, 13, 50, 90]))
def test_many_pairs_have_the_p_that_scipy_chooses_for_each(n: int) -> None:
    generator = np.random.default_rng(n)
    plain = generator.normal(0.3, 1, (6, n))
    differences = np.concatenate([plain, plain.round(1), plain * (generator.random((6, n)) < 0.6)])
    expected = [stats.wilcoxon(row, zero_method="pratt", method="auto").pvalue for row in differences]
    np.testing.assert_allclose(signed_rank_ps(differences), expected)
    assert signed_rank_ps(np.zeros((2, n))).tolist() == [1, 1]


def test_pairs_of_cells_have_the_p_of_their_comparison() -> None:
    generator = np.random.default_rng(2)
    values = generator.random((5, 30, 2)) * 100
    values[:, 3] = NAN
    values[1, 4:7] = NAN
    values[2] = NAN
    values[4] = values[0] + 0.1
    scores = scores_from(values, patients=[0, 0, 1, 1, *range(26)])
    pairs = list(combinations(range(5), 2))
    np.testing.assert_allclose(pair_ps(scores, pairs), [compare(scores, *pair).p for pair in pairs])
    assert pair_ps(scores, []).tolist() == []


def test_fewer_than_six_patients_have_no_p_and_no_interval() -> None:
    cases = np.arange(10.0)
    result = compare(scores_from([cases, cases + 5], patients=[0, 0, 1, 1, 2, 2, 3, 3, 4, 4]), 0, 1)
    assert not result.testable
    assert not result.interval.known
    # As high in every patient as can be, which of so few says nothing.
    assert np.isnan(result.effect)
    assert (result.n_cases, result.n_patients) == (10, 5)
    assert result.difference == -5
    assert compare(scores_from([np.arange(6.0), np.arange(6.0) + 5]), 0, 1).p == pytest.approx(1 / 32)


def test_equal_cells_do_not_differ() -> None:
    same = [[0.1 + 0.2, 1, 2, 3, 4, 5, 6], [0.3, 1, 2, 3, 4, 5, 6]]
    result = compare(scores_from(same), 0, 1)
    assert (result.p, result.effect, result.n_zero) == (1.0, 0.0, 7)
    assert np.isnan(result.dz)
    assert np.isnan(rank_biserial(np.array([])))


def test_only_cases_that_both_cells_have_are_compared() -> None:
    values = np.array([[10, 20, NAN, 40, 50], [11, NAN, 33, 44, NAN]])
    scored = np.ones((2, 5, 1), dtype=bool)
    scored[1, 4] = False
    result = compare(scores_from(values, scored=scored), 0, 1)
    assert result.difference == pytest.approx((-1 - 4) / 2)
    assert (result.n_cases, result.n_undefined) == (2, 2)


def test_a_cases_value_is_its_mean_over_seeds_and_folds_weigh_the_same() -> None:
    first = [[[10, 30]], [[50, 50]], [[60, 80]]]
    values = np.concatenate([np.array(first).transpose(1, 0, 2), np.full((1, 3, 2), 10.0)])
    result = compare(scores_from(values, folds=[0, 0, 1]), 0, 1)
    assert result.difference == pytest.approx(((10 + 40) / 2 + 60) / 2)


def test_patients_not_cases_are_tested() -> None:
    """Six patients with ten equal cases each are six observations, not sixty."""
    patients = np.repeat(np.arange(6), 10)
    values = np.array([patients + 1.0, np.zeros(60)])
    result = compare(scores_from(values, patients=patients), 0, 1)
    assert (result.n_patients, result.n_cases) == (6, 60)
    assert result.p == pytest.approx(1 / 32)
    assert result.dz == pytest.approx(cohens_dz(np.arange(1.0, 7.0)))


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_interval_of_a_difference_is_that_of_the_resampled_means(seeds: int) -> None:
    generator = np.random.default_rng(4)
    scores = scores_from(generator.random((3, 30, seeds)) * 100, folds=[0, 1] * 15)
    resampled = resampled_means(scores)
    expected = resampled.interval(resampled.drawn.made(lambda means: means[:, 2] - means[:, 0]))
    found = compare(scores, 2, 0, resampled=resampled).interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.covers == ("patients" if seeds == 1 else "patients and seeds")
    assert compare(scores, 2, 0).interval == found


def test_a_case_that_one_cell_lacks_leaves_the_resamples_of_both() -> None:
    generator = np.random.default_rng(3)
    values = generator.random((2, 20, 2)) * 100
    values[1, 4] = NAN
    scores = scores_from(values, folds=np.repeat([0, 1], 10))
    resampled = resampled_means(scores)
    both = scores_from(np.where(np.arange(20)[:, None] == 4, NAN, values), folds=np.repeat([0, 1], 10))
    differences = drawn_means(both, resampled.draws).made(lambda means: means[:, 0] - means[:, 1])
    found = compare(scores, 0, 1, resampled=resampled).interval
    expected = resampled.interval(differences, freedom=19 - 2)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_runs_that_lack_cases_are_compared_on_those_they_share() -> None:
    """One seed of the first cell lacks the second fold; a case's value is the mean over the seeds that have
    it."""
    generator = np.random.default_rng(6)
    easy = generator.normal(60, 10, 40)
    values = np.stack([easy[:, None] + [6.0, 2.0], easy[:, None] + [0.0, 0.0]])
    values[0, 20:, 1] = NAN
    result = compare(scores_from(values, folds=np.repeat([0, 1], 20)), 0, 1)
    assert result.difference == pytest.approx((4 + 6) / 2)
    # Of two seeds one is drawn, with the differences 6 and (on the first fold alone) 2, whose standard deviation is 2;
    # the patients differ in nothing. Student's quantile with one degree of freedom is 12.7.
    reach = stats.t.ppf(0.975, 1) * 2
    assert (result.interval.low, result.interval.high) == pytest.approx((5 - reach, 5 + reach), rel=0.03)


def test_holm_adjusts_what_has_a_p() -> None:
    """The example of Wikipedia's article on the Holm-Bonferroni method."""
    adjusted = holm(np.array([0.01, 0.04, NAN, 0.03, 0.005]))
    np.testing.assert_allclose(adjusted, [0.03, 0.06, NAN, 0.06, 0.02])
    assert np.isnan(holm(np.array([NAN]))).all()


def test_planted_effects_are_found_and_the_others_are_not() -> None:
    generator = np.random.default_rng(8)
    easy = generator.normal(60, 15, 60)
    effects = np.array([0.0, 0.0, 4.0, -4.0])
    values = easy + effects[:, None] + generator.normal(0, 3, (4, 60))
    scores = scores_from(values, folds=np.arange(60) % 5)
    results = [compare(scores, *pair) for pair in [(0, 1), (2, 0), (3, 0)]]
    adjusted = holm(np.array([result.p for result in results]))
    assert [p < 0.05 for p in adjusted] == [False, True, True]
    assert results[1].effect > 0.5
    assert results[2].effect < -0.5
    assert results[1].interval.low <= 4 <= results[1].interval.high
    assert [p >= result.p for p, result in zip(adjusted, results, strict=True)] == [True] * 3


def test_families_without_an_effect_seldom_have_a_significant_comparison() -> None:
    """Holm keeps the chance of any false finding among five comparisons with one cell below a twentieth."""
    generator = np.random.default_rng(9)
    found = 0
    gc.freeze()  # statsmodels collects garbage at every call, which takes long among the objects of a test session.
    for _ in range(150):
        values = generator.normal(0, 1, (6, 25))
        p = np.array([signed_rank_p(values[cell] - values[5]) for cell in range(5)])
        found += holm(p).min() < 0.05
    gc.unfreeze()
    # Three standard errors of 0.05 in 150 are 0.053.
    assert found / 150 <= 0.1


def test_holm_is_statsmodels() -> None:
    p = np.random.default_rng(0).uniform(0, 0.2, 12)
    p[3] = p[7]
    assert holm(np.r_[p, NAN])[:-1] == pytest.approx(multipletests(p, method="holm")[1])
    assert np.isnan(holm(np.array([NAN]))).all()
