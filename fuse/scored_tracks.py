"""The features of videos that are scored: extracted by the networks that a model was trained on,
and kept in a cache beside those of datasets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.learning.scorer import Training
from vqa_twostage.pipeline.cache import track as cached
from vqa_twostage.pipeline.cache.layout import TrackPath, provenance
from vqa_twostage.pipeline.cache.layout import tracks as tracks_of
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import OF_A_SCORED_VIDEO, TrackIdentity
from vqa_twostage.pipeline.spec import is_local_path

logger = logging.getLogger(__name__)

# the name of scored videos in a cache, beside the names of datasets
SCORED = "scored"
# why a video has no score whose file was written to at that moment
CHANGED = "the file changed while it was read; score it again"
# between looks at what an extraction has committed, which it does about once a second
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Extraction:
    """Where features go and how they are made; ``on_progress`` is called with the number of videos
    that are done, and of all.
    """

    cache: Path
    options: ExtractOptions
    on_progress: Callable[[int, int], None]


def tracks_of_files(
    files: dict[str, Path],
    training: Training,
    extraction: Extraction,
    on_committed: Callable[[list[TrackPath]], None] | None = None,
) -> tuple[list[TrackPath], dict[str, str]]:
    """The tracks that the model reads, in the order of `Training.distinct`, with the features of
    ``files`` (by digest); and the reasons why some files have none, by digest.

    What the cache holds already is not extracted again, and no network is loaded for it.
    ``on_committed`` is called with the tracks about once a second, as soon as any video may be in
    all of them.
    """
    wanted = training.distinct
    _check_extractable(training, wanted)
    cached_tracks = [
        _most_complete_track(extraction.cache, identity, files.keys()) for identity in wanted
    ]
    if all(held == files.keys() for _, held in cached_tracks):
        return [path for path, _ in cached_tracks if path is not None], {}
    found: dict[str, TrackPath] = {}
    reasons: dict[str, str] = {}

    def look() -> None:
        if on_committed is not None and len(found) == len(wanted):
            on_committed([found[identity.to_text()] for identity in wanted])

    for together in _of_one_pass(wanted):
        reasons |= _extract_together(files, together, training, extraction, found, look)
    return [found[identity.to_text()] for identity in wanted], reasons


def up_to_date(track: cached.Track, ids: Iterable[str]) -> set[str]:
    """Those of ``ids`` whose features are of that very content: a file may change between the
    moment its digest is taken and decoding.
    """
    return {
        name
        for name in ids
        if name in track and track.attributes(name).source_digest.startswith(name)
    }


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
    extraction: Extraction,
    found: dict[str, TrackPath],
    look: Callable[[], None],
) -> dict[str, str]:
    """`tracks_of_files` of tracks that one extraction makes: they are put into ``found``."""
    # heavy, and not needed where everything is in the cache
    from vqa_twostage.extract.extraction.loop import extract_videos
    from vqa_twostage.extract.extraction.plan import plan_tracks
    from vqa_twostage.extract.inference.runtime import Runtime

    options = options_for(wanted, extraction.options)
    runtime = Runtime.of(options.runtime, options.device, options.precision, len(files))
    try:
        plan = plan_tracks(SCORED, extraction.cache, options, runtime)
    except UsageError as error:
        raise UsageError(
            f"the features of {training.title} that the model reads cannot be extracted here: "
            f"{error}"
        ) from None
    for identity, track in zip(wanted, plan.tracks, strict=True):
        _check_same(training, identity, track.identity)
        found[identity.to_text()] = track.path
    looked = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal looked
        extraction.on_progress(done, total)
        if time.monotonic() - looked >= LOOK_EVERY_S:
            look()
            looked = time.monotonic()

    results = extract_videos(files.items(), plan, provenance(), on_progress=on_progress)
    for note in results.notes:
        logger.warning("%s: %s", files[note.id], note.note)
    held = [_held(track.path, files) for track in plan.tracks]
    reasons = {name: CHANGED for name in files if not all(name in ids for ids in held)}
    return reasons | {failure.id: failure.reason for failure in results.failed}


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
            candidates.append((path, _held(path, ids)))
    return max(candidates, key=lambda item: (len(item[1]), item[0] is not None))


def _held(path: TrackPath, ids: Iterable[str]) -> set[str]:
    with cached.open_track(path) as track:
        return up_to_date(track, ids)


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
