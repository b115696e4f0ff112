"""`import_scores`: what a published model says of each video of a dataset becomes a track of the
kind ``score``, which the baseline `published` makes rows of (`fuse.published_scores`).

Scores are stored as the dataset's labels run: where better quality is the higher score of the one
and the lower of the other, their sign is turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.leakage import FEWEST_VIDEOS, MOST_SRCC
from vqa_twostage.fuse.published_scores import score_name
from vqa_twostage.fuse.withholding import is_withheld
from vqa_twostage.pipeline.cache.exported_files import is_export
from vqa_twostage.pipeline.cache.feature_files import READERS, Wanted, read_features
from vqa_twostage.pipeline.cache.importing import (
    SAMPLER,
    SAMPLER_VERSION,
    ImportedFile,
    digest_of_rows,
    one_array,
    parse_columns,
    write_imported,
)
from vqa_twostage.pipeline.cache.label_names import is_opinion
from vqa_twostage.pipeline.cache.layout import TrackPath, tracks
from vqa_twostage.pipeline.cache.same_dataset import with_what_was_said
from vqa_twostage.pipeline.cache.score_tables import read_scores
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.video_names import MatchedNames
from vqa_twostage.pipeline.datasets.axes import BETTER
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.files import sha256_of
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec
from vqa_twostage.pipeline.wording import first_of

# files of arrays; every other one is read as a table
ARRAYS = set(READERS) - {".csv"}


@dataclass(frozen=True)
class ScoreColumn:
    """Where the scores are in a file; what is None may be left out where it is clear.

    ``column``: of a table its name, of an array the number from 0. ``id_column``: of a table, the
    names of the videos. ``key``: which array of a file.
    """

    column: str | None = None
    id_column: str | None = None
    key: str | None = None


@dataclass(frozen=True)
class ImportedScores:
    """What `import_scores` did.

    ``column``: where the scores were found. ``mirrored``: whether their sign was turned, since
    ``better`` is not the direction of the labels. ``srcc``: with the labels, of the scores as they
    are stored; None of fewer videos than figures are shown for. ``order``, ``missing``,
    ``otherwise``, ``ambiguous`` and ``unknown``: as of `pipeline.cache.importing.ImportedTrack`.
    """

    dataset: str
    name: str
    track: str
    file: str
    column: str
    videos: int
    written: int
    better: str
    mirrored: bool
    trained_on: list[str]
    srcc: float | None
    order: tuple[str, str] | None
    missing: list[str]
    otherwise: dict[str, str]
    ambiguous: dict[str, list[str]]
    unknown: list[str]
    next: str

    @property
    def is_like_the_label(self) -> bool:
        """Whether training will take them for the label itself (`fuse.leakage`)."""
        near = self.srcc is not None and abs(self.srcc) > MOST_SRCC
        return near and self.videos >= FEWEST_VIDEOS

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-fuse import-scores --json``."""
        return {**asdict(self), "order": list(self.order or ())}


def import_scores(
    manifest: Manifest,
    cache: Path,
    file: Path,
    name: str,
    chosen: ScoreColumn = ScoreColumn(),
    better: str = "higher",
    trained_on: str = "",
) -> ImportedScores:
    """Writes the scores in ``file`` as those of the model ``name``; a second time changes nothing.

    ``better``: which end of the scores is the better quality. ``trained_on``: the datasets from
    whose opinions the model learnt, joined by commas (`pipeline.identity.parse_opinions`).

    Raises:
        UsageError: The file cannot be read, it is not clear which column is meant, a score is no
            finite number, all are equal, or the cache holds other scores of that name; nothing was
            written.
    """
    name = score_name(name)
    require(better in BETTER, f"better must be {' or '.join(BETTER)}, not {better!r}")
    manifest = with_what_was_said(cache, manifest)
    found = _found_in(file, manifest, chosen)
    _check_scores(file, found)
    mirrored = better != manifest.better
    identity = TrackIdentity(
        "score",
        Spec(name, {"mirrored": "true"} if mirrored else {}),
        SAMPLER,
        sampler_version=SAMPLER_VERSION,
        source=sha256_of(file),
        key=found.key,
        columns=found.column,
        rows=digest_of_rows(found.order) if found.order else "",
        trained_on=trained_on,
    )
    path = TrackPath.of(cache, manifest.name, name, identity)
    _refuse_others(path, name, identity)
    ids = [video_id for video_id in manifest.rows["id"] if video_id in found.scores]
    scores = np.array([found.scores[video_id] for video_id in ids]) * (-1 if mirrored else 1)
    source = ImportedFile(
        file.name, file.stat().st_size, identity.source, found.key, found.column, "", ""
    )
    videos = {
        video_id: one_array(name, np.array([[score]], np.float32))
        for video_id, score in zip(ids, scores, strict=True)
    }
    written = write_imported(path, identity, manifest, source, videos).lacked
    labels = manifest.rows.set_index("id")["mos"][ids].to_numpy(np.float64)
    return ImportedScores(
        dataset=manifest.name,
        name=name,
        track=str(path),
        file=file.name,
        column=found.column,
        videos=len(ids),
        written=written,
        better=better,
        mirrored=mirrored,
        trained_on=list(identity.opinions),
        srcc=_srcc(scores, labels),
        order=(found.order[0], found.order[-1]) if found.order else None,
        missing=[video_id for video_id in manifest.rows["id"] if video_id not in found.scores],
        otherwise=found.matches.otherwise,
        ambiguous=found.matches.ambiguous,
        unknown=found.matches.unknown,
        next=_next_step(path, name),
    )


@dataclass(frozen=True)
class _Found:
    """``scores`` by id; ``key`` and ``column`` as of the identity. ``order``: the videos that the
    rows were taken to be, where nothing in the file names them.
    """

    scores: Mapping[str, float]
    key: str
    column: str
    matches: MatchedNames
    order: list[str] = field(default_factory=list)


def _found_in(file: Path, manifest: Manifest, chosen: ScoreColumn) -> _Found:
    require(
        not is_export(file),
        f"{file} is what vqa-cache export wrote; import the file that the scores came from, or "
        "merge the caches (vqa-cache merge)",
    )
    videos = dict(zip(manifest.rows["id"], manifest.rows["path"], strict=True))
    if file.suffix.lower() in ARRAYS:
        require(
            chosen.id_column is None,
            f"--id-column {chosen.id_column} is of tables, and {file} is none; leave it out",
        )
        return _found_in_arrays(file, manifest, videos, chosen)
    require(
        chosen.key is None, f"--key {chosen.key} is of arrays, and {file} is a table; leave it out"
    )
    table = read_scores(file, videos, manifest.label, chosen.id_column, chosen.column)
    scores = {video_id: table.scores[name] for name, video_id in table.matches.ids.items()}
    return _Found(scores, table.id_column, table.score_column, table.matches)


def _found_in_arrays(
    file: Path, manifest: Manifest, videos: Mapping[str, str], chosen: ScoreColumn
) -> _Found:
    """Of each video the mean over its frames; NaN is no score."""
    wanted = Wanted(list(videos), f"{manifest.name} has {len(videos)} videos", videos)
    found = read_features(file, chosen.key, wanted)
    require(
        not is_opinion(found.key.rpartition("/")[2], manifest.label),
        f"array {found.key} of {file} is the label by its name, and a label is no score of a "
        "model; choose another --key, or rename it if it is something else",
    )
    width = next(iter(found.videos.values())).shape[1] if found.videos else 1
    column = 0 if width == 1 and chosen.column is None else _one_of(file, width, chosen.column)
    means: dict[str, float] = {
        video_id: float(rows[:, column].mean(dtype=np.float64))
        for video_id, rows in found.videos.items()
    }
    return _Found(
        {video_id: mean for video_id, mean in means.items() if not np.isnan(mean)},
        found.key,
        f"{column}:{column + 1}",
        found.matches or MatchedNames(),
        list(found.videos) if found.by_row and found.matches is None else [],
    )


def _one_of(file: Path, width: int, text: str | None) -> int:
    columns = [] if text is None else parse_columns(text, width, f"--score-column {text}")
    require(
        len(columns) == 1,
        f"the array in {file} has {width} columns; choose one with --score-column, 0 to "
        f"{width - 1}",
    )
    return columns[0]


def _check_scores(file: Path, found: _Found) -> None:
    """UsageError where there are none, or they say nothing."""
    if not found.scores:
        names = ", ".join([*found.matches.unknown, *found.matches.ambiguous][:10]) or "no video"
        raise UsageError(
            f"{file} has scores of {names}, and none of them is a video of the dataset; give "
            "another --dataset"
        )
    with np.errstate(over="ignore"):  # what becomes infinite is refused
        scores = np.array(list(found.scores.values())).astype(np.float32)  # as they are stored
    wrong = [name for name, score in zip(found.scores, scores, strict=True) if np.isinf(score)]
    require(
        not wrong,
        f"column {found.column} of {file} has a score for {', '.join(wrong[:10])} that is beyond "
        "all float32; correct it, or leave it empty where there is no score",
    )
    require(
        len(scores) == 1 or bool(np.ptp(scores) > 0),
        f"column {found.column} of {file} has the same score for all {len(scores)} videos, "
        f"{scores[0]:g}; choose another --score-column",
    )


def _refuse_others(path: TrackPath, name: str, identity: TrackIdentity) -> None:
    """UsageError where the cache holds other scores of that name: a row says no more than it."""
    for other in tracks(path.cache, path.dataset):
        if other.name != name or other == path:
            continue
        with open_track(other) as track:
            if track.identity.kind == "score":
                raise UsageError(
                    f"{other} holds other scores called {name}, which differ in "
                    f"{track.identity.differs_in(identity)}; give another --name, or remove those "
                    f"first: vqa-cache rm {other}"
                )


def _next_step(path: TrackPath, name: str) -> str:
    """The command that makes rows of the scores, beside heads where there are features."""
    option = "" if str(path.cache) == "cache" else f" --cache {path.cache}"
    kinds = set()
    for other in tracks(path.cache, path.dataset):
        with open_track(other) as track:
            kinds.add(track.identity.kind)
    if kinds == {"score"}:
        row = f"train --baseline published:score={name}"
    else:
        row = f"ablate --score {name}"
    return f"vqa-fuse {row} --dataset {path.dataset}{option}"


def _srcc(scores: Float64[np.ndarray, " N"], labels: Float64[np.ndarray, " N"]) -> float | None:
    if is_withheld(len(scores)):
        return None
    srcc = metrics.srcc(scores, labels)
    return None if np.isnan(srcc) else srcc


def summary(result: ImportedScores) -> list[str]:
    """What an import did, in lines for people."""
    total = result.videos + len(result.missing)
    lines = [f"{result.file}, column {result.column}: {result.videos} of {total} videos"]
    if result.order:
        first, last = result.order
        lines.append(
            f"  its rows are taken to be the videos of {result.dataset} in their order, from "
            f"{first} to {last}"
        )
    if result.mirrored:
        lines.append("  mirrored: better quality is the other end of the labels")
    if result.trained_on:
        lines.append(f"  the model learnt from opinions of: {', '.join(result.trained_on)}")
    if result.srcc is not None:
        lines.append(f"  SRCC with the labels: {result.srcc:.3f} (N = {result.videos})")
        if result.srcc < 0:
            other = BETTER[1 - BETTER.index(result.better)]
            lines.append(
                f"  caution: better scores have worse labels; is {other} better? Remove them with "
                f"vqa-cache rm {result.track}, and import them with --better {other}"
            )
    if result.is_like_the_label:
        lines.append(
            "  caution: they rank the videos as the labels do, and training takes them for the "
            "label itself; is it the right column?"
        )
    if result.otherwise:
        shown = [f"{name} = {video_id}" for name, video_id in result.otherwise.items()]
        lines.append(f"  names that are not the ids: {first_of(shown, 3)}")
    done = f"{result.written} videos written"
    if not result.written:
        done = "holds all of that already, nothing was changed"
    return [*lines, f"{result.track}: {done}", f"next: {result.next}"]
