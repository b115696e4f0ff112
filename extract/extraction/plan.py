"""The tracks that the options of an extraction name; their weights are loaded for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vqa_twostage.extract.decoding.video import DECODING_VERSION, decoder_name
from vqa_twostage.extract.extractor import Extractor, View
from vqa_twostage.extract.inference.runtime import Runtime, check_view
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.sampler import Sampler
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import (
    Kind,
    TrackIdentity,
    name_of_extractor,
    spec_of_extractor,
)
from vqa_twostage.pipeline.raw_format import RawFormat
from vqa_twostage.pipeline.spec import Plugin


@dataclass(frozen=True)
class TrackPlan:
    """One extractor on one sampling: what will be in one file."""

    extractor: Extractor
    view: View
    identity: TrackIdentity
    path: TrackPath


@dataclass(frozen=True)
class ExtractionPlan:
    """All that is known of an extraction before its first video; ``raw`` is the format of files
    that have no container.
    """

    tracks: tuple[TrackPlan, ...]
    options: ExtractOptions
    runtime: Runtime
    raw: RawFormat | None = None


def resolve_specs(options: ExtractOptions) -> tuple[Plugin, list[tuple[Kind, Plugin]]]:
    """The sampler, and the extractors with their kinds, spatial first; UsageError for a spec or a
    decoder that cannot be used. No weights are loaded.
    """
    decoder_name(options.decoder)
    sampler = spec.resolve("extract.samplers", options.sampler)
    sampler.build()
    extractors: list[tuple[Kind, Plugin]] = [
        *(("spatial", spec.resolve("extract.spatial", text)) for text in options.spatial),
        *(("temporal", spec.resolve("extract.temporal", text)) for text in options.temporal),
    ]
    for _, extractor in extractors:
        extractor.shared()
    return sampler, extractors


def _build_extractor(plugin: Plugin) -> Extractor:
    """With its weights; TypeError where a plug-in does not keep the contract."""
    extractor = plugin.build()
    if not isinstance(extractor, Extractor):
        raise TypeError(
            f"build() of the plug-in {plugin.module.__name__} returned a "
            f"{type(extractor).__name__}, not an Extractor"
        )
    return extractor


def plan_tracks(
    dataset: str,
    cache: Path,
    options: ExtractOptions,
    runtime: Runtime,
    raw: RawFormat | None = None,
) -> ExtractionPlan:
    """Resolves every spec and loads the weights, whose digest is a part of the identity.

    A track that is asked for twice is planned once. ``raw`` is the manifest's. UsageError for a
    spec that cannot be used, weights that cannot be had, or a sampler that does not suit.
    """
    sampler, extractors = resolve_specs(options)
    choose: Sampler = sampler.build()
    clip_frames = choose.clip_frames
    plans: dict[TrackPath, TrackPlan] = {}
    for kind, plugin in extractors:
        extractor = _build_extractor(plugin)
        if extractor.of_clips and clip_frames != extractor.unit_frames:
            sampled = f"clips of {clip_frames}" if clip_frames > 1 else "single frames"
            raise UsageError(
                f"{plugin.spec} looks at clips of {extractor.unit_frames} frames, and the sampler "
                f"{options.sampler} gives {sampled}; "
                f"choose --sampler clips:frames={extractor.unit_frames}"
            )
        view: View = plugin.shared()
        if view.grid or view.resolutions:
            check_view(extractor, view)
        identity = TrackIdentity(
            kind,
            spec_of_extractor(plugin),
            sampler.portable_spec,
            plugin.version,
            sampler.version,
            weights=extractor.weights_digest,
            preprocessing=str(view.applied_to(extractor.preprocessing)),
            decoding_version=DECODING_VERSION,
            precision=runtime.identity,
            sampler_digest=choose.digest,
            raw=str(raw or ""),  # the same bytes read otherwise are other frames
            hdr="clip" if options.hdr == "clip" else "",
        )
        path = TrackPath.of(cache, dataset, name_of_extractor(plugin), identity)
        plans[path] = TrackPlan(extractor, view, identity, path)
    return ExtractionPlan(tuple(plans.values()), options, runtime, raw)
