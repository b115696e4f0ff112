"""Scores of published models beside the heads: which of them options name, and the dataset that
such a row is computed on.

``vqa-fuse import-scores`` stores a model's scores as a track of the kind ``score``, of one column.
No head reads it; the baseline `published` reads nothing else. Its splits are those of the heads
beside it, since all are of the videos that every track and score holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from vqa_twostage.fuse.candidates import Candidates
from vqa_twostage.fuse.data import READS, Dataset, Features, choose_tracks, load_tracks
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache import choosing
from vqa_twostage.pipeline.cache.choosing import choose_dataset
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.errors import require
from vqa_twostage.pipeline.spec import NAME, Spec

# how a row is named: as published, and with a logistic fitted on each split
REFITS = ("none", "logistic")
# of a track's file, which tells apart two of one name
DIGEST = re.compile(r"-[0-9a-f]{10}")


def score_name(text: str) -> str:
    """What scores are stored as that people call ``text``: ``FAST-VQA`` -> ``fast_vqa``.

    UsageError where nothing is left that can be a name.
    """
    stem, digest = text, ""
    if found := DIGEST.search(text, max(0, len(text) - 11)):
        stem, digest = text[: found.start()], found[0]
    name = re.sub(r"[^a-z0-9]+", "_", stem.lower()).strip("_")
    require(
        NAME.fullmatch(name) is not None,
        f"{text!r} is no name of a model; begin it with a letter, as in DOVER or fast_vqa",
    )
    return name + digest


def score_of(options: TrainOptions) -> str:
    """The scores that the baseline of ``options`` reads, as they are stored; empty where features
    are read.
    """
    if options.baseline is None:
        return ""
    score = Candidates.of(spec.resolve("fuse.baselines", options.baseline).build()).score
    return score_name(score) if score else ""


def rows_of_scores(
    cache: Path, dataset: str | None, names: Collection[str], options: TrainOptions
) -> list[TrainOptions]:
    """Two rows of each score that is named (``all``: of every one in the cache): as published, and
    re-fitted.

    UsageError lists the scores where one of them is not there.
    """
    if not names:
        return []
    paths = _choose(cache, choose_dataset(cache, dataset), names)
    count = Counter(path.name for path in paths)
    rows = []
    for path in paths:
        score = path.name if count[path.name] == 1 else path.stem
        for refit in REFITS:
            chosen = {"score": score} | ({} if refit == "none" else {"refit": refit})
            baseline = str(Spec("published", chosen))
            rows.append(replace(options, baseline=baseline, spatial=None, temporal=None))
    return rows


def load_for(
    cache: Path,
    dataset: str | None,
    variants: Sequence[TrainOptions],
    reads: Streams[Collection[str]] = READS,
    max_ram: int | None = None,
) -> Dataset:
    """The tracks and the scores that ``variants`` read, of the videos that all of those hold;
    ``reads`` and ``max_ram`` as for `fuse.data.load_dataset`. `read_by` gives what one of them
    reads of it.
    """
    name = choose_dataset(cache, dataset)
    named = [score for options in variants if (score := score_of(options))]
    scores = _choose(cache, name, named) if named else []
    of_features = [options for options in variants if not score_of(options)]
    for options in variants:
        require(
            not score_of(options) or (options.spatial is None and options.temporal is None),
            f"{options.baseline} reads a published score and no features; leave out --spatial and "
            "--temporal",
        )
    paths = Streams(scores, scores)
    if of_features:
        tracks = of_features[0].spatial, of_features[0].temporal
        paths = choose_tracks(cache, name, *tracks)
    return load_tracks(load_cached_manifest(cache, name), paths, reads, max_ram, scores)


def read_by(data: Dataset, options: TrainOptions) -> Dataset:
    """``data`` as `load_for` gave it, with the score alone that ``options`` name; as it is where
    they read features.

    UsageError where that score was not loaded, or is no column of finite numbers.
    """
    name = score_of(options)
    if not name:
        return data
    found = [track for track in data.scores if name in (track.path.name, track.path.stem)]
    require(len(found) == 1, f"the scores {name} are not loaded; load them with load_for")
    _check_score(found[0])
    side = (found[0],)
    return replace(data, features=Streams(side, side), scores=())


def _check_score(track: Features) -> None:
    """A track may come from a stranger."""
    arrays = [np.asarray(array[:]) for array in track.arrays.values()]
    sound = len(arrays) == 1 and arrays[0].shape[1:] == (1, 1) and np.isfinite(arrays[0]).all()
    require(
        bool(sound),
        f"{track.path} is not what vqa-fuse import-scores writes, one finite number for each "
        "video; import the scores again",
    )


def _choose(cache: Path, dataset: str, names: Collection[str]) -> list[TrackPath]:
    wanted = [name if name == choosing.ALL else score_name(name) for name in names]
    return choosing.choose_tracks(cache, dataset, {"score": wanted}, ["score"])["score"]
