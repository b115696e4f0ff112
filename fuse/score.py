"""Raw video in, score out: the one place where both stages meet. Sampler, networks and weights are
those of the model.

Letters: T frames (or clips) of a video.
"""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from vqa_twostage.extract.decoding.workers import Source
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.data import Features, read_features
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.fuse.learning.novelty import percentile_of
from vqa_twostage.fuse.learning.scorer_file import Scorer, Training
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.layout import tracks as tracks_of
from vqa_twostage.pipeline.datasets.manifest import COLUMNS, Manifest
from vqa_twostage.pipeline.errors import VideoError, require
from vqa_twostage.pipeline.identity import OF_A_SCORED_VIDEO, TrackIdentity
from vqa_twostage.pipeline.spec import is_local_path

SHIPPED = Path(__file__).parent / "delivery" / "heads" / "demo.safetensors"
# the name of scored videos in a cache, among datasets
SCORED = "scored"
# a training video in a hundred lies farther than this percentile of them
FAR = 99.0


class Frame(TypedDict):
    """A frame that was looked at, or the first of a clip."""

    index: int
    """Its number in the video."""
    time: float
    """When it is shown, in seconds."""
    score: float | None
    """Of it alone; None where the two tracks have other frames."""
    weight: float
    """How much it counts; 1 over all frames."""


@dataclass(frozen=True)
class Score:
    """What a model says of one video; where there is an ``error``, nothing but that."""

    video: str
    score: float | None = None
    """On the scale of the training labels."""
    error: str = ""
    """Why there is no score."""
    percentile: float | None = None
    """Of the training videos' labels, 0 to 100, that the score is above."""
    distance: float | None = None
    """From the training videos; 1 is typical."""
    far: bool = False
    """Whether hardly any training video is as far."""
    damage: str = ""
    """What is wrong with a file that was scored as far as it goes."""
    frames: list[Frame] = field(default_factory=list)


def load(model: Path | None = None) -> Scorer:
    """The model of a run or an exported folder, by default the one that ships with this package.

    UsageError where there is none, or one of an early version, which does not know what features it
    reads.
    """
    scorer = saved.load_file(SHIPPED) if model is None else saved.load(model)
    require(
        scorer.training is not None,
        f"{model} was trained by an earlier version, which did not keep what is needed to score a "
        "video; train again",
    )
    return scorer


def score(
    videos: Sequence[Path],
    model: Path | Scorer | None = None,
    cache: Path | None = None,
    device: str = "auto",
    workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Score]:
    """Scores video files with a model, each by itself: its score depends on no other; `vqa-fuse
    score` is this.

    A video that cannot be used has an ``error``, and the others go on. Videos are decoded in
    processes of their own, which import nothing of the program that calls this.

    Args:
        videos: Files; `pipeline.datasets.videos.find_videos` finds them in folders and patterns.
        model: A run, an exported folder, a model that is loaded, or None for the one that ships
        with this package. cache: Where features are kept, so that a second call is instant; None
        keeps nothing. device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. workers: Decoding
        processes; 0 is one per two cores. on_progress: Called with the number of videos that are
        done, and of all.

    Returns:
        A score a video, in their order, on the scale of the model's training labels
        (``load(model).training.scale``).

    Raises:
        UsageError: There is no model, or its features cannot be made here.
    """
    scorer = model if isinstance(model, Scorer) else load(model)
    training = scorer.training
    assert training is not None
    folder = (
        nullcontext(cache)
        if cache is not None
        else tempfile.TemporaryDirectory(prefix="vqa-score-")
    )
    with folder as where:
        manifest, digests, errors = _as_manifest(videos)
        if not len(manifest):  # nothing to make features of
            return [Score(str(video), error=errors[str(video)]) for video in videos]
        paths, reasons = _features(
            manifest,
            training,
            Path(where),
            ExtractOptions(device=device, workers=workers),
            on_progress,
        )
        with ExitStack() as stack:
            tracks = [stack.enter_context(cached.open_track(path)) for path in paths]
            found = []
            for video, digest in zip(videos, digests, strict=True):
                error = errors.get(str(video)) or reasons.get(digest, "")
                found.append(
                    Score(str(video), error=error)
                    if error
                    else _scored(str(video), digest, scorer, tracks)
                )
    return found


def _as_manifest(videos: Sequence[Path]) -> tuple[Manifest, list[str], dict[str, str]]:
    """Each content once, named by its digest; the digests of all ``videos``, and why some cannot be
    read.
    """
    digests: list[str] = []
    errors: dict[str, str] = {}
    files: dict[str, str] = {}
    for video in videos:
        try:
            digest = Source.of(video).digest[:32]
            files.setdefault(digest, str(video.resolve()))
        except VideoError as error:
            digest, errors[str(video)] = "", str(error)
        digests.append(digest)
    rows = pd.DataFrame(
        [(name, path, math.nan, math.nan, name, "") for name, path in files.items()],
        columns=COLUMNS,
    )
    return Manifest(SCORED, SCORED, "", (0.0, 1.0), rows, Path("/")), digests, errors


def _features(
    manifest: Manifest,
    training: Training,
    cache: Path,
    options: ExtractOptions,
    on_progress: Callable[[int, int], None],
) -> tuple[list[TrackPath], dict[str, str]]:
    """The spatial and the temporal track with the features of ``manifest``; why some videos have
    none, by id.
    """
    wanted = training.tracks if training.tracks[0] != training.tracks[1] else training.tracks[:1]
    imported = any(track.imported for track in wanted)
    require(
        not imported,
        f"the features of {training.title} were imported: no program here makes them of a video",
    )
    specs = [spec for track in wanted for spec in (track.extractor, track.sampler)]
    require(
        not any(
            "importance" in spec.options and spec.options["importance"] != "none" for spec in specs
        ),
        f"the model of {training.title} samples frames by what a run has learnt of each video: of "
        "a new one nothing is "
        "known; train with another sampler to score videos",
    )
    for spec in specs:
        named = [value for value in spec.options.values() if is_local_path(value)]
        require(not named, f"this model names a file to read ({spec}); it is refused")
    ids, reasons = set(manifest.rows["id"]), {}
    kept = [_kept(cache, track, ids) for track in wanted]
    if not all(ids == held for _, held in kept):
        # heavy, and not needed where everything is kept
        from vqa_twostage.extract.inference.runtime import Runtime
        from vqa_twostage.extract.run import extract_videos, plan_tracks

        options = _options(wanted, options)
        runtime = Runtime.of(options.runtime, options.device, options.precision, len(manifest))
        plans = plan_tracks(SCORED, cache, options, runtime)
        for track, plan in zip(wanted, plans, strict=True):
            _check_same(training, track, plan.identity)
        outcome = extract_videos(manifest, plans, options, runtime, defaultdict(float), on_progress)
        changed = "the file changed while it was read; score it again"
        kept = [(plan.path, _whole(plan.path, ids)) for plan in plans]
        reasons = {name: changed for name in ids if not all(name in held for _, held in kept)}
        reasons |= {item["id"]: item["reason"] for item in outcome["failed"]}
    paths = [path for path, _ in kept if path is not None]
    return [paths[0], paths[-1]], reasons


def _kept(cache: Path, wanted: TrackIdentity, ids: set[str]) -> tuple[TrackPath | None, set[str]]:
    """Of the tracks made as ``wanted`` the one with most of ``ids``, and which: before any network
    is loaded.
    """
    found: list[tuple[TrackPath | None, set[str]]] = [(None, set())]
    for path in tracks_of(cache, SCORED) if cache.is_dir() else []:
        with cached.open_track(path) as track:
            alike = not track.identity.differences(wanted, ignoring=OF_A_SCORED_VIDEO)
        if alike:
            found.append((path, _whole(path, ids)))
    return max(found, key=lambda item: (len(item[1]), item[0] is not None))


def _whole(path: TrackPath, ids: set[str]) -> set[str]:
    """Those of ``ids`` whose features are of that very content: a file may change between a look at
    it and decoding.
    """
    with cached.open_track(path) as track:
        there = ids & set(track.ids)
        return {name for name in there if track.attributes(name).source_digest.startswith(name)}


def _options(tracks: list[TrackIdentity], options: ExtractOptions) -> ExtractOptions:
    """What `vqa-extract` would have to be told to make such tracks."""
    first = tracks[0]
    precision, _, runtime = first.precision.partition(" ")
    given = {
        **asdict(options),
        "spatial": str(first.extractor),
        "temporal": tuple(str(track.extractor) for track in tracks[1:]),
        "sampler": str(first.sampler),
        "decoder": "auto",
        "precision": precision,
        "runtime": runtime
        # whatever the number of videos: figures of OpenVINO differ in their last digits
        or "torch",
    }
    return ExtractOptions(**given)


def _check_same(training: Training, wanted: TrackIdentity, planned: TrackIdentity) -> None:
    differences = wanted.differences(planned, ignoring=OF_A_SCORED_VIDEO)
    lines = "".join(f"\n  {field}: {then} then, {now} now" for field, then, now in differences)
    require(
        not differences,
        f"the model was trained on {wanted.kind} features of {training.title} that cannot be "
        f"made here:{lines}\n"
        "Extract and train again with what is installed now, or install what was used then. "
        "Weights that came from a file are not kept with a model: such a model scores no video",
    )


def _scored(video: str, digest: str, scorer: Scorer, tracks: list[cached.Track]) -> Score:
    training = scorer.training
    assert training is not None
    spatial, temporal = (
        read_features(track, [digest], reads)
        for track, reads in zip(tracks, scorer.reads, strict=True)
    )
    scores, answer, distances = scorer.looked(spatial, temporal)
    value, distance = float(scores[0]), float(distances[0])
    weights = answer.spatial_weights[0].double().numpy()
    if answer.temporal_weights.shape == answer.spatial_weights.shape:
        weights = (weights + answer.temporal_weights[0].double().numpy()) / 2
    if not (math.isfinite(value) and math.isfinite(distance)):
        return Score(
            video,
            error="the model gives no number: it is damaged, or was not trained on such features",
        )
    curve = _each_frame(scorer, spatial, temporal)
    return Score(
        video,
        value,
        damage=tracks[0].attributes(digest).damage,
        percentile=percentile_of(value, training.mos),
        distance=distance,
        far=bool(distance > training.familiar.distances[round(FAR)]),
        frames=[
            {
                "index": int(index),
                "time": float(time),
                "score": float(of_frame) if known else None,
                "weight": float(weight),
            }
            for index, time, of_frame, weight in zip(
                tracks[0].read(digest, without=("grid",)).frame_index,
                *(spatial.timestamp[0], curve, weights / weights.sum()),
                strict=True,
            )
            for known in [math.isfinite(of_frame)]
        ],
    )


def _each_frame(scorer: Scorer, spatial: Features, temporal: Features) -> np.ndarray:
    """The score of each frame as if it were the whole video; NaN where the two tracks have other
    frames.
    """
    count = spatial.mask.shape[1]
    if not np.array_equal(spatial.timestamp, temporal.timestamp):
        return np.full(count, np.nan)
    return scorer.scores(*(_as_videos(track) for track in (spatial, temporal)))


def _as_videos(track: Features) -> Features:
    """A video of T frames as T videos of one frame."""
    arrays = {name: np.moveaxis(array, 0, 1) for name, array in track.arrays.items()}
    return Features(track.path, track.identity, arrays, track.mask.T, track.timestamp.T)


def as_document(found: Sequence[Score], model: Scorer) -> list[dict[str, Any]]:
    """The document of ``vqa-fuse score --json``."""
    training = model.training
    assert training is not None
    of_all = {"scale": list(training.scale), "label": training.label, "better": training.better}
    return [{**asdict(item), **of_all, "trained_on": training.title} for item in found]
