"""What machines of a cluster are told of an extraction, and whether they would compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vqa_twostage.extract.extraction.plan import ExtractionPlan, TrackPlan, plan_tracks
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.confinement import folders_of
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.raw_format import RawFormat


@dataclass(frozen=True)
class Job:
    """An extraction as it travels: each machine plans it again, with its own copy of the weights.

    ``runtime``: what runs the networks on a CPU. ``tracks``: those that lack a video, with their
    identities. ``folder``: where the program runs that was started; relative paths mean there.
    ``video_folders``: those that decoding processes read.
    """

    dataset: str
    cache: Path
    options: ExtractOptions
    raw: RawFormat | None
    runtime: Runtime
    tracks: Mapping[TrackPath, TrackIdentity]
    folder: Path
    video_folders: tuple[str, ...] = ()

    @staticmethod
    def of(plan: ExtractionPlan, tracks: Sequence[TrackPlan]) -> Job:
        first, identities = plan.tracks[0].path, {track.path: track.identity for track in tracks}
        return Job(
            first.dataset, first.cache, plan.options, plan.raw, plan.runtime, identities, Path.cwd()
        )

    def on(self, videos: Iterable[PendingVideo]) -> Job:
        """The job with the folders of ``videos``."""
        paths = (video.path for video in videos)
        return replace(
            self, video_folders=tuple(folders_of(path for path in paths if isinstance(path, Path)))
        )

    def runtime_on(self, gpu: bool) -> Runtime:
        """What runs the networks on a machine, on a GPU of it or not; UsageError where it is not
        installed there.
        """
        options, here = self.options, self.runtime
        if gpu:
            return Runtime.of(options.runtime, options.device, options.precision, videos=0)
        found = Runtime.of(here.name, "cpu", options.precision, videos=0)
        return replace(found, asked_for=here.asked_for)

    def plan(self, runtime: Runtime, machine: str) -> ExtractionPlan:
        """The same plan on ``machine``; UsageError where its features would be others than those
        that the driver records.
        """
        plan = plan_tracks(self.dataset, self.cache, self.options, runtime, self.raw)
        found = {track.path: track.identity for track in plan.tracks}
        for path, identity in self.tracks.items():
            if path not in found:
                here = next(
                    (
                        other
                        for other in found.values()
                        if (other.kind, other.extractor) == (identity.kind, identity.extractor)
                    ),
                    None,
                )
                difference = here.differs_in(identity) if here else "it is not there"
                raise UsageError(
                    f"the machine {machine} would compute other features for {path.name} than "
                    f"this one: {difference}; install the same packages and weights on all machines"
                )
        return plan
