"""`list_runs`: the runs in a folder, when each was made, on what, and what came of it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.results import ListedRun, OtherRun, RunList, moment_of
from vqa_twostage.fuse.run_filter import RunFilter
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError

DEPTH = 3  # folders below the one that is named: runs of ablations, of several datasets
ORDERS = ("date", "srcc", "name")


def list_runs(
    folders: Sequence[str | Path],
    chosen: RunFilter | None = None,
    sort: str = "date",
) -> RunList:
    """Finished runs, and those that are not or cannot be read, which no filter hides.

    Args:
        folders: Each is searched down to `DEPTH` folders; one may be a run itself. Links to
            folders of runs are listed, and no link is searched further.
        chosen: Which of the finished runs; None is all.
        sort: ``date``, the newest first; ``srcc``, the best first; or ``name``, of the folder.

    Raises:
        UsageError: One of ``folders`` is no folder, or there is no such order.
    """
    if sort not in ORDERS:
        raise UsageError(f"sort is {sort!r}; choose one of {', '.join(ORDERS)}")
    runs: list[ListedRun] = []
    unfinished: list[OtherRun] = []
    damaged: list[OtherRun] = []
    left_out = 0
    named = list(map(Path, folders))
    for folder in named:
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is no folder; give the one with the runs, which vqa-fuse train writes"
            )

    def cannot_read(path: Path, error: OSError) -> None:
        damaged.append(OtherRun(path, f"{path} cannot be read: {error.strerror}"))

    found = [run.folder for folder in named for run in run_folders(folder, cannot_read)]
    for run in map(Run, dict.fromkeys(found)):
        if not run.complete:
            unfinished.append(OtherRun(run.folder, _what_is_there(run)))
            continue
        try:
            record = run.record()
            run.check_tables()
            if chosen is not None and not chosen.keeps(record):
                left_out += 1
                continue
            runs.append(_listed(run, record))
        except UsageError as error:
            damaged.append(OtherRun(run.folder, str(error)))
    return RunList(named, _sorted(runs, sort), left_out, unfinished, damaged)


def run_folders(
    folder: Path, cannot_read: Callable[[Path, OSError], None], depth: int = DEPTH
) -> Iterator[Run]:
    """Runs in ``folder``, finished or not, by name; or ``folder`` itself where it is a run.

    ``cannot_read`` is called with each folder that cannot be looked into.
    """
    try:
        if is_run(Run(folder)):
            yield Run(folder)
            return
        # what a link leads to may be a run, and is searched no further
        deeper = depth > 0 and (depth == DEPTH or not folder.is_symlink())
        inside = sorted(path for path in folder.iterdir() if path.is_dir()) if deeper else []
    except OSError as error:
        cannot_read(folder, error)
        return
    for path in inside:
        if not path.name.startswith("."):
            yield from run_folders(path, cannot_read, depth - 1)


def is_run(run: Run) -> bool:
    """Whether a folder is that of a run, finished, interrupted or damaged."""
    return run.complete or run.finished_splits > 0 or run.has_predictions


def _what_is_there(run: Run) -> str:
    if count := run.finished_splits:
        splits = f"{count} split{'s are' if count > 1 else ' is'} done"
        return f"{splits}; the command that trains it goes on with them"
    return f"it has predictions and no {run.record_file.name}; train it again"


def _listed(run: Run, record: RunRecord) -> ListedRun:
    medians, n_videos = record.medians, record.n_videos
    if n_videos is None or medians is None or not {"srcc", "plcc"} <= set(medians):
        evaluation = evaluate(run.folder)  # which takes some time
        medians, n_videos = evaluation.median.to_json(), evaluation.n_videos
    return ListedRun(
        run=run.folder,
        name=record.specs.name,
        date=record.date,
        command=record.command,
        dataset=record.dataset,
        protocol=record.options.protocol,
        n_videos=n_videos,
        n_dataset=record.n_dataset,
        splits=len(record.identity.splits),
        srcc=_finite(medians["srcc"]),
        plcc=_finite(medians["plcc"]),
        seconds=_finite(record.seconds) or 0.0,
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def _sorted(runs: Iterable[ListedRun], sort: str) -> list[ListedRun]:
    by_name = sorted(runs, key=lambda run: os.fspath(run.run))
    if sort == "srcc":
        return sorted(by_name, key=lambda run: -2.0 if run.srcc is None else run.srcc, reverse=True)
    if sort == "date":
        return sorted(by_name, key=lambda run: moment_of(run.date), reverse=True)
    return by_name
