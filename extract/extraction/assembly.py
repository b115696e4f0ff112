"""What a plan becomes where it is carried out: loaded networks, and what decoders are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from vqa_twostage.extract.decoding.fetching import Scratch
from vqa_twostage.extract.decoding.workers import DecodeRequest
from vqa_twostage.extract.extraction.plan import ExtractionPlan, TrackPlan
from vqa_twostage.extract.inference.batching import TrackBatcher
from vqa_twostage.extract.options import BATCH_FRAMES
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.limits import parse_limits


def lacking_tracks(plan: ExtractionPlan, pending: Sequence[PendingVideo]) -> list[TrackPlan]:
    """The tracks of a plan that lack a video."""
    wanted = {place for video in pending for place in video.tracks}
    return [track for track in plan.tracks if track.path in wanted]


def load_batchers(
    plan: ExtractionPlan, tracks: Sequence[TrackPlan]
) -> dict[TrackPath, TrackBatcher]:
    """The networks of ``tracks``, ready for batches on the device of the plan's runtime."""
    batch_frames = plan.options.batch_size or BATCH_FRAMES[plan.runtime.device.type]
    return {
        track.path: TrackBatcher(track.extractor, track.view, plan.runtime, batch_frames)
        for track in tracks
    }


def decode_request(plan: ExtractionPlan, tracks: Sequence[TrackPlan]) -> DecodeRequest:
    """What decoders do with every video for ``tracks``."""
    options = plan.options
    return DecodeRequest(
        options.sampler,
        options.decoder,
        clips=any(track.extractor.of_clips for track in tracks),
        sampler_digest=plan.tracks[0].identity.sampler_digest,
        raw=plan.raw,
        hdr=options.hdr,
        neighbours=any(track.view.of == "residual" for track in tracks),
        limits=parse_limits(options.limits),
        scratch=Scratch(options.scratch, options.scratch_gb),
    )
