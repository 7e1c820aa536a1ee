"""The closed form of the mixed model against statsmodels, hand-checkable shares, planted effects, and none."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from made_scores import scores_from
from slow_tests import Counts, slack
from statsmodels.regression.mixed_linear_model import MixedLMResults
from statsmodels.stats.anova import AnovaRM, anova_lm

from benchmark.vocabulary import BenchError
from reports.statistics.design import Term, coding, design
from reports.statistics.mixed import MixedModel, clustered, mixed_model, residuals_of, term_tests
from reports.tables.table2.frames import table2_cells
from reports.tables.table2.mixed import mixed_tables

NAN = float("nan")


def factorial(*sizes: int) -> pd.DataFrame:
    """All combinations of the levels a0, a1, ...; b0, b1, ..."""
    names = "abc"[: len(sizes)]
    rows = product(
        *([f"{name}{level}" for level in range(size)] for name, size in zip(names, sizes, strict=True))
    )
    return pd.DataFrame(rows, columns=list(names))


def fitted(values: object, cells: pd.DataFrame, **more: object) -> MixedModel:
    scores = scores_from(values, cells=cells, **more)  # type: ignore[arg-type]
    return mixed_model(scores, list(cells), names=["/".join(row) for row in cells.to_numpy()])


def only_terms(values: np.ndarray, terms: Sequence[Term]) -> pd.DataFrame:
    """The tests of values [cell, case], one case a patient."""
    _, mean_square = residuals_of(values.T)
    return term_tests(values.T, np.arange(values.shape[1]), terms, mean_square=mean_square)


def long(values: np.ndarray, cells: pd.DataFrame, patients: Sequence[int]) -> pd.DataFrame:
    """One row a cell and case."""
    frames = [
        cells.assign(y=values[:, case], patient=patient, case=f"c{case}")
        for case, patient in enumerate(patients)
    ]
    return pd.concat(frames, ignore_index=True)


def lmm(formula: str, frame: pd.DataFrame, **more: object) -> MixedLMResults:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return smf.mixedlm(formula, frame, groups="patient", **more).fit(reml=True, method="lbfgs")


def wald(result: MixedLMResults, prefix: str) -> float:
    """Wald's chi2 over df of the fixed effects whose order of interaction and factors are the prefix's."""
    names = [name for name in result.fe_params.index if sorted(set(name) & set("abc")) == sorted(prefix)]
    effects = result.fe_params[names].to_numpy()
    covariance = result.cov_params().loc[names, names].to_numpy()
    return float(effects @ np.linalg.solve(covariance, effects)) / len(names)


@pytest.fixture(scope="module")
def noise() -> np.random.Generator:
    return np.random.default_rng(0)


def test_one_case_a_patient_is_statsmodels_random_intercept(noise: np.random.Generator) -> None:
    cells = factorial(2, 3)
    values = 60 + noise.normal(0, 8, 15) + np.arange(6.0)[:, None] * 0.8 + noise.normal(0, 3, (6, 15))
    model = fitted(values, cells)
    peer = lmm("y ~ C(a, Sum) * C(b, Sum)", long(values, cells, range(15)))
    assert model.variances.residual == pytest.approx(peer.scale, rel=1e-4)
    assert model.variances.patient == pytest.approx(float(peer.cov_re.iloc[0, 0]), rel=1e-3)
    for row, prefix in zip(model.terms.itertuples(), ("a", "b", "ab"), strict=True):
        assert pytest.approx(row.F, rel=1e-3) == wald(peer, prefix)


def test_several_cases_a_patient_are_statsmodels_nested_intercepts(noise: np.random.Generator) -> None:
    cells = factorial(2, 2)
    patients = np.repeat(np.arange(12), [1, 2, 3, 1, 2, 3, 1, 2, 2, 4, 1, 2])
    levels = noise.normal(0, 9, 12)[patients] + noise.normal(0, 5, len(patients))
    values = 60 + levels + np.array([0, 1, 2, 4.0])[:, None] + noise.normal(0, 3, (4, len(patients)))
    model = fitted(values, cells, patients=patients)
    peer = lmm(
        "y ~ C(a, Sum) * C(b, Sum)",
        long(values, cells, patients),
        vc_formula={"case": "0 + C(case)"},
        re_formula="1",
    )
    assert model.variances.residual == pytest.approx(peer.scale, rel=1e-3)
    assert model.variances.case == pytest.approx(float(peer.vcomp[0]), rel=1e-2)
    assert model.variances.patient == pytest.approx(float(peer.cov_re.iloc[0, 0]), rel=1e-2)
    for row, prefix in zip(model.terms.itertuples(), ("a", "b", "ab"), strict=True):
        assert pytest.approx(row.F, rel=1e-3) == wald(peer, prefix)
    assert (model.n_cases, model.n_patients) == (24, 12)


def test_cases_without_a_variance_of_their_own_are_statsmodels_patient_intercept() -> None:
    generator = np.random.default_rng(5)
    cells = factorial(2, 2)
    patients = np.repeat(np.arange(8), 3)
    noise = generator.normal(0, 3, (4, 24))
    noise -= noise.mean(axis=0)
    values = 60 + generator.normal(0, 9, 8)[patients] + noise
    model = fitted(values, cells, patients=patients)
    peer = lmm("y ~ C(a, Sum) * C(b, Sum)", long(values, cells, patients))
    assert (model.variances.case, model.variances.at_bound) == (0.0, True)
    assert model.variances.patient == pytest.approx(float(peer.cov_re.iloc[0, 0]), rel=1e-2)


def test_a_single_factor_has_the_f_of_repeated_measures_anova(noise: np.random.Generator) -> None:
    cells = factorial(4)
    values = 60 + noise.normal(0, 8, 10) + np.arange(4.0)[:, None] + noise.normal(0, 2, (4, 10))
    term = fitted(values, cells).terms.iloc[0]
    anova = AnovaRM(long(values, cells, range(10)), "y", "patient", within=["a"]).fit().anova_table
    assert pytest.approx(term["F"]) == anova["F Value"].iloc[0]
    assert pytest.approx(term["F_own"]) == anova["F Value"].iloc[0]
    assert term["p"] == pytest.approx(anova["Pr > F"].iloc[0])
    assert (term["df"], term["df_error"]) == (3, 27)


def test_each_terms_own_error_is_that_of_repeated_measures_anova(noise: np.random.Generator) -> None:
    cells = factorial(2, 3)
    values = 60 + noise.normal(0, 8, 9) + np.arange(6.0)[:, None] + noise.normal(0, 2, (6, 9))
    terms = fitted(values, cells).terms
    anova = AnovaRM(long(values, cells, range(9)), "y", "patient", within=["a", "b"]).fit().anova_table
    assert terms["F_own"].tolist() == pytest.approx(anova["F Value"].tolist())
    assert terms["epsilon"].iloc[0] == pytest.approx(1)
    assert terms["p_own"].iloc[0] == pytest.approx(anova["Pr > F"].iloc[0])


def test_greenhouse_and_geissers_epsilon_of_two_contrasts_by_hand() -> None:
    # Contrasts with the variances 3 and 1, uncorrelated: (3 + 1)^2 / (2 (9 + 1)) = 0.8.
    contrasts = np.array([[3, 1], [-3, 1], [3, -1], [-3, -1]]) * np.array([3**0.5 / 3, 1.0])
    _, covariance, n_patients = clustered(contrasts, np.arange(4))
    assert covariance == pytest.approx(np.diag([3, 1]) / 3)
    assert n_patients == 4
    assert np.trace(covariance) ** 2 / (2 * (covariance**2).sum()) == pytest.approx(0.8)


def test_grunfelds_investments_have_the_f_of_repeated_measures_anova() -> None:
    """A data set that statsmodels ships: firms stand for patients, every fifth year for a cell."""
    data = sm.datasets.grunfeld.load_pandas().data
    chosen = data[data["year"].isin([1935, 1940, 1945, 1950])]
    table = chosen.pivot(index="year", columns="firm", values="invest")
    model = fitted(table.to_numpy(), pd.DataFrame({"a": table.index.astype(int).astype(str)}))
    anova = AnovaRM(chosen, "invest", "firm", within=["year"]).fit().anova_table
    assert pytest.approx(model.terms["F"].iloc[0]) == anova["F Value"].iloc[0]
    assert model.n_patients == 11
    peer = smf.mixedlm("invest ~ C(year)", chosen, groups="firm").fit(reml=True)
    assert model.variances.patient == pytest.approx(float(peer.cov_re.iloc[0, 0]), rel=1e-2)


@pytest.mark.filterwarnings("ignore:The design matrix is rank-deficient")
def test_an_incomplete_grid_has_statsmodels_type_ii(noise: np.random.Generator) -> None:
    cells = factorial(3, 3).drop(index=[2, 4]).reset_index(drop=True)
    values = 60 + noise.normal(0, 8, 8) + np.arange(7.0)[:, None] + noise.normal(0, 3, (7, 8))
    model = fitted(values, cells)
    frame = long(values, cells, range(8))
    additive = smf.ols("y ~ C(case) + C(a, Sum) + C(b, Sum)", frame).fit()
    saturated = smf.ols("y ~ C(case) + C(a) : C(b)", frame).fit()
    expected = anova_lm(additive, typ=2)["sum_sq"]
    mean_square = saturated.ssr / (7 * 6)
    terms = model.terms.set_index("term")
    assert terms.loc["a", "F"] * 2 * mean_square == pytest.approx(expected["C(a, Sum)"])
    assert terms.loc["b", "F"] * 2 * mean_square == pytest.approx(expected["C(b, Sum)"])
    assert terms.loc["a × b", "F"] * 2 * mean_square == pytest.approx(additive.ssr - saturated.ssr)
    assert terms["df"].tolist() == [2, 2, 2]
    assert model.largest["term"].tolist() == ["a", "b"]
    effect = 2 * additive.params["C(a, Sum)[S.a0]"] + additive.params["C(a, Sum)[S.a1]"]
    means = model.levels.set_index("level")["mean"]
    assert means["a0"] - means["a2"] == pytest.approx(effect)


def test_shares_and_contrasts_by_hand() -> None:
    # Cell means 1, 3, 5, 11 of a 2 x 2 grid: effects of a (3), b (2) and a x b (1) squared are 9 : 4 : 1.
    cells = factorial(2, 2)
    residual = np.array([[1, -1, -1, 1.0]] * 2 + [[-1, 1, 1, -1.0]] * 2).T.repeat(4, axis=1)
    values = np.array([1, 3, 5, 11.0])[:, None] + np.arange(16.0) + residual * np.tile([1, -1, 1, -1], 4)
    model = fitted(values, cells)
    assert model.terms["share"].tolist() == pytest.approx([100 * part / 14 for part in (9, 4, 1)], abs=0.01)
    # The residual's mean square is 64 / 45; that between the cells 16 x 56.
    beyond = [100 * (64 * part - 64 / 45) / (16 * 56) for part in (9, 4, 1)]
    assert model.terms["share_beyond"].tolist() == pytest.approx(beyond)
    largest = model.largest.set_index("term")
    assert largest.loc["a", "levels"] == ("a1", "a0")
    assert largest["value"].tolist() == pytest.approx([6, 4, 1])
    assert largest["n_compared"].tolist() == [1, 1, 4]
    levels = model.levels.set_index("level")
    assert levels.loc["a0", "mean"] == pytest.approx(2 + 7.5)
    assert levels["deviation"].tolist() == pytest.approx([-3, 3, -2, 2])


def test_planted_effects_are_recovered_with_their_variances() -> None:
    generator = np.random.default_rng(7)
    cells = factorial(3, 3)
    effects = np.repeat([-2.0, 0, 2], 3)
    values = 60 + effects[:, None] + generator.normal(0, 12, 400) + generator.normal(0, 4, (9, 400))
    model = fitted(values, cells)
    terms = model.terms.set_index("term")
    assert terms.loc["a", ["p_holm", "p_own_holm"]].max() < 1e-6
    assert terms.loc[["b", "a × b"], "p_holm"].min() > 0.05
    assert terms.loc["a", "share_beyond"] > 95
    assert terms.loc["a", "size"] == pytest.approx((8 / 3) ** 0.5, rel=0.1)
    assert model.variances.residual == pytest.approx(16, rel=0.1)
    assert model.variances.icc == pytest.approx(144 / 160, rel=0.05)
    row = model.largest.iloc[0]
    assert row["low"] < 4 < row["high"]


def test_with_no_effect_planted_terms_are_significant_at_the_nominal_rate(counts: Counts) -> None:
    trials = counts(60, 300)
    generator = np.random.default_rng(11)
    terms = design(factorial(3, 2), ["a", "b"]).terms()
    found = [
        only_terms(generator.normal(60, 10, 20) + generator.normal(0, 4, (6, 20)), terms)
        for _ in range(trials)
    ]
    for column in ("p", "p_own"):
        rate = np.mean([(one[column] < 0.05).to_numpy() for one in found])
        more = slack(0.05, trials, 300)
        assert 0.03 - more < rate < 0.07 + more
    any_term = np.mean([(one["p_holm"] < 0.05).any() for one in found])
    assert any_term < 0.075 + slack(0.05, trials, 300)


def test_where_patients_respond_differently_only_their_own_error_keeps_the_rate(counts: Counts) -> None:
    trials = counts(50, 200)
    generator = np.random.default_rng(12)
    terms = design(factorial(2, 4), ["a", "b"]).terms()
    rates = {"p": 0.0, "p_own": 0.0}
    for _ in range(trials):
        response = generator.normal(0, 4, 20) * np.repeat([-1, 1], 4)[:, None]
        found = only_terms(generator.normal(60, 10, 20) + response + generator.normal(0, 4, (8, 20)), terms)
        for column in rates:
            rates[column] += float(found[column].iloc[0] < 0.05) / trials
    assert rates["p"] > 0.2
    assert rates["p_own"] < 0.09 + slack(0.05, trials, 200)


def test_what_cannot_be_modelled_is_refused_clearly() -> None:
    values = np.arange(40.0).reshape(4, 10)
    with pytest.raises(BenchError, match=r"None of the factors a, b has two levels"):
        design(pd.DataFrame({"a": ["x"], "b": ["y"]}), ["a", "b"])
    with pytest.raises(BenchError, match="do not tell the factors a, b apart"):
        fitted(values, pd.DataFrame({"a": ["0", "0", "1", "2"], "b": ["0", "1", "2", "3"]}))
    with pytest.raises(BenchError, match="needs two cells"):
        fitted(values[:, :4], factorial(2, 2))
    with pytest.raises(BenchError, match="agree in a"):
        fitted(values, pd.DataFrame({"a": ["0", "0", "1", "1"]}))


def test_undefined_cases_are_left_out_and_counted() -> None:
    generator = np.random.default_rng(1)
    values = generator.normal(60, 5, (4, 12))
    values[:, 0], values[2, 1] = NAN, NAN
    model = fitted(values, factorial(2, 2))
    assert (model.n_cases, model.n_undefined, model.n_dropped) == (10, 1, 1)


def test_sum_to_zero_coding() -> None:
    assert coding(3).tolist() == [[1, 0], [0, 1], [-1, -1]]


def test_table_2_has_a_model_of_v1_to_v3_and_one_of_v4() -> None:
    generator = np.random.default_rng(3)
    cells = table2_cells()
    values = generator.normal(60, 10, 20) + generator.normal(0, 4, (105, 20))
    values[cells["version"] == "v3"] += 5
    shown = mixed_tables(scores_from(values, cells=cells))
    table, means = (ready.printed[0] for ready in shown.tables)
    assert [row.cells[0][0].text.split(",")[0] for row in table.rows] == [
        str(df) for df in (2, 2, 6, 4, 12, 12, 24, 5, 6, 30)
    ]
    assert [span.bold for span in table.rows[0].cells[2]] == [True]
    assert table.rows[0].cells[-1][0].text.startswith("v3 − v")
    assert len(means.rows) == 3 + 3 + 7 + 6 + 7
    whole = "table2:v1/*/*|v2/*/*|v3/*/*"
    assert {cell[0].address for row in table.rows[:7] for cell in row.cells[:6]} == {whole}
    assert {cell[0].address for row in table.rows[7:] for cell in row.cells[:6]} == {"table2:v4/*/*"}
    assert table.rows[0].cells[-1][0].address in ("table2:v1/*/*|v3/*/*", "table2:v2/*/*|v3/*/*")
    assert table.rows[-1].cells[-1][0].address == "table2:v4/*/*"
    linked = {(row.group, row.label): [cell[0].address for cell in row.cells] for row in means.rows}
    assert linked["(v1–v3) version", "v3"] == ["table2:v3/*/*", "table2:v3/*/*", whole]
    of_five = "table2:v1/*/5|v2/*/5|v3/*/5"
    assert linked["(v1–v3) shared layers", "L = {5}"] == [of_five, of_five, whole]
    assert linked["(v4) fusion weight", "θ = 0.1"][0] == "table2:v4/0.1/*"
    notes = " ".join(table.notes)
    assert "20 cases of 20 patients in 63 of 63 cells" in notes
    assert "not other trainings" in notes
    assert (
        mixed_tables(scores_from(values[:, :3], cells=cells))
        .reasons[1]
        .startswith("Mixed-effects summary of Table 2, v4: A model of Dice needs two cells")
    )


def test_an_unfinished_table_2_says_what_is_missing() -> None:
    generator = np.random.default_rng(3)
    cells = table2_cells()
    values = generator.normal(60, 10, 12) + generator.normal(0, 4, (105, 12))
    values[cells["version"] == "v4"] = NAN
    values[5] = NAN
    shown = mixed_tables(scores_from(values, cells=cells))
    # v1 lacks a cell, cell 5: its mean rests on all cells, those of v2 and v3 on their own.
    terms, means = (ready.printed[0] for ready in shown.tables)
    left = (
        "table2:v1/none/3|v1/none/4|v1/none/5|v1/none/6|v1/none/7|v1/none/3-4-5-6-7|v1/noise/*|v1/shuffle/*"
    )
    assert {row.cells[0][0].address for row in terms.rows} == {f"{left}|v2/*/*|v3/*/*"}
    assert [cell[0].address for cell in means.rows[0].cells[:2]] == [left, f"{left}|v2/*/*|v3/*/*"]
    assert [cell[0].address for cell in means.rows[1].cells[:2]] == ["table2:v2/*/*"] * 2
    notes = " ".join(terms.notes)
    assert "in 62 of 63 cells" in notes
    assert "the grid is incomplete" in notes
    assert "Left out: v1, L2, L = {4, 5, 6} (no value)." in notes
    assert len(shown.reasons) == 1
