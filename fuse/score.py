"""Raw video in, score out: the one place where both stages meet. Frames are sampled and features
extracted by the sampler, the networks and the weights that the model was trained on.

Dimensions: T frames (or clips) of a video.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.data import Features, Side, frames_of
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.learning.model import HeadOutput
from vqa_twostage.fuse.learning.novelty import percentile_of
from vqa_twostage.fuse.learning.scorer import Scorer, Training
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.video_score import Frame, Score
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, provenance
from vqa_twostage.pipeline.cache.layout import tracks as tracks_of
from vqa_twostage.pipeline.datasets.videos import find_videos
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.features import STATISTICS, VideoFeatures
from vqa_twostage.pipeline.identity import OF_A_SCORED_VIDEO, TrackIdentity
from vqa_twostage.pipeline.spec import is_local_path
from vqa_twostage.pipeline.user_cache import user_cache

__all__ = ["Frame", "Score", "default_cache", "load", "score"]

logger = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "delivery" / "heads" / "demo.safetensors"
# the name of scored videos in a cache, beside the names of datasets
SCORED = "scored"
# a video is far from the training videos beyond this percentile of their own distances
FAR_PERCENTILE = 99
DIGEST_DIGITS = 32  # of a file's content, which name it in the cache of scored videos


def load(run: str | Path | None = None) -> Scorer:
    """The model of a run or of an exported folder, by default the one that ships with this package.

    UsageError where there is none.
    """
    if run is None:
        return scorer_file.load_file(SHIPPED)
    if not isinstance(run, str | os.PathLike):
        raise UsageError(
            f"a run is given as {run!r}, of type {type(run).__name__}; give the folder of a run or "
            "of an exported model, or a model that fuse.score.load returned"
        )
    return scorer_file.load(Path(run))


def score(
    videos: str | Path | Iterable[str | Path],
    run: str | Path | Scorer | None = None,
    cache: str | Path | None = None,
    device: str = "auto",
    workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    limits: str = "",
) -> list[Score]:
    """Scores videos with a trained model; `vqa-fuse score` is this function.

    The score of a video depends on no other video. A video that cannot be used has an ``error``,
    and the others are scored nevertheless.

    Args:
        videos: One or many files, folders or patterns, as
            `vqa_twostage.pipeline.datasets.videos.find_videos` takes them; each video is scored
            once, however often it is named.
        run: The folder of a run or of an exported model, a model that `load` returned, or None for
            the model that ships with this package.
        cache: The folder where features are kept, so that a second call is instant; None keeps
            nothing.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        workers: Decoding processes; 0 is one for every two cores.
        on_progress: Called with the number of videos that are done, and of all.
        limits: What a video may take, as text such as ``"memory=16"``; what is left out is as in
            `vqa_twostage.pipeline.limits.Limits`. One that exceeds it has an ``error``.

    Returns:
        One `Score` for each video, in their order, on the scale of the model's training labels.

    Raises:
        UsageError: There is no model or no video, or the features that the model reads cannot be
            extracted here.
    """
    scorer = run if isinstance(run, Scorer) else load(run)
    paths, others = find_videos(videos)
    if others:
        logger.info("not scored: %d files that are no videos, such as %s", len(others), others[0])
    options = ExtractOptions(device=device, workers=workers, limits=limits)
    with ExitStack() as stack:
        if cache is None:
            cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="vqa-score-"))
        return _score_files(paths, scorer, Path(cache), options, on_progress)


def default_cache() -> Path:
    """The folder where `vqa-fuse score` keeps features: ``~/.cache/vqa-twostage``, or below
    ``$XDG_CACHE_HOME``.
    """
    try:
        folder = user_cache("vqa-twostage")
        folder.mkdir(parents=True, exist_ok=True)
    except (RuntimeError, OSError) as error:
        raise UsageError(
            f"there is no home folder to keep features in ({error}); give --cache or --no-cache"
        ) from None
    return folder


def _score_files(
    paths: Sequence[Path],
    scorer: Scorer,
    cache: Path,
    options: ExtractOptions,
    on_progress: Callable[[int, int], None],
) -> list[Score]:
    training = scorer.training
    unscored = Score(
        "",
        scale=training.scale,
        label=training.label,
        better=training.better,
        trained_on=training.title,
    )
    digests, errors = _digests_of(paths)
    with ExitStack() as stack:
        tracks: list[cached.Track] = []
        if digests:
            files = {digest: path.resolve() for path, digest in digests.items()}
            track_paths, reasons = _extract(files, training, cache, options, on_progress)
            tracks = [stack.enter_context(cached.open_track(path)) for path in track_paths]
            errors |= {path: reasons[name] for path, name in digests.items() if name in reasons}
        return [
            replace(unscored, video=str(path), error=errors[path])
            if path in errors
            else _score_video(replace(unscored, video=str(path)), digests[path], scorer, tracks)
            for path in paths
        ]


def _digests_of(paths: Sequence[Path]) -> tuple[dict[Path, str], dict[Path, str]]:
    """The digest of each file's content, which names it in the cache, and the reasons why some
    files cannot be read.
    """
    digests: dict[Path, str] = {}
    errors: dict[Path, str] = {}
    for path in paths:
        try:
            digests[path] = Source.of(path).digest[:DIGEST_DIGITS]
        except VideoError as error:
            errors[path] = str(error)
    return digests, errors


def _extract(
    files: dict[str, Path],
    training: Training,
    cache: Path,
    options: ExtractOptions,
    on_progress: Callable[[int, int], None],
) -> tuple[list[TrackPath], dict[str, str]]:
    """The tracks that the model reads, in the order of `Training.distinct`, with the features of
    ``files`` (by digest); and the reasons why some files have none, by digest.

    What ``cache`` holds already is not extracted again, and no network is loaded for it.
    """
    wanted = training.distinct
    _check_extractable(training, wanted)
    cached_tracks = [_most_complete_track(cache, identity, files.keys()) for identity in wanted]
    if all(held == files.keys() for _, held in cached_tracks):
        return [path for path, _ in cached_tracks if path is not None], {}
    found: dict[str, TrackPath] = {}
    reasons: dict[str, str] = {}
    for together in _of_one_pass(wanted):
        paths, failed = _extract_together(files, together, training, cache, options, on_progress)
        found |= dict(zip((track.to_text() for track in together), paths, strict=True))
        reasons |= failed
    return [found[identity.to_text()] for identity in wanted], reasons


def _of_one_pass(identities: Sequence[TrackIdentity]) -> list[list[TrackIdentity]]:
    """Tracks that are extracted together: of the same frames, by the same runtime, and with a
    spatial one among them where there is any, which every extraction has.
    """
    passes: dict[tuple[str, str, str], list[TrackIdentity]] = {}
    for identity in identities:
        key = str(identity.sampler), identity.precision, identity.hdr
        passes.setdefault(key, []).append(identity)
    return list(passes.values())


def _extract_together(
    files: dict[str, Path],
    wanted: list[TrackIdentity],
    training: Training,
    cache: Path,
    options: ExtractOptions,
    on_progress: Callable[[int, int], None],
) -> tuple[list[TrackPath], dict[str, str]]:
    """`_extract` of tracks that one extraction makes."""
    # heavy, and not needed where everything is in the cache
    from vqa_twostage.extract.extraction.loop import extract_videos
    from vqa_twostage.extract.extraction.plan import plan_tracks
    from vqa_twostage.extract.inference.runtime import Runtime

    options = options_for(wanted, options)
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(files))
    try:
        plan = plan_tracks(SCORED, cache, options, runtime)
    except UsageError as error:
        raise UsageError(
            f"the features of {training.title} that the model reads cannot be extracted here: "
            f"{error}"
        ) from None
    for identity, track in zip(wanted, plan.tracks, strict=True):
        _check_same(training, identity, track.identity)
    results = extract_videos(files.items(), plan, provenance(), on_progress=on_progress)
    for note in results.notes:
        logger.warning("%s: %s", files[note.id], note.note)
    held = [_up_to_date(track.path, files.keys()) for track in plan.tracks]
    changed = "the file changed while it was read; score it again"
    reasons = {name: changed for name in files if not all(name in ids for ids in held)}
    reasons |= {failure.id: failure.reason for failure in results.failed}
    return [track.path for track in plan.tracks], reasons


def _check_extractable(training: Training, wanted: list[TrackIdentity]) -> None:
    """UsageError where no video can have features as those the model was trained on."""
    if any(identity.imported for identity in wanted):
        raise UsageError(
            f"the features of {training.title} were imported: no program here extracts them from a "
            "video"
        )
    for identity in wanted:
        if identity.sampler.options.get("importance", "none") != "none":
            raise UsageError(
                f"the model of {training.title} samples frames by what a run has learnt of each "
                "video, and of a new video nothing is known; train with another sampler to score "
                "videos"
            )
        for spec in (identity.extractor, identity.sampler):
            # the identities of our own tracks hold neither; a model may come from a stranger
            if spec.options.get("weights", "none") != "none" or any(
                is_local_path(value) for value in spec.options.values()
            ):
                raise UsageError(f"this model names a file to read ({spec}); it is refused")


def _most_complete_track(
    cache: Path, wanted: TrackIdentity, ids: Collection[str]
) -> tuple[TrackPath | None, set[str]]:
    """Of the tracks with the identity ``wanted`` the one that holds most of ``ids``, and which."""
    candidates: list[tuple[TrackPath | None, set[str]]] = [(None, set())]
    for path in tracks_of(cache, SCORED) if cache.is_dir() else []:
        with cached.open_track(path) as track:
            same = not track.identity.differences(wanted, ignoring=OF_A_SCORED_VIDEO)
        if same:
            candidates.append((path, _up_to_date(path, ids)))
    return max(candidates, key=lambda item: (len(item[1]), item[0] is not None))


def _up_to_date(path: TrackPath, ids: Collection[str]) -> set[str]:
    """Those of ``ids`` whose features are of that very content: a file may change between the
    moment its digest is taken and decoding.
    """
    with cached.open_track(path) as track:
        return {
            name
            for name in set(ids) & set(track.ids)
            if track.attributes(name).source_digest.startswith(name)
        }


def options_for(
    identities: Sequence[TrackIdentity], options: ExtractOptions | None = None
) -> ExtractOptions:
    """The options with which stage one extracts tracks of these identities, the spatial ones first;
    what no identity holds (device, workers …) is taken from ``options``.
    """
    first = identities[0]
    precision, _, runtime = first.precision.partition(" ")
    spatial, temporal = (
        tuple(str(identity.extractor) for identity in identities if identity.kind == kind)
        for kind in ("spatial", "temporal")
    )
    return replace(
        options or ExtractOptions(),
        spatial=spatial,
        temporal=temporal,
        sampler=str(first.sampler),
        decoder="auto",
        hdr=first.hdr or "tonemap",
        precision=precision,
        # never "auto", which depends on the number of videos: OpenVINO's features differ in their
        # last digits
        runtime=runtime or "torch",
    )


def _check_same(training: Training, wanted: TrackIdentity, planned: TrackIdentity) -> None:
    differences = wanted.differences(planned, ignoring=OF_A_SCORED_VIDEO)
    if not differences:
        return
    lines = "".join(f"\n  {field}: {then} then, {now} now" for field, then, now in differences)
    raise UsageError(
        f"the model was trained on {wanted.kind} features of {training.title} that cannot be "
        f"extracted here:{lines}\n"
        "Extract and train again with what is installed now, or install what was used then. "
        "Weights that came from a file are not kept with a model: such a model scores no video"
    )


def _score_video(
    unscored: Score, digest: str, scorer: Scorer, tracks: Sequence[cached.Track]
) -> Score:
    training = scorer.training
    stored, features = _read_streams(training, tracks, digest, scorer.reads)
    scores, output, distances = scorer.predict_with_details(features)
    value, distance = float(scores[0]), float(distances[0])
    if not (math.isfinite(value) and math.isfinite(distance)):
        error = "the model gives no number: it is damaged, or was not trained on such features"
        return replace(unscored, error=error)
    return replace(
        unscored,
        score=value,
        percentile=percentile_of(value, training.mos),
        distance=distance,
        far=bool(distance > training.novelty.distances[FAR_PERCENTILE]),
        damage=stored.attributes.damage,
        frames=_frames(stored, _frame_scores(scorer, features), _frame_weights(output)),
    )


def _read_streams(
    training: Training,
    tracks: Sequence[cached.Track],
    digest: str,
    reads: Streams[tuple[str, ...]],
) -> tuple[VideoFeatures, Streams[Side]]:
    """The entry of a video in the track whose frames stand for those of the spatial stream, and the
    video as a batch of one for both streams.
    """
    of_track = dict(zip((track.to_text() for track in training.distinct), tracks, strict=True))
    without = STATISTICS - {*reads.spatial, *reads.temporal}
    stored = {text: track.read(digest, without=without) for text, track in of_track.items()}
    features = training.tracks.map(
        lambda side, names: tuple(
            _as_batch(of_track[track.to_text()], stored[track.to_text()]).only(names)
            for track in side
        ),
        reads,
    )
    frames = features.spatial.index(frames_of(features.spatial))
    return stored[training.tracks.spatial[frames].to_text()], features


def _as_batch(track: cached.Track, video: VideoFeatures) -> Features:
    return Features(
        TrackPath.parse(track.path),
        track.identity,
        {name: array[None] for name, array in video.arrays.items()},
        np.ones((1, len(video.timestamp)), bool),
        video.timestamp[None],
    )


def _frames(
    stored: VideoFeatures,
    scores: Float[np.ndarray, " T"],
    weights: Float[np.ndarray, " T"],
) -> list[Frame]:
    rows = zip(stored.frame_index, stored.timestamp, scores, weights, strict=True)
    return [
        Frame(
            int(index), float(time), float(alone) if math.isfinite(alone) else None, float(weight)
        )
        for index, time, alone, weight in rows
    ]


def _frame_weights(output: HeadOutput) -> Float[np.ndarray, " T"]:
    """How much each frame counts: the mean of both streams where they hold the same number of
    frames, else that of the spatial one.
    """
    spatial, temporal = output.weights
    weights = spatial[0].double().numpy()
    if temporal.shape == spatial.shape:
        weights = (weights + temporal[0].double().numpy()) / 2
    return weights / weights.sum()


def _frame_scores(scorer: Scorer, features: Streams[Side]) -> Float[np.ndarray, " T"]:
    """The score of each frame as if it were the whole video; NaN where the tracks hold different
    frames.
    """
    times = frames_of(features.spatial).timestamp
    if not all(np.array_equal(track.timestamp, times) for side in features for track in side):
        return np.full(times.shape[1], np.nan)
    return scorer.scores(features.map(lambda side: tuple(map(_frames_as_videos, side))))


def _frames_as_videos(track: Features) -> Features:
    """A video of T frames as T videos of one frame."""
    arrays = {name: np.moveaxis(array[:], 0, 1) for name, array in track.arrays.items()}
    return Features(track.path, track.identity, arrays, track.mask.T, track.timestamp.T)
