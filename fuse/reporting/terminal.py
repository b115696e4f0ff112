"""Results of the commands of stage two as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.paired import WHICH_TO_BELIEVE
from vqa_twostage.fuse.reporting.formatting import (
    AFTER_LOGISTIC,
    MEAN_TITLE,
    OF_AXES,
    PAIRED_TITLES,
    axes_rows,
    curve_axes,
    curve_cells,
    curve_titles,
    interval,
    meaning,
    meaning_of_difference,
    metric_cells,
    n_videos,
    number,
    oracle_srcc,
    paired_cells,
    shortened,
    test_videos,
    titles,
    undefined_splits,
)
from vqa_twostage.fuse.reporting.terminal_width import print_sentence, print_table
from vqa_twostage.fuse.results import (
    MAIN_METRICS,
    AblationResult,
    Comparison,
    CrossDatasetEvaluation,
    Evaluation,
    JointTraining,
    LearningCurve,
    Reproduction,
    RunList,
    ScaleMetrics,
    SplitSummary,
    day_and_time,
)
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.withholding import REASON, is_withheld
from vqa_twostage.pipeline.console import printable


def print_evaluation(evaluation: Evaluation) -> None:
    first = evaluation.splits[0]
    print_sentence(
        f"{evaluation.dataset}, {evaluation.fusion}, {evaluation.protocol}: "
        f"{len(evaluation.splits)} splits of "
        f"{n_videos(evaluation.n_videos, evaluation.n_dataset)} "
        f"(first: train {first.n_train}, val {first.n_val}, test {first.n_test}), "
        f"labels: {evaluation.label}"
    )
    cells = metric_cells(evaluation.summary)
    print_table(["", *titles()], [[evaluation.fusion, *cells]])
    print_sentence(f"{meaning(evaluation.summary)}; {AFTER_LOGISTIC}")
    _print_below_table(evaluation)


def print_joint_training(result: JointTraining) -> None:
    """A row for each dataset, what is to be said of each, and each held-out dataset."""
    rows = []
    for of_set in result.evaluations:
        videos = n_videos(of_set.n_videos, of_set.n_dataset)
        cells = [videos, f"{len(of_set.splits)}", *metric_cells(of_set.summary)]
        rows.append([of_set.dataset, *cells])
    first = result.evaluations[0]
    print_sentence(f"{first.fusion}, {first.protocol}, on each dataset its own test parts")
    print_table(["", "videos", "splits", *titles()], rows)
    print_sentence(f"{meaning(first.summary)}; {AFTER_LOGISTIC}; RMSE on the scale of each dataset")
    for evaluation in result.evaluations:
        print_sentence(f"\n{evaluation.dataset}, labels: {evaluation.label}")
        _print_below_table(evaluation)
    for tested in result.held_out:
        click.echo("")
        print_cross_dataset(tested)


def _print_below_table(evaluation: Evaluation) -> None:
    of_axes = {name: axis.summary for name, axis in evaluation.axes.items()}
    _print_axes([(evaluation.fusion, of_axes)])
    if evaluation.summary.undefined:
        print_sentence(undefined_splits(evaluation.summary.undefined))
    if evaluation.oracle:
        print_sentence(
            "oracle, not a result: choosing the epoch on the test part would have claimed SRCC "
            + oracle_srcc(evaluation)
        )
    _print_lines(opinions.sentences(evaluation.opinions, evaluation.dataset))
    _print_cautions(evaluation.notes, evaluation.missing)
    _print_not_finite(evaluation.not_finite)
    click.echo(f"run: {evaluation.run}")
    click.echo(f"plot: {Run(evaluation.run).scatter_file}")


def _print_axes(runs: Sequence[tuple[str, Mapping[str, SplitSummary]]]) -> None:
    """A table of the further labels of runs, where they have some."""
    rows = axes_rows(runs)
    if not rows:
        return
    print_sentence(f"\n{OF_AXES}:")
    print_table(["", *titles()], rows)
    for run, of_run in runs:
        for axis, summary in of_run.items():
            if summary.undefined:
                print_sentence(f"{run}, {axis}: {undefined_splits(summary.undefined)}")


def print_comparison(comparison: Comparison) -> None:
    print_sentence(
        f"{comparison.dataset}, {comparison.protocol}: {comparison.n_splits} splits of "
        f"{n_videos(comparison.n_videos, comparison.n_dataset)}, labels: {comparison.label}"
    )
    rows = [
        [row.name, *metric_cells(row.summary), *paired_cells(row.paired)] for row in comparison.rows
    ]
    columns = ["", *titles(), MEAN_TITLE, *PAIRED_TITLES]
    print_table(columns, rows, subject=1 + len(titles()))
    print_sentence(f"{meaning(comparison.rows[0].summary)}; {AFTER_LOGISTIC}")
    print_sentence(meaning_of_difference(f"{comparison.reference} ({comparison.reference_run})"))
    print_sentence(WHICH_TO_BELIEVE)
    for row in comparison.rows:
        if row.summary.undefined:
            print_sentence(
                f"undefined, and in no median or difference: SRCC of {row.name} in "
                f"{row.summary.undefined} of {comparison.n_splits} splits (constant scores)"
            )
    _print_axes([(row.name, row.axes) for row in comparison.rows])
    learnt = {row.name: row.opinions for row in comparison.rows}
    _print_lines(opinions.sentences_of_rows(learnt, comparison.dataset))
    _print_cautions(comparison.notes, comparison.missing)


def print_runs(comparison: Comparison) -> None:
    print_comparison(comparison)
    for row in comparison.rows:
        click.echo(f"plot: {Run(row.run).scatter_file}")


def print_ablation(result: AblationResult) -> None:
    print_comparison(result.comparison)
    _print_not_finite(result.not_finite)
    for name, reason in result.impossible.items():
        print_sentence(f"not run: {name}: {reason}")
    click.echo(
        f"tables: {result.folder}/ablation.md, .csv, .json, .png; a run for each row beside them"
    )


def print_curve(curve: LearningCurve) -> None:
    whole = curve.points[-1].comparison
    print_sentence(
        f"{whole.dataset}, {whole.protocol}: {whole.n_splits} splits of "
        f"{n_videos(whole.n_videos, whole.n_dataset)}, labels: {whole.label}"
    )
    print_table(curve_titles(curve), [curve_cells(point) for point in curve.points])
    print_sentence(meaning(curve.points[-1].scratch.summary))
    if curve.source:
        print_sentence(
            f"fine-tuned: from heads of a run on {curve.source[-1]}; "
            + meaning_of_difference("random weights", "SRCC fine-tuned")
        )
        print_sentence(WHICH_TO_BELIEVE)
    _print_axes(curve_axes(curve))
    learnt = {row.name: row.opinions for row in whole.rows}
    _print_lines(opinions.sentences_of_rows(learnt, whole.dataset))
    _print_cautions(whole.notes, whole.missing)
    click.echo(f"tables: {curve.folder}/learning_curve.md, .csv, .json, .png; the runs beside them")


def print_cross_dataset(result: CrossDatasetEvaluation) -> None:
    print_sentence(
        f"{result.run}, trained on all of {result.trained_on}; tested on {result.dataset}, "
        f"{n_videos(result.n_videos, result.n_dataset)}, labels: {result.label}"
    )
    rows = [
        [title, *_cross_dataset_cells(result, metrics)]
        for title, metrics in (
            ("logistic re-fit to its labels", result.refitted),
            ("scores as they are", result.as_is),
        )
    ]
    print_table(["", *titles(MAIN_METRICS)], rows)
    for what, (low, high), better in (
        ("labels", result.label_range, result.other_better),
        ("scores", result.score_range, result.better),
    ):
        print_sentence(f"{what}: {low:.4g} to {high:.4g}, {better} is better")
    if result.is_mirrored:
        print_sentence(
            "opposite directions: scores are mirrored within their scale before any figure"
        )
    if result.scale != result.other_scale:
        own, other = (f"{low:g} to {high:g}" for low, high in (result.scale, result.other_scale))
        print_sentence(
            f"RMSE of the scores as they are compares the scale {own} with labels from {other}"
        )
    _print_lines(opinions.sentences(result.opinions, result.dataset))
    withheld = is_withheld(result.n_videos)
    _print_cautions([f"figures are withheld: {REASON}"] if withheld else [], result.missing)


def _cross_dataset_cells(result: CrossDatasetEvaluation, metrics: ScaleMetrics) -> list[str]:
    if is_withheld(result.n_videos):
        return [test_videos(result.n_videos, result.n_videos)] * len(MAIN_METRICS)
    cells = [number(getattr(metrics, name)) for name in MAIN_METRICS]
    if result.srcc_interval is not None:
        cells[0] += f" {interval(result.srcc_interval)}"
    return cells


def print_run_list(result: RunList) -> None:
    rows = [
        [
            str(run.run),
            day_and_time(run.date),
            run.dataset,
            run.name,
            run.protocol,
            f"{run.n_videos}"
            if run.n_videos == run.n_dataset
            else f"{run.n_videos} of {run.n_dataset}",
            f"{run.splits}",
            *("n/a" if value is None else number(value) for value in (run.srcc, run.plcc)),
        ]
        for run in result.runs
    ]
    if rows:
        columns = ["date (UTC)", "dataset", "head", "protocol", "N", "splits", "SRCC", "PLCC"]
        print_table(["", *columns], rows, texts=(0, 2, 3, 4))
        print_sentence("SRCC and PLCC: median over splits; PLCC after a 4-parameter logistic")
    searched = ", ".join(map(str, result.folders))
    if result.left_out:
        print_sentence(f"{result.left_out} more in {searched} do not fit the filter")
    elif not rows:
        print_sentence(f"no finished run in {searched}; vqa-fuse train writes runs")
    print_other_runs(result)


def print_other_runs(result: RunList, err: bool = False) -> None:
    """Those without results, on standard error where standard output is for a program."""
    for title, runs in (("unfinished", result.unfinished), ("damaged", result.damaged)):
        for run in runs:
            click.echo(printable(f"{title}: {run.run}: {run.reason}"), err=err)


def print_reproduction(result: Reproduction) -> None:
    if result.equal:
        print_sentence(
            f"{result.run}: all {result.n_predictions} predictions are equal to the last bit"
        )
    else:
        print_sentence(
            f"{result.run}: {result.n_different} of {result.n_predictions} predictions differ, "
            f"by {result.largest:.3g} at most; videos: {shortened(result.videos)}"
        )
    for line in result.changed:
        print_sentence(f"  changed: {line}")


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        print_sentence(line)


def _print_not_finite(not_finite: Mapping[str, int]) -> None:
    columns = [f"{name} ({videos} videos)" for name, videos in not_finite.items()]
    if columns:
        print_sentence(
            f"not finite, imputed with the median of the training part: {shortened(columns)}"
        )


def _print_cautions(notes: Sequence[str], missing: Sequence[str]) -> None:
    for note in notes:
        print_sentence(f"caution: {note}")
    if missing:
        print_sentence(
            f"without features, which no metric counts: {len(missing)} videos: {shortened(missing)}"
        )
