"""Published scores are rows beside heads: the same videos and splits, their own figures, and their
own opinions.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from scipy.stats import spearmanr
from toy_cache import make_cache, manifest_of

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.ablate import ablate, expand, variants
from vqa_twostage.fuse.cli import command as fuse_command
from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.features import features
from vqa_twostage.fuse.import_scores import import_scores
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.published_scores import load_for, read_by, rows_of_scores
from vqa_twostage.fuse.report import write_report
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.train import Plan, fit_plan, train, train_run
from vqa_twostage.pipeline.cache.merging import merge_caches
from vqa_twostage.pipeline.errors import UsageError

MANIFEST = manifest_of("toy", contents=30, versions=5)
IDS = MANIFEST.rows["id"].tolist()
MOS = MANIFEST.rows["mos"].to_numpy()
NOISE = np.random.default_rng(4).normal(size=(3, len(MOS)))
# not on the scale of the labels, and not linear in them
DOVER = np.exp(MOS + 0.4 * NOISE[0]) * 10
NIQE = -MOS + 0.7 * NOISE[1]
OPTIONS = TrainOptions(fusion="concat", epochs=2, members=1, protocol="random:n=3")
RAW, REFITTED = "published:score=dover", "published:refit=logistic,score=dover"

pytestmark = pytest.mark.usefixtures("one_thread")


def add(cache: Path, name: str, scores: np.ndarray, without: int = 0, **said: str) -> None:
    rows = [f"{n},{score}" for n, score in zip(IDS, scores, strict=True)][without:]
    file = cache / f"{name}.csv"
    file.write_text("\n".join(["video,score", *rows]))
    import_scores(MANIFEST, cache, file, name, **said)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tracks of features, and scores of two models."""
    cache = make_cache(tmp_path_factory.mktemp("cache"), contents=30)
    add(cache, "dover", DOVER, trained_on="lsvq")
    add(cache, "niqe", NIQE, better="lower")
    return cache


@pytest.fixture(scope="module")
def table(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rows of an ablation by their names."""
    folder = tmp_path_factory.mktemp("ablation")
    words = ["ablate", "--cache", cache, "--fusion", "concat", "--baselines", "ridge"]
    words += ["--epochs", 2, "--members", 1, "--protocol", "random:n=3", "--workers", 1]
    result = fuse(*words, "--score", "DOVER", "--score", "niqe", "--output", folder, "--json")
    assert result.exception is None, result.exception
    return {row["name"]: row for row in json.loads(result.stdout)["rows"]}


def fuse(*words: object) -> Result:
    return CliRunner().invoke(fuse_command, [*map(str, words)], standalone_mode=False)


def refused(*words: object) -> str:
    error = fuse(*words).exception
    assert isinstance(error, UsageError), error
    return str(error)


def of_part(row: dict[str, Any], part: str = "test") -> list[pd.DataFrame]:
    """The predictions of each split for a part."""
    predictions = Run(row["run"]).predictions()
    rows = predictions[predictions["part"] == part]
    return [of_split for _, of_split in rows.groupby("split")]


def test_each_score_is_two_rows_beside_heads_and_baselines(table: dict[str, Any]) -> None:
    niqe = {"published:score=niqe", "published:refit=logistic,score=niqe"}
    assert table.keys() == {"concat", "ridge", RAW, REFITTED} | niqe
    assert {tuple(row["n_test"]) for row in table.values()} == {(30, 30)}
    assert [name for name, row in table.items() if row["difference"] is None] == ["ridge"]


def test_rows_are_on_the_same_splits(table: dict[str, Any]) -> None:
    ids = [[list(rows["id"]) for rows in of_part(row)] for row in table.values()]
    assert all(of_row == ids[0] for of_row in ids)


def test_prediction_is_the_score_itself_in_every_split(table: dict[str, Any]) -> None:
    for name, scores in (("dover", DOVER), ("niqe", -NIQE)):
        expected = dict(zip(IDS, np.float32(scores).astype(float), strict=True))
        predictions = Run(table[f"published:score={name}"]["run"]).predictions()
        found = dict(zip(predictions["id"], predictions["predicted"], strict=True))
        assert found == expected
        assert (predictions.groupby("id")["predicted"].nunique() == 1).all()


def test_figures_are_those_of_the_scores_on_the_test_parts(table: dict[str, Any]) -> None:
    score_of = dict(zip(IDS, DOVER, strict=True))
    srcc = [
        spearmanr([score_of[name] for name in rows["id"]], rows["mos"]).statistic
        for rows in of_part(table[RAW])
    ]
    median = table[RAW]["median"]
    assert median["srcc"] == pytest.approx(np.median(srcc)) and median["srcc"] > 0.7
    assert table["published:score=niqe"]["median"]["srcc"] > 0.4, "lower is better"
    assert median["rmse"] < MOS.std(), "on the scale of the labels, whatever that of the scores"


def test_refit_is_the_logistic_of_training_and_validation(table: dict[str, Any]) -> None:
    score_of = dict(zip(IDS, np.float32(DOVER).astype(float), strict=True))
    fitted = {part: of_part(table[REFITTED], part) for part in ("train", "val", "test")}
    for train_rows, val_rows, test_rows in zip(*fitted.values(), strict=True):
        known = pd.concat([train_rows, val_rows]).set_index("id").sort_index()
        scores = np.array([score_of[name] for name in known.index])
        curve = metrics.fit_logistic(scores, known["mos"].to_numpy())
        tested = np.array([score_of[name] for name in test_rows["id"]])
        np.testing.assert_allclose(
            test_rows["predicted"], metrics.apply_logistic(curve, tested), rtol=1e-4
        )


def test_refit_keeps_the_ranks_and_brings_the_scale_of_the_labels(table: dict[str, Any]) -> None:
    raw, refitted = table[RAW]["median"], table[REFITTED]["median"]
    assert refitted["srcc"] == pytest.approx(raw["srcc"], abs=1e-9)
    assert refitted["plcc_raw"] > raw["plcc_raw"] + 0.01
    for rows in of_part(table[REFITTED]):
        assert np.abs(rows["predicted"] - rows["mos"]).mean() < MOS.std()
    for rows in of_part(table[RAW]):
        assert np.abs(rows["predicted"] - rows["mos"]).mean() > 50


def test_opinions_are_those_of_the_score_and_not_of_the_features(table: dict[str, Any]) -> None:
    learnt = {name: row["opinions"] for name, row in table.items()}
    assert learnt.pop(RAW) == learnt.pop(REFITTED) == ["lsvq"]
    assert not any(learnt.values())


@pytest.mark.long
def test_rows_are_compared_reported_and_reproduced(table: dict[str, Any], tmp_path: Path) -> None:
    runs = [row["run"] for row in table.values()]
    comparison = compare(runs, table[RAW]["run"])
    assert {row.name for row in comparison.rows} == table.keys() and comparison.reference == RAW
    result = write_report(runs, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert not result.why_not_compared and REFITTED in page
    assert "vqa-fuse train --dataset toy --protocol" in page and f"--baseline {RAW}" in page
    for name in (RAW, REFITTED):
        assert reproduce_run(table[name]["run"]).equal


@pytest.mark.parametrize("baseline", [RAW, REFITTED, "published:score=DOVER"])
def test_training_on_a_score_alone_gives_the_row_of_the_ablation(
    baseline: str, cache: Path, table: dict[str, Any], tmp_path: Path
) -> None:
    result = train(cache, replace(OPTIONS, baseline=baseline), run=tmp_path / "run")
    row = table[baseline.replace("DOVER", "dover")]
    assert result.median.to_json() == row["median"] and result.opinions == ["lsvq"]
    assert train(cache, replace(OPTIONS, baseline=baseline), run=result.run).was_finished


@pytest.mark.long
def test_scores_alone_need_no_features(tmp_path: Path) -> None:
    add(tmp_path, "dover", DOVER)
    add(tmp_path, "niqe", NIQE, better="lower")
    words = ["ablate", "--cache", tmp_path, "--fusion", "", "--score", "all", "--json"]
    result = fuse(*words, "--protocol", "random:n=2", "--output", tmp_path / "runs")
    assert result.exception is None, result.exception
    document = json.loads(result.stdout)
    assert len(document["rows"]) == 4 and document["reference"] == RAW


@pytest.mark.long
def test_videos_without_a_score_are_left_out_of_all_rows_and_told(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", contents=30)
    add(cache, "dover", DOVER, without=10)
    rows = rows_of_scores(cache, "toy", ["dover"], OPTIONS)
    options = [replace(OPTIONS, baseline="ridge"), *rows]
    result = ablate(load_for(cache, "toy", options), options, tmp_path / "ablation")
    assert result.comparison.n_videos == 140 and result.comparison.missing == IDS[:10]
    assert {Run(row.run).predictions()["id"].nunique() for row in result.comparison.rows} == {140}


def test_scores_of_one_name_from_merged_caches_are_told_apart_by_their_digests(
    tmp_path: Path,
) -> None:
    for name, trained_on in (("one", ""), ("two", "lsvq")):
        (tmp_path / name).mkdir()
        add(tmp_path / name, "dover", DOVER, trained_on=trained_on)
    merge_caches([tmp_path / "one", tmp_path / "two"], tmp_path / "both")
    rows = rows_of_scores(tmp_path / "both", "toy", ["all"], OPTIONS)
    loaded = load_for(tmp_path / "both", "toy", rows)
    read = [read_by(loaded, options).tracks[0].identity.trained_on for options in rows]
    assert sorted(read) == ["", "", "lsvq", "lsvq"]
    options = replace(OPTIONS, baseline=RAW)
    with pytest.raises(UsageError, match=r"(?s)several score tracks of toy;.*datasets of"):
        load_for(tmp_path / "both", "toy", [options])


def test_runs_of_other_videos_are_not_compared_and_the_way_to_do_so_is_told(
    cache: Path, table: dict[str, Any], tmp_path: Path
) -> None:
    add(tmp_path, "dover", DOVER, without=10)
    run = train(tmp_path, replace(OPTIONS, baseline=RAW), run=tmp_path / "run").run
    with pytest.raises(UsageError, match=r"N = 150 and 140\).* one vqa-fuse ablate"):
        compare([table["ridge"]["run"], run])


def test_features_and_scores_are_never_taken_for_each_other(cache: Path) -> None:
    data = load_dataset(cache, "toy", "all", "all")
    assert {track.identity.kind for track in data.tracks} == {"spatial", "temporal"}
    both = [replace(OPTIONS, baseline="ridge"), replace(OPTIONS, baseline=RAW)]
    loaded = load_for(cache, "toy", both)
    assert {track.identity.kind for track in read_by(loaded, both[0]).tracks} == {
        "spatial",
        "temporal",
    }
    assert all(array.kind != "score" for array in features(cache, "toy").arrays)
    with pytest.raises(UsageError, match='only must be "spatial", "temporal" or None'):
        features(cache, "toy", only="score")
    (alone,) = read_by(loaded, both[1]).tracks
    assert alone.identity.kind == "score" and alone.path.name == "dover"
    with pytest.raises(UsageError, match="reads a published score and no features"):
        train_run(loaded, both[1])
    with pytest.raises(UsageError, match="scores dover are not loaded"):
        read_by(data, both[1])


def test_all_baselines_are_those_that_need_no_score() -> None:
    names = expand(["all"], "fuse.baselines")
    assert "published" not in names and {"ridge", "svr"} <= set(names)
    assert variants(OPTIONS, [], [], [], ["all", RAW])[-1].baseline == RAW


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ablate", "--score", "vmaf"], "no score track of toy is called 'vmaf'.*--score dover-"),
        (["ablate", "--score", "3D"], "'3D' is no name of a model"),
        (["ablate", "--tracks", "each", "--score", "dover"], "leave out --score"),
        (["train", "--baseline", "published"], "score must be given, as in published:score=…"),
        (["train", "--baseline", "published:score=x"], "no score track of toy is called 'x'"),
        (
            ["train", "--baseline", f"{RAW},refit=line"],
            "refit must be none or logistic, not 'line'",
        ),
        (
            ["train", "--baseline", RAW, "--spatial", "all"],
            "reads a published score and no features; leave out --spatial",
        ),
    ],
)
def test_wrong_use_is_refused_with_the_next_step(
    words: list[str], message: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(*words, "--cache", cache), re.DOTALL)
    assert not list(tmp_path.iterdir())


def test_cache_without_scores_names_the_command_that_brings_them(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache")
    assert "run vqa-fuse import-scores" in refused("ablate", "--cache", cache, "--score", "all")


@pytest.mark.parametrize("words", [["train", "--baseline", RAW], ["ablate", "--score", "dover"]])
def test_model_that_learnt_from_the_dataset_is_refused_unless_allowed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add(tmp_path, "dover", DOVER, trained_on="toy")
    words = [*words, "--cache", ".", "--protocol", "random:n=2", "--workers", "1"]
    words += ["--fusion", ""] if words[0] == "ablate" else []
    assert refused(*words).endswith("allow it by name with --allow-trained-on toy")
    assert not Path("runs").exists()
    result = fuse(*words, "--allow-trained-on", "toy")
    assert result.exception is None and "toy is the dataset itself" in result.stdout


@pytest.mark.parametrize("words", [["train", "--baseline", RAW], ["ablate", "--score", "dover"]])
def test_score_that_is_the_label_is_refused_unless_it_is_allowed(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    add(tmp_path, "dover", np.exp(MOS + 0.01 * NOISE[2]))
    words += ["--fusion", ""] if words[0] == "ablate" else []
    message = refused(*words, "--cache", ".")
    assert "likely to be the label and no score of a model" in message
    assert "vqa-fuse import-scores" in message and "'dover/mean[0]'" in message
    assert not Path("runs").exists()
    options = replace(OPTIONS, baseline=RAW)
    data = read_by(load_for(tmp_path, "toy", [options]), options)
    check_leakage(data, replace(options, allow_label_like="dover/mean[0]"))


def test_score_that_is_better_than_all_methods_is_a_score(tmp_path: Path) -> None:
    scores = np.exp(MOS + 0.16 * NOISE[2])
    assert 0.95 < spearmanr(scores, MOS).statistic < 0.98
    add(tmp_path, "dover", scores)
    options = replace(OPTIONS, baseline=RAW)
    check_leakage(read_by(load_for(tmp_path, "toy", [options]), options), options)


def test_score_that_ranks_against_the_labels_keeps_its_sign(tmp_path: Path) -> None:
    add(tmp_path, "dover", -DOVER)
    for baseline, srcc in ((RAW, -0.7), (REFITTED, None)):
        options = replace(OPTIONS, baseline=baseline)
        result = train(tmp_path, options, run=tmp_path / baseline.replace(":", "-"))
        found = result.median.srcc
        assert found is None if srcc is None else found is not None and found < srcc
        assert result.summary.undefined == (3 if srcc is None else 0)


def test_test_labels_change_no_prediction(cache: Path, table: dict[str, Any]) -> None:
    data = load_for(cache, "toy", [replace(OPTIONS, baseline=REFITTED)])
    first = of_part(table[REFITTED])[0]
    row = {name: number for number, name in enumerate(data.manifest.rows["id"])}
    mos = data.mos.copy()
    tested = [row[name] for name in first["id"]]
    mos[tested] = 9 - mos[tested]
    changed = read_by(replace(data, mos=mos), replace(OPTIONS, baseline=REFITTED))
    plan = Plan.of(changed, replace(OPTIONS, baseline=REFITTED))
    predicted = fit_plan(changed, plan, 1)[0].predicted[tested]
    np.testing.assert_array_equal(predicted, first["predicted"])


@pytest.mark.long
@pytest.mark.real
def test_dover_on_konvid_is_as_good_as_by_hand(real: Path, tmp_path: Path) -> None:
    with np.load(real / "features" / "konvid1k.npz") as found:
        ids, scores = found["ids"], found["dover"].sum(axis=1)
    rows = [f"KoNViD_1k_videos/{name}.mp4,{score}" for name, score in zip(ids, scores, strict=True)]
    (tmp_path / "dover.csv").write_text("\n".join(["path,score", *rows]))
    words = ["--name", "DOVER", "--dataset", "konvid", "--trained-on", "lsvq"]
    words += ["--root", real / "labels", "--cache", tmp_path / "cache"]
    assert fuse("import-scores", tmp_path / "dover.csv", *words).return_value == 0
    words = ["--cache", tmp_path / "cache", "--fusion", "", "--score", "all", "--workers", 1]
    words += ["--protocol", "videval:n=20", "--output", tmp_path / "ablation", "--json"]
    document = json.loads(fuse("ablate", *words).stdout)
    for row in document["rows"]:
        assert row["median"]["srcc"] == pytest.approx(0.886, abs=0.002), row["name"]
        assert row["opinions"] == ["lsvq"]
