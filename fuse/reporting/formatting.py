"""Metrics and counts as text, the same in every table, plot and page."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_twostage.fuse.paired import PairedStatistics
from vqa_twostage.fuse.results import METRICS, MetricSummary

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
PAIRED_TITLES = ("wins", "Wilcoxon p", "mean [95 %, corrected]", "corrected p")
"""Of `paired_cells`, after the difference."""
AFTER_LOGISTIC = "PLCC and RMSE after a 4-parameter logistic"


def number(value: float | None, digits: int = 3) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"


def median_and_std(median: float | None, std: float | None, digits: int = 3) -> str:
    """``0.912 ± 0.020``; without the deviation where there is one split alone."""
    return number(median, digits) + ("" if std is None else f" ± {std:.3f}")


def metric_cells(
    median: MetricSummary,
    std: MetricSummary,
    metrics: Sequence[str] = METRICS,
    digits: int = 3,
) -> list[str]:
    """`median_and_std` of each of ``metrics``."""
    return [median_and_std(getattr(median, name), getattr(std, name), digits) for name in metrics]


def paired_cells(paired: PairedStatistics | None) -> list[str]:
    """Median difference with interval, then those of `PAIRED_TITLES`; empty for the reference
    itself.
    """
    if paired is None:
        return [""] * 5
    cells = [
        _with_interval(paired.difference, paired.interval),
        f"{paired.wins} of {paired.pairs}",
        f"{paired.p_value:.2g}",
    ]
    if paired.corrected is None:
        return [*cells, "n/a", "n/a"]
    mean = _with_interval(paired.corrected.difference, paired.corrected.interval)
    return [*cells, mean, f"{paired.corrected.p_value:.2g}"]


def _with_interval(difference: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{difference:+.4f} [{low:+.4f}, {high:+.4f}]"


def titles(metrics: Sequence[str] = METRICS) -> list[str]:
    return [METRIC_TITLES[name] for name in metrics]


def undefined_splits(count: int) -> str:
    return f"undefined, and not in the median: SRCC of {count} splits (constant scores)"


def n_videos(used: int, in_dataset: int) -> str:
    """The number of videos that metrics stand on: ``N = 8 of 1200 videos``."""
    return f"N = {used} videos" if used == in_dataset else f"N = {used} of {in_dataset} videos"


def shortened(names: Sequence[str]) -> str:
    """The first of many names, and how many there are."""
    more = f", … ({len(names)} in all)" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
