"""Metrics and counts as text, the same in every table, plot and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vqa_twostage.fuse.metrics import srcc_interval
from vqa_twostage.fuse.paired import PairedStatistics
from vqa_twostage.fuse.results import (
    METRICS,
    CurvePoint,
    Evaluation,
    LearningCurve,
    SplitSummary,
)
from vqa_twostage.fuse.withholding import needs_caution
from vqa_twostage.pipeline.wording import between

METRIC_TITLES = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "krcc": "KRCC",
    "rmse": "RMSE",
    "plcc_raw": "PLCC raw",
}
assert tuple(METRIC_TITLES) == METRICS, "every metric has a title"
MAX_NAMES = 10  # in one line
# what the columns of every table of metrics mean
MEANING = "median ± standard deviation over splits"
MEANING_OF_ONE = "one split, SRCC [95 % interval by Fisher's z]"
MEAN_TITLE = "mean difference [95 %, corrected]"
PAIRED_TITLES = ("corrected p", "wins", "median difference [95 %]", "Wilcoxon p")
"""Of `paired_cells`, after the mean difference: what is to be believed comes first, since a narrow
window shows no more.
"""
OF_AXES = "further labels (axes), each on its own scale, on the same videos and splits"
AFTER_LOGISTIC = "PLCC and RMSE after a 4-parameter logistic"


def number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def test_videos(least: int, most: int) -> str:
    """What stands in the place of a figure that is withheld: ``n/a, 2 test videos``."""
    return f"n/a, {between(least, most)} test video{'' if most == 1 else 's'}"


def median_and_spread(summary: SplitSummary, metric: str, digits: int = 3) -> tuple[str, str]:
    """The median, or why there is none, and how sure it is: its deviation over splits, or the
    interval of the SRCC of one split. ``("0.912", "± 0.020")``, ``("0.912", "[0.880, 0.935]")``,
    ``("n/a, 2 test videos", "")``.
    """
    if summary.is_withheld:
        return test_videos(*summary.n_test), ""
    median, std = getattr(summary.median, metric), getattr(summary.std, metric)
    spread = "" if std is None else f"± {std:.3f}"
    if metric == "srcc" and summary.srcc_interval is not None:
        spread = interval(summary.srcc_interval)
    return number(median, digits), spread


def interval(ends: tuple[float, float]) -> str:
    return "[{:.3f}, {:.3f}]".format(*ends)


def metric_cells(
    summary: SplitSummary, metrics: Sequence[str] = METRICS, digits: int = 3
) -> list[str]:
    """`median_and_spread` of each of ``metrics``: ``0.912 ± 0.020``."""
    return [" ".join(filter(None, median_and_spread(summary, name, digits))) for name in metrics]


def axes_rows(
    runs: Sequence[tuple[str, Mapping[str, SplitSummary]]], digits: int = 3
) -> list[list[str]]:
    """A row for each run and each of its further labels, those of one label together: both names in
    a cell, and `metric_cells`. ``runs``: the name of each, and the metrics of its labels by their
    names.
    """
    labels = dict.fromkeys(label for _, of_run in runs for label in of_run)
    return [
        [f"{run}, {label}", *metric_cells(of_run[label], digits=digits)]
        for label in labels
        for run, of_run in runs
        if label in of_run
    ]


def meaning(summary: SplitSummary) -> str:
    """What the cells of `metric_cells` are, for runs on the same splits."""
    return MEANING_OF_ONE if summary.n_splits == 1 else MEANING


def oracle_srcc(evaluation: Evaluation) -> str:
    """Of a run that has one."""
    if evaluation.summary.is_withheld or evaluation.oracle is None:
        return test_videos(*evaluation.summary.n_test)
    return number(evaluation.oracle.srcc)


CURVE_TITLES = ("labels", "N labelled", "SRCC from random weights")
TUNED_TITLES = ("SRCC fine-tuned", MEAN_TITLE, *PAIRED_TITLES)
"""Of `curve_cells`, after `CURVE_TITLES`, where heads of another run were tuned."""


def curve_titles(curve: LearningCurve) -> list[str]:
    return [*CURVE_TITLES, *(TUNED_TITLES if curve.source else ())]


def curve_axes(
    curve: LearningCurve,
) -> list[tuple[str, Mapping[str, SplitSummary]]]:
    """For `axes_rows`: the further labels at each part of the labels, where there are some."""
    return [(f"{point.labels} %", point.scratch.axes) for point in curve.points]


def curve_cells(point: CurvePoint, digits: int = 3) -> list[str]:
    """The cells of a row of a learning curve's table."""
    (scratch,) = metric_cells(point.scratch.summary, ("srcc",), digits)
    cells = [f"{point.labels} %", between(*point.n_labelled), scratch]
    if point.tuned is not None:
        cells += metric_cells(point.tuned.summary, ("srcc",), digits)
        cells += paired_cells(point.tuned.paired)
    return cells


def paired_cells(paired: PairedStatistics | None) -> list[str]:
    """Mean difference with its corrected interval, then those of `PAIRED_TITLES`; empty for the
    reference itself.
    """
    if paired is None:
        return [""] * 5
    corrected = ["n/a", "n/a"]
    if paired.corrected is not None:
        mean = _with_interval(paired.corrected.difference, paired.corrected.interval)
        corrected = [mean, f"{paired.corrected.p_value:.2g}"]
    return [
        *corrected,
        f"{paired.wins} of {paired.pairs}",
        _with_interval(paired.difference, paired.interval),
        f"{paired.p_value:.2g}",
    ]


def meaning_of_difference(reference: str, row: str = "a row's SRCC") -> str:
    """What the columns of differences hold, for readers who compare them with the medians beside
    them.
    """
    return (
        f"difference: {row} minus that of {reference} on the same split, its mean and its median "
        "over the splits; its sign can be another than the medians of SRCC suggest"
    )


def _with_interval(difference: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]"


def titles(metrics: Sequence[str] = METRICS) -> list[str]:
    return [METRIC_TITLES[name] for name in metrics]


def few_videos(what: str, count: int, srcc: float | None) -> str:
    """A caution for a figure of ``count`` videos where they are few: ``what`` they are, and how
    little an SRCC over so many says. Empty where they are many, or where figures are withheld.
    """
    if not needs_caution(count) or srcc is None:
        return ""
    ends = srcc_interval(srcc, count)
    said = "" if ends is None else f": an SRCC of {srcc:.3f} over so many has the 95 % interval "
    return f"{what} {count} videos, which is few{said}{'' if ends is None else interval(ends)}."


def few_tested(summary: SplitSummary) -> str:
    """`few_videos` of the smallest test part."""
    least, most = summary.n_test
    what = "Each test part has" if least == most else "The smallest test part has"
    return few_videos(what, least, summary.median.srcc)


def undefined_splits(count: int) -> str:
    return f"undefined, and not in the median: SRCC of {count} splits (constant scores)"


def n_videos(used: int, in_dataset: int) -> str:
    """The number of videos that metrics stand on: ``N = 8 of 1200 videos``."""
    return f"N = {used} videos" if used == in_dataset else f"N = {used} of {in_dataset} videos"


def shortened(names: Sequence[str]) -> str:
    """The first of many names, and how many there are."""
    more = f", … ({len(names)} in all)" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
