"""Finished runs side by side, on identical splits, with paired statistics against one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Float, Int

from vqa_twostage.fuse import opinions
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.paired import SIGNIFICANT, paired_statistics
from vqa_twostage.fuse.results import Comparison, ComparisonRow, Evaluation
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError


def compare(runs: Sequence[str | Path], reference: str | Path | None = None) -> Comparison:
    """Runs against ``reference``, by default the first of them; see `fuse.paired.PairedStatistics`.

    UsageError where a folder is not a run, or where labels or splits differ: such results must not
    be compared.
    """
    if not runs:
        raise UsageError("compare needs a run or more; vqa-fuse train writes runs")
    folders = [Path(run) for run in runs]
    against = folders[0] if reference is None else Path(reference)
    records = {run: Run(run).record() for run in dict.fromkeys([against, *folders])}
    for run in folders:
        _require_comparable(against, records[against], run, records[run])
    evaluations = {run: evaluate(run) for run in records}
    baseline, rows = _scores(evaluations[against]), []
    divided = evaluations[against].splits
    # the tested model was fitted on training and validation together; where a part of their labels
    # was used, splits share no more of them than with all, so all are counted
    labels = records[against].options.labels
    n_fitted = np.array([(split.n_train + split.n_val) * 100 // labels for split in divided])
    n_test = np.array([split.n_test for split in divided])
    for run in folders:
        evaluation, specs = evaluations[run], records[run].specs
        paired = paired_statistics(_scores(evaluation) - baseline, n_fitted, n_test)
        rows.append(
            ComparisonRow(
                name=_name(records[against], records[run]),
                fusion=specs.fusion,
                pooling=specs.pooling,
                temporal=specs.temporal_encoder,
                summary=evaluation.summary,
                opinions=evaluation.opinions,
                paired=None if run == against else paired,
                run=run,
                axes={name: axis.summary for name, axis in evaluation.axes.items()},
            )
        )
    rows.sort(key=_median_srcc, reverse=True)
    shared = evaluations[against]
    scores = {row.run: _scores(evaluations[row.run]) for row in rows}
    return Comparison(
        dataset=shared.dataset,
        label=shared.label,
        protocol=shared.protocol,
        n_videos=shared.n_videos,
        n_dataset=shared.n_dataset,
        missing=shared.missing,
        n_splits=len(shared.splits),
        notes=[*shared.notes, *_starts(records, against, rows), *_averages(records)],
        reference_run=against,
        reference=records[against].specs.name,
        rows=rows,
        winner=_winner(scores, n_fitted, n_test),
    )


def _winner(
    scores: Mapping[Path, Float[np.ndarray, " splits"]],
    n_fitted: Int[np.ndarray, " splits"],
    n_test: Int[np.ndarray, " splits"],
) -> Path | None:
    """The first of ``scores``, if it is better than each of the others by the corrected test."""
    best, *others = scores
    for other in others:
        paired = paired_statistics(scores[best] - scores[other], n_fitted, n_test)
        if paired is None or paired.corrected is None:
            return None
        if paired.corrected.difference <= 0 or paired.corrected.p_value >= SIGNIFICANT:
            return None
    return best if others else None


def _averages(records: Mapping[Path, RunRecord]) -> list[str]:
    """What the rows of heads are averaged with, which a reader would take for the head's merit."""
    # a baseline has no loss
    heads = [record.specs for record in records.values() if record.specs.loss]
    used = dict.fromkeys(specs.average_with for specs in heads if specs.average_with != "none")
    notes = []
    for text in used:
        notes.append(
            "a head's score is averaged with that of regressors in closed form (--average-with "
            f"{text}); --average-with none compares the networks by themselves"
        )
    if used and any(specs.average_with == "none" for specs in heads):
        notes.append("a row called alone is networks by themselves")
    return notes


def _start(record: RunRecord) -> str:
    """What a run started from, where it did: `` from konvid, last layer``."""
    start = record.identity.start
    if start is None:
        return ""
    last = ", last layer" if start.tune == "last" else ""
    preparation = "" if start.preparation == "auto" else f", preparation {start.preparation}"
    return f" from {start.learnt_from[-1]}{last}{preparation}"


def _starts(
    records: Mapping[Path, RunRecord], against: Path, rows: Sequence[ComparisonRow]
) -> list[str]:
    """What is said of rows that started from another run; the reference's notes say it of that."""
    return [
        f"{row.name}: {sentence}"
        for row in rows
        if row.run != against
        for sentence in opinions.sentences_of_start(records[row.run].identity.start)
    ]


def _name(reference: RunRecord, record: RunRecord) -> str:
    """A run in the table: its head, and what it reads and learnt from where that is special."""
    joint = opinions.joint_names(record.identity)
    beside = f" with {', '.join(joint)}" if joint else ""
    axes = ", ".join(axis.name for axis in record.identity.axes or ())
    learnt = f" with axes {axes}" if axes else ""
    return record.specs.name + _other_tracks(reference, record) + _start(record) + beside + learnt


def _other_tracks(reference: RunRecord, record: RunRecord) -> str:
    """Which tracks a run reads where they are not those of the reference: `` without tsm``. A row
    of published scores is named after them.
    """
    if "score" in {track.kind for of in (reference, record) for track in of.identity.spatial}:
        return ""
    theirs, ours = (_track_names(of) for of in (reference, record))
    if ours == theirs:
        return ""
    missing = [name for name in theirs if name not in ours]
    if set(ours) < set(theirs) and len(missing) < len(ours):
        return f" without {', '.join(missing)}"
    return f" on {', '.join(ours)}"


def _track_names(record: RunRecord) -> list[str]:
    """Each track once; with its digest where two have one name."""
    files = dict.fromkeys([*record.cache.spatial, *record.cache.temporal])
    stems = [PurePosixPath(file).stem for file in files]
    names = [stem.rpartition("-")[0] for stem in stems]
    return [
        stem if names.count(name) > 1 else name for stem, name in zip(stems, names, strict=True)
    ]


def _require_comparable(one: Path, first: RunRecord, other: Path, second: RunRecord) -> None:
    if first.dataset == second.dataset and first.missing != second.missing:
        counts = [record.n_dataset - len(record.missing) for record in (first, second)]
        raise UsageError(
            f"{one} and {other} are of other videos of {first.dataset} (N = {counts[0]} and "
            f"{counts[1]}), since not all tracks hold all of them; the rows of one vqa-fuse ablate "
            "are of the same videos"
        )
    if second.identity.manifest != first.identity.manifest:
        raise UsageError(
            f"{one} ({first.dataset}) and {other} ({second.dataset}) have other labels; "
            "train both on the same dataset"
        )
    if second.identity.splits != first.identity.splits:
        raise UsageError(
            f"{one} and {other} differ in their splits "
            f"({first.dataset}, {first.specs.protocol} against "
            f"{second.dataset}, {second.specs.protocol}); "
            "train both with the same dataset, protocol and seed"
        )


def _scores(evaluation: Evaluation) -> Float[np.ndarray, " splits"]:
    """The SRCC of each split, NaN where it is undefined or withheld."""
    return np.array([split.metrics.srcc for split in evaluation.splits], float)


def _median_srcc(row: ComparisonRow) -> float:
    return -1.0 if row.summary.median.srcc is None else row.summary.median.srcc
