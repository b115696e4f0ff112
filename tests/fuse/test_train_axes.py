"""One head learns several labels of a video: each is predicted and measured by itself, and a
training that names none is as it was.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fitting import fit
from forging import change_record
from toy_cache import COLUMNS, each_track, make_dataset

from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.leakage import check_leakage
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.averaged import fit_average
from vqa_twostage.fuse.learning.model import Head
from vqa_twostage.fuse.learning.prepared import PreparedFeatures
from vqa_twostage.fuse.learning_curve import learning_curve
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.report import write_report
from vqa_twostage.fuse.reporting import terminal
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.results import Evaluation
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.splits import Split, splits
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.train import Plan, train, train_run
from vqa_twostage.pipeline.cache.layout import load_cached_manifest, write_manifest
from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName

AXES = ("technical", "aesthetic")
PLAIN = TrainOptions(
    fusion="concat", epochs=16, members=1, protocol="random:n=2,train=0.5,val=0.15"
)
QUICK = replace(PLAIN, axes=AXES)
# which columns of every array tell an axis; the first four tell the main label
TELLING = {"technical": slice(4, 8), "aesthetic": slice(8, 12)}

pytestmark = pytest.mark.usefixtures("one_thread")


def with_axes(data: Dataset) -> Dataset:
    """The same videos with two further labels, independent of the first and of each other, that
    columns of their own tell; the labels of one are a hundred times as wide.
    """
    generator = np.random.default_rng(7)
    qualities = {name: generator.normal(size=len(data.mos)) for name in AXES}
    rows = data.manifest.rows.assign(
        mos_technical=50 + 20 * qualities["technical"], mos_aesthetic=0.2 * qualities["aesthetic"]
    )

    def of(track: Features) -> Features:
        def tell(array: np.ndarray) -> np.ndarray:
            array = array.astype(np.float32)
            for name, columns in TELLING.items():
                array[..., columns] += 2 * qualities[name][:, None, None]
            return np.where(track.mask[..., None], array, 0).astype(np.float16)

        return replace(track, arrays={name: tell(array[:]) for name, array in track.arrays.items()})

    axes = Axis("technical", (0.0, 100.0)), Axis("aesthetic", (-1.0, 1.0), "lower")
    manifest = replace(data.manifest, rows=rows, axes=axes)
    return replace(data, manifest=manifest, features=each_track(data, of), everything=rows)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return with_axes(make_dataset("toy", 24, 5))


@pytest.fixture(scope="module")
def run(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Evaluation]:
    folder = tmp_path_factory.mktemp("runs") / "axes"
    return folder, train_run(data, QUICK, folder)


def first_split(data: Dataset) -> Split:
    return splits(PLAIN.protocol, data.manifest.rows)[1][0]


def with_labels(data: Dataset, axis: str, labels: np.ndarray) -> Dataset:
    rows = data.manifest.rows.assign(**{f"mos_{axis}": labels})
    return replace(data, manifest=replace(data.manifest, rows=rows))


def test_one_training_predicts_every_label_of_unseen_contents(
    data: Dataset, run: tuple[Path, Evaluation]
) -> None:
    _, evaluation = run
    assert evaluation.n_videos == len(data.mos) == 120
    assert len(evaluation.splits) == 2 and evaluation.summary.n_test[0] > 20
    medians = {"main": evaluation.median} | {
        name: axis.summary.median for name, axis in evaluation.axes.items()
    }
    assert list(medians) == ["main", *AXES]
    # by chance one of so many test videos is below 2 / sqrt(39) = .32
    assert all(median.srcc > 0.7 for median in medians.values()), medians
    assert medians["technical"].rmse > 20 * medians["aesthetic"].rmse
    for axis in evaluation.axes.values():
        assert [split.n_test for split in axis.splits] == [
            split.n_test for split in evaluation.splits
        ]


@pytest.mark.parametrize("baseline", ["ridge", "svr"])
def test_baselines_are_fitted_to_every_label(data: Dataset, baseline: str) -> None:
    split = first_split(data)
    fitted = fit(data, split, replace(QUICK, baseline=baseline))
    for name in AXES:
        alone = fit(data.of_axis(name), split, replace(PLAIN, baseline=baseline))
        assert np.array_equal(fitted.axes[name].predicted, alone.predicted)
    plain = fit(data, split, replace(PLAIN, baseline=baseline))
    assert np.array_equal(fitted.predicted, plain.predicted) and not plain.axes


def test_regressors_in_closed_form_have_a_solution_for_each_label(data: Dataset) -> None:
    split, head = first_split(data), Head.of(QUICK)
    fitted = fit(data, split, QUICK)
    for name in AXES:
        alone = PreparedFeatures(data.of_axis(name), split.train)
        assert fitted.axes[name].settings == fit_average(alone, head, split).settings
        assert fitted.axes[name].settings


def test_without_axes_everything_is_as_if_the_dataset_had_none(data: Dataset) -> None:
    split = first_split(data)
    names = [axis.column for axis in data.manifest.axes]
    manifest = replace(data.manifest, rows=data.manifest.rows.drop(columns=names), axes=())
    bare = replace(data, manifest=manifest)
    first, second = fit(data, split, PLAIN), fit(bare, split, PLAIN)
    assert np.array_equal(first.predicted, second.predicted)
    plan, of_bare = Plan.of(data, PLAIN), Plan.of(bare, PLAIN)
    assert plan.identity.to_json() == of_bare.identity.to_json() and plan.name == of_bare.name
    assert "axes" not in plan.identity.to_json()
    assert Plan.of(data, QUICK).name != plan.name


def test_labels_of_the_test_part_have_no_influence(data: Dataset) -> None:
    split = first_split(data)
    labels = data.manifest.rows["mos_technical"].to_numpy().copy()
    labels[split.test] = 1000 - 20 * labels[split.test]
    usual, other = (
        fit(changed, split, QUICK) for changed in (data, with_labels(data, "technical", labels))
    )
    assert np.array_equal(usual.predicted, other.predicted)
    for name in AXES:
        assert np.array_equal(usual.axes[name].predicted, other.axes[name].predicted)


def test_direction_and_width_of_a_scale_do_not_change_other_labels(data: Dataset) -> None:
    split = first_split(data)
    wider = 4 * data.manifest.rows["mos_technical"].to_numpy()
    usual, other = (
        fit(changed, split, QUICK) for changed in (data, with_labels(data, "technical", wider))
    )
    assert np.allclose(usual.predicted, other.predicted, atol=1e-3)
    ratio = other.axes["technical"].predicted / usual.axes["technical"].predicted
    assert np.allclose(ratio, 4, rtol=0.01)


def test_predictions_have_two_columns_for_each_axis(
    data: Dataset, run: tuple[Path, Evaluation]
) -> None:
    folder, evaluation = run
    written = pd.read_csv(folder / "predictions.csv", nrows=1)
    assert list(written.columns[4:]) == [
        *("mos", "predicted", "mos_technical", "predicted_technical"),
        *("mos_aesthetic", "predicted_aesthetic"),
    ]
    table = Run(folder).predictions().drop_duplicates("id").set_index("id")
    labels = data.manifest.rows.set_index("id")["mos_technical"]
    assert (table["mos_technical"] == labels[table.index]).all()
    assert evaluate(folder).to_json() == evaluation.to_json()
    text = (folder / "metrics.md").read_text(encoding="utf-8")
    assert "| `concat`, technical |" in text and "| `concat`, aesthetic |" in text


def test_predictions_without_an_axis_of_the_run_are_damaged(
    run: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(run[0], tmp_path / "copy"))

    def forget(document: dict[str, object]) -> None:
        document["identity"]["axes"].pop()  # type: ignore[index]

    change_record(copy, forget)
    with pytest.raises(UsageError, match="its further labels are not those of the run"):
        Run(copy).predictions()


def test_saved_model_scores_every_label_on_its_scale(
    data: Dataset, run: tuple[Path, Evaluation]
) -> None:
    scorer = saved.load(run[0])
    prediction = scorer.predict_with_details(data.features)
    assert list(prediction.axes) == list(scorer.axes) == [*AXES]
    for name, scores in prediction.axes.items():
        labels = data.of_axis(name).mos
        assert np.corrcoef(scores, labels)[0, 1] > 0.8
        assert abs(scores.mean() - labels.mean()) < 0.3 * labels.std()
        assert 0.5 < scores.std() / labels.std() < 1.3
    assert scorer.axes["aesthetic"].scale == (-1.0, 1.0)
    assert scorer.axes["aesthetic"].better == "lower"


def test_model_is_the_same_when_it_is_saved_again(
    run: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    saved.save(saved.load(run[0]), tmp_path)
    assert (tmp_path / saved.FILE).read_bytes() == (run[0] / saved.FILE).read_bytes()


def test_model_whose_axes_are_not_those_of_its_options_is_refused(
    run: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    scorer = saved.load(run[0])
    swapped = dict(reversed(scorer.axes.items()))
    saved.save(replace(scorer, axes=swapped), tmp_path)
    with pytest.raises(UsageError, match="are not those of the options"):
        saved.load(tmp_path)


@pytest.mark.long
def test_comparison_has_the_figures_of_each_axis_that_a_run_has(
    data: Dataset, run: tuple[Path, Evaluation], tmp_path: Path
) -> None:
    train_run(data, replace(PLAIN, baseline="ridge"), tmp_path / "plain")
    train_run(data, replace(PLAIN, axes=("technical",), baseline="ridge"), tmp_path / "ridge")
    comparison = compare([run[0], tmp_path / "plain", tmp_path / "ridge"])
    found = {row.name: list(row.axes) for row in comparison.rows}
    assert found == {
        "ridge": [],
        "concat with axes technical, aesthetic": [*AXES],
        "ridge with axes technical": ["technical"],
    }
    document = {row["name"]: row["axes"] for row in comparison.to_json()["rows"]}
    medians = document["concat with axes technical, aesthetic"]["technical"]["median"]
    assert medians == run[1].axes["technical"].summary.median.to_json()


def test_terminal_and_report_show_the_figures_of_each_axis(
    run: tuple[Path, Evaluation], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, evaluation = run
    terminal.print_evaluation(evaluation)
    printed = capsys.readouterr().out
    assert "further labels (axes), each on its own scale" in printed
    write_report(folder, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Further labels</h3>" in page
    assert "--axes technical --axes aesthetic" in page
    for name, axis in evaluation.axes.items():
        figure = f"{axis.summary.median.srcc:.3f} ± {axis.summary.std.srcc:.3f}"
        assert re.search(rf"concat, {name} +{figure}", printed)
        assert re.search(rf'<th scope="row">{name}</th><td>{figure}</td>', page)


@pytest.mark.long
def test_learning_curve_has_the_figures_of_each_axis_at_each_part_of_the_labels(
    data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(PLAIN, axes=AXES, baseline="ridge")
    curve = learning_curve(data, options, [50, 100], tmp_path)
    terminal.print_curve(curve)
    printed = capsys.readouterr().out
    written = (tmp_path / "learning_curve.md").read_text(encoding="utf-8")
    table = pd.read_csv(tmp_path / "learning_curve.csv")
    for name in AXES:
        for place, point in enumerate(curve.points):
            axis = point.scratch.axes[name]
            figure = f"{axis.median.srcc:.3f} ± {axis.std.srcc:.3f}"
            assert re.search(rf"{point.labels} %, {name} +{figure}", printed)
            assert f"| {point.labels} %, {name} | {axis.median.srcc:.4f}" in written
            assert table[f"srcc_scratch_{name}"][place] == pytest.approx(axis.median.srcc)


# --- what cannot be done is said ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (replace(QUICK, axes=("beauty",)), "no axis 'beauty'; choose from technical, aesthetic"),
        (replace(QUICK, joint_with=("other",)), "leave out --axes technical,aesthetic, or train"),
        (
            replace(QUICK, baseline="published:score=dover"),
            "is the score of a model for one label, and says nothing of technical, aesthetic",
        ),
    ],
)
def test_axes_that_cannot_be_learnt_are_refused_with_the_next_step(
    data: Dataset, options: TrainOptions, message: str
) -> None:
    others = (make_dataset("other", 2, 2),) if options.joint_with else ()
    with pytest.raises(UsageError, match=message):
        Plan.of(replace(data, others=others), options)


def test_axis_with_missing_labels_is_refused_with_their_number(data: Dataset) -> None:
    labels = data.manifest.rows["mos_technical"].to_numpy().copy()
    labels[[3, 5]] = np.nan
    ids = data.manifest.rows["id"]
    with pytest.raises(UsageError, match=f"2 of 120 videos .* 'technical', such as {ids[3]}"):
        Plan.of(with_labels(data, "technical", labels), QUICK)
    Plan.of(with_labels(data, "technical", labels), replace(QUICK, axes=("aesthetic",)))


def test_axis_that_is_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="axes names one twice: technical, technical"):
        TrainOptions(axes=("technical", "technical"))


def test_column_that_is_an_axis_itself_is_refused(data: Dataset) -> None:
    def leaking(track: Features) -> Features:
        arrays = dict(track.arrays)
        name = ArrayName.of("c1", "mean")
        arrays[name] = arrays[name].astype(np.float32)
        arrays[name][..., COLUMNS - 1] = data.of_axis("technical").mos[:, None]
        return replace(track, arrays=arrays)

    leaky = replace(data, features=Streams(*each_track(data, leaking)))
    check_leakage(leaky, PLAIN)
    with pytest.raises(UsageError, match=r"column 15 of c1/mean .* axis 'technical'"):
        check_leakage(leaky, QUICK)


# --- from a cache on a disk ---


@pytest.fixture
def cache(toy_cache: Path, tmp_path: Path) -> Path:
    """With an axis that the features tell, and one that nothing tells."""
    cache = Path(shutil.copytree(toy_cache, tmp_path / "cache"))
    manifest = load_cached_manifest(cache, "toy")
    noise = np.random.default_rng(1).normal(size=len(manifest))
    rows = manifest.rows.assign(
        mos_technical=10 * manifest.rows["mos"] + noise, mos_aesthetic=noise
    )
    axes = Axis("technical", (0.0, 50.0)), Axis("aesthetic", (-5.0, 5.0))
    write_manifest(cache, replace(manifest, rows=rows, axes=axes))
    return cache


SHORT = replace(QUICK, epochs=4, average_with="ridge")


@pytest.mark.long
def test_run_with_axes_is_reproduced_and_reported_as_finished(cache: Path, tmp_path: Path) -> None:
    first = train(cache, SHORT, run=tmp_path / "run")
    assert train(cache, SHORT, run=tmp_path / "run").was_finished
    assert reproduce_run(tmp_path / "run").equal
    assert first.axes["technical"].summary.median.srcc > 0.5
    changed = load_cached_manifest(cache, "toy")
    rows = changed.rows.assign(mos_aesthetic=-changed.rows["mos_aesthetic"])
    write_manifest(cache, replace(changed, rows=rows))
    again = reproduce_run(tmp_path / "run")
    assert not again.equal and any("axes" in line for line in again.changed)


@pytest.mark.long
def test_heads_are_not_tuned_from_or_for_axes(cache: Path, tmp_path: Path) -> None:
    plain = replace(SHORT, axes=None)
    train(cache, SHORT, run=tmp_path / "axes")
    train(cache, plain, run=tmp_path / "plain")
    for options in (
        replace(plain, start_from=str(tmp_path / "axes")),
        replace(SHORT, start_from=str(tmp_path / "plain")),
    ):
        with pytest.raises(UsageError, match="tuned for one label, and not for the axes technical"):
            train(cache, options, run=tmp_path / "tuned")
