from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from benchmark.datasets.registry import dataset
from benchmark.planning.grid import (
    PROFILES,
    STUDIES,
    Cell,
    PhantomSettings,
    Profile,
    Study,
    available,
    load_profile,
    load_study,
    select,
    study_of_methods,
)
from benchmark.planning.launch import plan
from benchmark.planning.setup import check_names, phantom_root
from benchmark.vocabulary import BenchError

BLOCK = "{set: {method: m, loss_weights: {seg: 1}}, over: {size: {path: method_args.size, values: [1, 2]}}}"


def study_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_table2_has_the_105_cells_of_the_paper() -> None:
    cells = load_study("table2").cells()
    assert len({tuple(sorted(cell.factors.items())) for cell in cells}) == 105
    assert Counter(cell.factors["version"] for cell in cells) == {"v1": 21, "v2": 21, "v3": 21, "v4": 42}
    assert {cell.factors["shared_layers"] for cell in cells} == {
        "3",
        "4",
        "5",
        "6",
        "7",
        "4-5-6",
        "3-4-5-6-7",
    }
    first, last = cells[0], cells[-1]
    assert first.factors == {"version": "v1", "self_supervision": "none", "shared_layers": "3"}
    assert last.factors == {"version": "v4", "fusion_weight": "learnable", "shared_layers": "3-4-5-6-7"}


def test_no_grid_is_called_as_the_addresses_of_a_runs_rows_begin(tmp_path: Path) -> None:
    text = f"dataset: phantom\nblocks: [{BLOCK}]\n"
    assert load_study(study_file(tmp_path, f"name: runs\n{text}")).name == "runs"
    with pytest.raises(BenchError, match="a grid cannot be called run"):
        load_study(study_file(tmp_path, f"name: run\n{text}"))
    with pytest.raises(BenchError, match="a grid cannot be called run; rename the file"):
        study_of_methods({"run": {}}, dataset="phantom")


def test_the_cells_of_table2_are_those_the_paper_prints() -> None:
    published = Path(__file__).parent.parent / "reports" / "published" / "table2.csv"
    rows = published.read_text().splitlines()
    columns = rows[0].split(",")
    if "factor" not in columns:
        pytest.skip("the published table has other columns")
    printed = {
        (row["version"], row["factor"], row["level"], row["shared_layers"])
        for row in (dict(zip(columns, line.split(","), strict=True)) for line in rows[1:])
    }
    ours = set()
    for cell in load_study("table2").cells():
        factor = "fusion_weight" if cell.factors["version"] == "v4" else "self_supervision"
        ours.add((cell.factors["version"], factor, cell.factors[factor], cell.factors["shared_layers"]))
    assert ours == printed


def test_the_weights_and_arguments_of_table2_are_the_papers() -> None:
    runs = plan(load_study("table2"), load_profile("paper"), datasets=["autopet"], folds=[0], seeds=[0])
    weights = {run.factors["version"]: run.config.loss_weights for run in runs}
    assert weights == {
        "v1": {"rec_ct": 1e-4, "seg": 0.5},
        "v2": {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5},
        "v3": {"rec_ct": 1e-4, "rec_pet": 1e-4, "seg": 0.5, "class": 1e-3},
        "v4": {"seg": 1.0},
    }
    by_place = {tuple(run.factors.values()): run.config for run in runs}
    v3 = by_place["v3", "shuffle", "4-5-6"]
    assert v3.method_args == {"version": "v3", "corruption": "shuffle", "shared_layers": [4, 5, 6]}
    v4 = by_place["v4", "0.2", "5"]
    assert v4.method_args == {"version": "v4", "theta": 0.2, "shared_layers": [5]}
    assert (v3.training.patch_size, v3.training.batch_size, v3.training.epochs) == ((96, 96, 96), 4, 400)
    assert (v3.training.learning_rate, v3.training.weight_decay, v3.dataset) == (1e-3, 1e-6, "autopet")


GRIDS = [STUDIES / f"{name}.yaml" for name in available(STUDIES)]


def study_on_its_data(path: Path) -> Study:
    study = load_study(path.stem)
    return study.on(dataset(study.dataset).spec_of(None).modalities)


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", available(PROFILES))
def test_every_study_gives_valid_distinct_runs_with_every_profile(path: Path, profile: str) -> None:
    study = study_on_its_data(path)
    assert study.name == path.stem
    runs = plan(study, load_profile(profile), datasets=[study.dataset], folds=[0, 1], seeds=[0])
    assert len({(run.config.canonical_json(), run.reading) for run in runs}) == 2 * len(study.cells())


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_the_demo_narrows_every_network(path: Path) -> None:
    study, demo, bare = study_on_its_data(path), load_profile("demo"), Profile(name="bare")
    for cell in study.cells():
        narrow, full = (cell.settings(each, study.dataset).get("method_args", {}) for each in (demo, bare))
        assert set(narrow) > set(full), cell.factors
        widths = narrow.get("channels") or narrow.get("features") or [0]
        assert max(widths) < 256, cell.factors


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
@pytest.mark.parametrize("profile", available(PROFILES))
def test_every_row_of_a_study_has_as_many_optimiser_steps(path: Path, profile: str) -> None:
    study = study_on_its_data(path)
    runs = plan(study, load_profile(profile), datasets=[study.dataset], folds=[0], seeds=[0])
    budgets = {
        (run.config.training.steps, run.config.training.epochs, run.config.training.batch_size)
        for run in runs
    }
    assert len(budgets) == 1


def test_a_profile_has_settings_for_one_data_set_and_for_one_method(tmp_path: Path) -> None:
    text = (
        "config: {training: {steps: 3, batch_size: 2}}\ndatasets: {d: {training: {steps: 4}}}\n"
        "methods: {n: {training: {steps: 5}}}"
    )
    profile = load_profile(study_file(tmp_path, text))
    cell = Cell({}, {"training": {"steps": 9}}, {"method": "m", "training": {"epochs": 7}})
    assert cell.settings(profile, "d")["training"] == {"steps": 4, "batch_size": 2, "epochs": 7}
    assert cell.settings(profile, "e")["training"] == {"steps": 3, "batch_size": 2, "epochs": 7}
    converted = cell.settings(profile, "nnunet", data_name="d")
    assert (converted["training"]["steps"], converted["dataset"]) == (4, "nnunet")
    assert cell.settings(profile, "nnunet", data_name="e")["training"]["steps"] == 3
    other = Cell({}, {"method": "n"}, {"training": {"epochs": 7}})
    assert other.settings(profile, "d")["training"] == {"steps": 5, "batch_size": 2, "epochs": 7}


def test_a_level_for_each_modality_is_spelled_out_once_the_data_set_is_known(tmp_path: Path) -> None:
    text = (
        "name: led\ndataset: d\nblocks:\n- set: {method: m}\n  over:\n    lead:\n      each_modality:\n"
        "        name: led by {modality}\n        settings: {method_args: {leads: '{modality}', order: ['{modality}']}}"
    )
    study = load_study(study_file(tmp_path, text))
    with pytest.raises(BenchError, match="depend on the data set's modalities"):
        study.cells()
    first, second = study.on(["CT", "PET"]).cells()
    assert (first.factors, second.factors) == ({"lead": "led by CT"}, {"lead": "led by PET"})
    assert second.question["method_args"] == {"leads": "PET", "order": ["PET"]}


def test_a_variant_has_arguments_of_its_own_in_a_profile(tmp_path: Path) -> None:
    text = "method_args: {m: {size: 1}, m/other: {width: 2}}"
    profile = load_profile(study_file(tmp_path, text))
    common = {"method": "m", "method_args": {"size": 5}}
    assert Cell({}, common, {}).settings(profile, "d")["method_args"] == {"size": 1}
    other = Cell({}, {}, {"method": "m", "method_args": {"variant": "other"}})
    assert other.settings(profile, "d")["method_args"] == {"variant": "other", "width": 2}
    third = Cell({}, {}, {"method": "m", "method_args": {"variant": "third"}})
    assert third.settings(profile, "d")["method_args"] == {"variant": "third", "size": 1}


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_study_says_in_its_header_what_it_asks_costs_and_expects(path: Path) -> None:
    header = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert all(
        re.search(rf"^# {word}", header, re.M)
        for word in ("Question:", "Table:", "Runs:", "Cost:", "Expected")
    )
    assert str(len(study_on_its_data(path).cells())) in header


def test_only_chooses_by_factors_and_several_conditions_add_up() -> None:
    study = load_study("table2")

    def chosen(*only: str) -> int:
        return sum(select(study, only))

    assert chosen() == 105
    assert chosen("version=v3") == 21
    assert chosen("version=v3,shared_layers=5") == 3
    assert chosen("version=v3,v4,shared_layers=4-5-6,5") == 6 + 12
    assert chosen("fusion_weight=learnable,0.1") == 14
    assert chosen("version=v3,shared_layers=5", "version=v1,self_supervision=noise") == 3 + 7
    assert chosen("version=v3", "shared_layers=5") == 21 + 15 - 3


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            "vresion=v3",
            "no factor 'vresion'; there are version, self_supervision, shared_layers, fusion_weight",
        ),
        ("version=v5", "version is never 'v5'; it is one of v1, v2, v3, v4"),
        ("v3", "no factor 'v3'"),
        ("version=v4,self_supervision=noise", "no cell of table2 has this combination"),
    ],
)
def test_only_refuses_what_does_not_exist_and_says_what_there_is(condition: str, message: str) -> None:
    with pytest.raises(BenchError, match=re.escape(message)):
        select(load_study("table2"), [condition])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ndataset: d\nblock: []", "blocks: Field required; block: unknown key"),
        (
            "name: x\ndataset: d\nblocks: [{set: {metod: m}}]",
            "blocks[0].set: there is no setting 'metod'. Did you mean 'method'?",
        ),
        (
            "name: x\ndataset: d\nblocks: [{set: {training: {batchsize: 2}}}]",
            "blocks[0].set.training: there is no setting 'batchsize'. Did you mean 'batch_size'?",
        ),
        ("name: x\ndataset: d\nblocks: [{set: {seed: 1}}]", "blocks[0].set: seed does not belong here"),
        (
            "name: x\ndataset: d\nblocks: [{over: {a: {path: trainig.steps, values: [1]}}}]",
            "blocks[0].over.a.1: there is no setting 'trainig'",
        ),
        ("name: x\ndataset: d\nblocks: [{over: {a: {values: [1]}}}]", "over.a: give a path for the values"),
        (
            "name: x\ndataset: d\nblocks: [{over: {a: {path: method, values: [{b: 1}]}}}]",
            "over.a: the value {'b': 1} needs a name",
        ),
        ("name: x\ndataset: d\nblocks: [{over: {a: {path: method, values: [m, m]}}}]", "have the same name"),
        (f"name: x\ndataset: d\nblocks: [{BLOCK}, {BLOCK}]", "two cells are called size=1"),
        ("name: x\nname: y\ndataset: d\nblocks: []", "key 'name' appears twice"),
        ("name: [", "is not valid YAML"),
        ("- 1", "must be a mapping"),
        ("name: a b\ndataset: d\nblocks: [{}]", "name: String should match"),
    ],
)
def test_a_wrong_study_is_refused_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchError, match=re.escape(message)) as caught:
        load_study(study_file(tmp_path, text))
    assert "mine.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("confg: {}", "confg: unknown key"),
        (
            "config: {training: {step: 3}}",
            "config.training: there is no setting 'step'. Did you mean 'steps'?",
        ),
        ("config: {dataset: autopet}", "config: dataset does not belong here"),
        (
            "datasets: {d: {training: {step: 3}}}",
            "datasets.d.training: there is no setting 'step'. Did you mean 'steps'?",
        ),
        (
            "phantoms: {phantom: {cases: 2}}",
            "phantoms.phantom.cases: Input should be greater than or equal to",
        ),
        ("name: mine", "named by its file"),
    ],
)
def test_a_wrong_profile_is_refused_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BenchError, match=re.escape(message)) as caught:
        load_profile(study_file(tmp_path, text))
    assert "mine.yaml" in str(caught.value)


def test_an_unknown_study_or_profile_is_answered_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"no grid 'tabel2'\. Did you mean 'table2'"):
        load_study("tabel2")
    with pytest.raises(BenchError, match=r"no profile 'x'\. There are: authors, demo, paper"):
        load_profile("x")
    with pytest.raises(BenchError, match="there is no such file"):
        load_study(str(tmp_path / "none.yaml"))


def test_a_profile_gives_way_to_the_question_and_overrides_the_rest(tmp_path: Path) -> None:
    text = yaml.safe_dump(
        {
            "name": "x",
            "dataset": "d",
            "blocks": [
                {
                    "set": {
                        "method": "m",
                        "loss_weights": {"seg": 1},
                        "training": {"steps": 5, "batch_size": 9},
                    },
                    "over": {"steps": {"path": "training.steps", "values": [10, 20]}},
                }
            ],
        }
    )
    (tmp_path / "size.yaml").write_text(
        "config: {training: {steps: 3, batch_size: 2}}\nmethod_args: {m: {width: 4}, other: {depth: 1}}"
    )
    study, profile = load_study(study_file(tmp_path, text)), load_profile(str(tmp_path / "size.yaml"))
    runs = plan(study, profile, datasets=["d"], folds=[0], seeds=[0])
    assert [run.config.training.steps for run in runs] == [10, 20]
    assert {run.config.training.batch_size for run in runs} == {2}
    assert runs[0].config.method_args == {"width": 4}


def test_a_profile_asks_only_for_what_its_phantoms_have() -> None:
    brains = PhantomSettings(lesion_mm=30.0)
    with pytest.raises(
        BenchError, match=r"phantoms\.brain_phantom says lesion_mm, which these phantoms do not"
    ):
        check_names(Profile(name="x", phantoms={"brain_phantom": brains}))
    check_names(Profile(name="x", phantoms={"phantom": brains}))


def test_phantoms_of_another_population_lie_in_another_folder() -> None:
    usual, hot = (
        phantom_root("phantom", Profile(name="x", phantoms={"phantom": settings}), Path("r"))
        for settings in (PhantomSettings(), PhantomSettings(lesion_suv=13.0, one_healthy_in=4))
    )
    assert usual == Path("r/phantoms/phantom-40-default-seed0")
    assert hot == Path("r/phantoms/phantom-40-default-seed0-one_healthy_in4-lesion_suv13")


def test_phantoms_with_other_tissues_lie_in_folders_of_their_own() -> None:
    plain, cold, colder = (
        phantom_root("phantom", Profile(name="x", phantoms={"phantom": PhantomSettings(suv=suv)}), Path("r"))
        for suv in (None, {"urine": 3.0}, {"urine": 2.0})
    )
    assert len({plain, cold, colder}) == 3
    assert cold.name.startswith(f"{plain.name}-unusual-")
