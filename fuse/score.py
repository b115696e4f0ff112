"""Raw video in, score out: the one place where both stages meet. Frames are sampled and features
extracted by the sampler, the networks and the weights that the model was trained on.

Dimensions: T frames (or clips) of a video.
"""

from __future__ import annotations

import logging
import math
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float

from vqa_twostage.extract.decoding.fetching import Scratch, copied_in_parts
from vqa_twostage.extract.decoding.source import Source
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.copied_scores import score_copies
from vqa_twostage.fuse.data import Features, Side, frames_of
from vqa_twostage.fuse.delivery.model_cards import SHIPPED
from vqa_twostage.fuse.delivery.named_models import load_named
from vqa_twostage.fuse.interval import parse_interval
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.learning.model import HeadOutput
from vqa_twostage.fuse.learning.novelty import percentile_of
from vqa_twostage.fuse.learning.scorer import AxisOfScorer, Scorer, Training
from vqa_twostage.fuse.scored_tracks import Extraction, tracks_of_files, up_to_date
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.fuse.timeline import sampled_every
from vqa_twostage.fuse.video_score import AxisScore, Frame, Moment, Score
from vqa_twostage.pipeline.addresses import CACHE_ADVICE, require_local
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.datasets.videos import find_videos
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.features import STATISTICS, VideoFeatures
from vqa_twostage.pipeline.limits import SCRATCH_GB
from vqa_twostage.pipeline.notebook import bar_in_notebook
from vqa_twostage.pipeline.remote_files import RemoteFile
from vqa_twostage.pipeline.user_cache import user_cache

__all__ = ["Frame", "Score", "default_cache", "load", "score"]

logger = logging.getLogger(__name__)

# a video is far from the training videos beyond this percentile of their own distances
FAR_PERCENTILE = 99
# what the videos are seen as in one pass over them, and the features of it
_Pass = tuple[Training, list[cached.Track]]
DIGEST_DIGITS = 32  # of a file's content, which name it in the cache of scored videos


def load(run: str | Path | None = None, model: str | None = None) -> Scorer:
    """The model of a run or of an exported folder; or the ``model`` of a name, as in
    `fuse.delivery.named_models.load_named`; by default the one that ships with this package.

    UsageError where there is none.
    """
    if run is not None and model is not None:
        raise UsageError(f"a run ({run}) and a model ({model}) are given; give one of them")
    if run is None:
        return load_named(SHIPPED if model is None else model)
    if not isinstance(run, str | os.PathLike):
        raise UsageError(
            f"a run is given as {run!r}, of type {type(run).__name__}; give the folder of a run or "
            "of an exported model, or a model that fuse.score.load returned"
        )
    return scorer_file.load(Path(run))


@bar_in_notebook("score")
def score(  # noqa: PLR0913 - the options of the command
    videos: str | Path | RemoteFile | Iterable[str | Path | RemoteFile],
    run: str | Path | Scorer | None = None,
    cache: str | Path | None = None,
    device: str = "auto",
    workers: int = 0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    limits: str = "",
    every: float | int | str | None = None,
    on_score: Callable[[Score], None] | None = None,
    worse_than: float | None = None,
    scratch: str | Path = "",
    scratch_gb: float = SCRATCH_GB,
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
        on_progress: Called with the number of videos that are done, and of all; left out, a
            notebook shows a bar.
        limits: What a video may take, as text such as ``"memory=16"``; what is left out is as in
            `vqa_twostage.pipeline.limits.Limits`. One that exceeds it has an ``error``.
        every: Also a timeline of each video: seconds from one moment to the next, as ``1`` or
            ``"500ms"``. It decodes each video a second time.
        on_score: Called with each score once, about a second after its video is done; the order is
            that in which videos are done.
        worse_than: A score of the model's scale: `Score.spans` are the parts of the timeline that
            are worse. ``every`` is then a second unless given.
        scratch: The folder that videos at addresses (``s3://bucket/clip.mp4``) are copied to until
            they are scored; "" is that of temporary files.
        scratch_gb: GB (10^9 bytes) that these copies may take at once.

    Returns:
        One `Score` for each video, in their order, on the scale of the model's training labels.

    Raises:
        UsageError: There is no model or no video, ``worse_than`` lies outside of the scale, or the
            features that the model reads cannot be extracted here.
    """
    if every is None and worse_than is not None:
        every = 1
    seconds = None if every is None else parse_interval(str(every))
    scorer = run if isinstance(run, Scorer) else load(run)
    require_within_scale(scorer, worse_than)
    paths, others = find_videos(videos)
    if others:
        logger.info("not scored: %d files that are no videos, such as %s", len(others), others[0])
    if cache is not None:
        require_local(cache, "the cache", CACHE_ADVICE)
    options = ExtractOptions(device=device, workers=workers, limits=limits)
    files = [path for path in paths if isinstance(path, Path)]
    if len(files) < len(paths):
        return score_copies(
            copied_in_parts(paths, Scratch(str(scratch), scratch_gb)),
            len(paths),
            lambda copies, told, on_copy: score(
                *(copies, scorer, cache, device, workers, told, limits, seconds, on_copy),
                worse_than=worse_than,
            ),
            lambda name: replace(_unscored(Path(), scorer, ""), video=name),
            on_progress,
            on_score,
        )
    if device != "auto":  # also where everything is kept: a service is to fail when it starts
        from vqa_twostage.extract.inference.runtime import choose_device

        choose_device(device)
    with ExitStack() as stack:
        if cache is None:
            cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="vqa-score-"))
        extraction = Extraction(Path(cache), options, on_progress)
        return _score_files(files, scorer, extraction, seconds, on_score, worse_than)


def require_within_scale(scorer: Scorer, worse_than: float | None) -> None:
    """UsageError unless the threshold, where there is one, is a score that the model can give."""
    low, high = scorer.training.scale
    if worse_than is not None and not low < worse_than < high:
        raise UsageError(
            f"spans worse than {worse_than:g} are asked for, and this model's scores are on a "
            f"scale of {low:g} to {high:g} ({scorer.training.better} is better); give one between"
        )


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
    extraction: Extraction,
    every: float | None,
    on_score: Callable[[Score], None] | None,
    worse_than: float | None,
) -> list[Score]:
    """The scores of ``paths``, in their order."""
    digests, errors = _digests_of(paths)
    found = _Scores(scorer, digests, on_score, worse_than)
    found.fail(errors)
    files = {digest: path.resolve() for path, digest in digests.items()}
    passes = [scorer.training]
    if every is not None:
        passes.append(sampled_every(every, scorer.training))
    for training in passes if files else []:
        listening = on_score is not None and training is passes[-1]
        look = partial(found.look, training) if listening else None
        tracks, reasons = tracks_of_files(files, training, extraction, look)
        failed = {path: reasons[digest] for path, digest in digests.items() if digest in reasons}
        if found.passes:
            for path, reason in failed.items():
                logger.warning("%s has no timeline: %s", path, reason)
        else:
            found.fail(failed)
            files = {digest: file for digest, file in files.items() if digest not in reasons}
        found.passes.append((training, tracks))
    found.finish()
    return [found.scores[path] for path in paths]


class _Scores:
    """The scores of videos, each computed once, when all its features are there."""

    def __init__(
        self,
        scorer: Scorer,
        digests: Mapping[Path, str],
        on_score: Callable[[Score], None] | None,
        worse_than: float | None,
    ) -> None:
        self.scorer, self.digests, self.on_score = scorer, digests, on_score
        self.worse_than = worse_than
        self.scores: dict[Path, Score] = {}
        self.passes: list[tuple[Training, list[TrackPath]]] = []

    def fail(self, reasons: Mapping[Path, str]) -> None:
        for path, reason in reasons.items():
            digest = self.digests.get(path, "")
            self._put(path, replace(_unscored(path, self.scorer, digest), error=reason))

    def look(self, training: Training, committed: list[TrackPath]) -> None:
        """Scores the videos that the tracks of all passes hold by now."""
        with ExitStack() as stack:
            opened = _opened(stack, [*self.passes, (training, committed)])
            ready = {digest for path, digest in self.digests.items() if path not in self.scores}
            for _, tracks in opened:
                for track in tracks:
                    ready = up_to_date(track, ready)
            self._score(opened, ready)

    def finish(self) -> None:
        """Scores the videos that are left, those without a timeline too."""
        with ExitStack() as stack:
            self._score(_opened(stack, self.passes), set(self.digests.values()))

    def _score(self, opened: Sequence[_Pass], digests: Collection[str]) -> None:
        for path, digest in self.digests.items():
            if path not in self.scores and digest in digests:
                self._put(path, _score_video(path, digest, self.scorer, opened))

    def _put(self, path: Path, score: Score) -> None:
        score = replace(score, worse_than=self.worse_than)
        self.scores[path] = score
        if self.on_score is not None:
            self.on_score(score)


def _opened(stack: ExitStack, passes: Iterable[tuple[Training, list[TrackPath]]]) -> list[_Pass]:
    return [
        (training, [stack.enter_context(cached.open_track(path)) for path in tracks])
        for training, tracks in passes
    ]


def _unscored(path: Path, scorer: Scorer, digest: str) -> Score:
    training = scorer.training
    return Score(
        str(path),
        digest=digest,
        scale=training.scale,
        label=training.label,
        better=training.better,
        trained_on=training.title,
        training_videos=training.videos,
        agreement=scorer.agreement,
        axes={name: AxisScore(axis.scale, axis.better) for name, axis in scorer.axes.items()},
    )


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


def _score_video(path: Path, digest: str, scorer: Scorer, passes: Sequence[_Pass]) -> Score:
    """From the tracks on the model's own frames, and those of a timeline where there are any."""
    training, tracks = passes[0]
    unscored = _unscored(path, scorer, digest)
    stored, features = _read_streams(training, tracks, digest, scorer.reads)
    prediction = scorer.predict_with_details(features)
    value, distance = float(prediction.scores[0]), float(prediction.distances[0])
    axes = {name: float(scores[0]) for name, scores in prediction.axes.items()}
    if not all(map(math.isfinite, (value, distance, *axes.values()))):
        error = "the model gives no number: it is damaged, or was not trained on such features"
        return replace(unscored, error=error)
    return replace(
        unscored,
        score=value,
        percentile=percentile_of(value, training.mos),
        distance=distance,
        far=bool(distance > training.novelty.distances[FAR_PERCENTILE]),
        damage=stored.attributes.damage,
        duration=stored.attributes.frames / stored.attributes.fps
        if stored.attributes.fps
        else None,
        frames=_frames(stored, _frame_scores(scorer, features), _frame_weights(prediction.output)),
        timeline=[moment for each in passes[1:] for moment in _timeline(scorer, each, digest)],
        axes={name: _axis_score(scorer.axes[name], of_axis) for name, of_axis in axes.items()},
    )


def _axis_score(axis: AxisOfScorer, score: float) -> AxisScore:
    return AxisScore(axis.scale, axis.better, score, percentile_of(score, axis.mos))


def _timeline(scorer: Scorer, of_pass: _Pass, digest: str) -> list[Moment]:
    training, tracks = of_pass
    if not all(up_to_date(track, [digest]) for track in tracks):
        return []
    stored, features = _read_streams(training, tracks, digest, scorer.reads)
    rows = zip(stored.frame_index, stored.timestamp, _frame_scores(scorer, features), strict=True)
    return [Moment(int(index), float(time), float(value)) for index, time, value in rows]


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
