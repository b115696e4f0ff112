"""The networks as an actor of Ray: a process that loads them once, takes blocks of videos, has
them decoded anywhere, and hands whole videos out when it is asked to.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from queue import Queue

from vqa_twostage.extract.cluster.decoding import Block, Decoder, Decoders
from vqa_twostage.extract.cluster.job import Job
from vqa_twostage.extract.cluster.pieces import VideoInPieces
from vqa_twostage.extract.extraction.assembly import decode_request, load_batchers
from vqa_twostage.extract.inference.engine import ExtractedVideo, FailedVideo, Networks
from vqa_twostage.extract.inference.runtime import few_threads, full_float32
from vqa_twostage.extract.inference.timing import LOADING, PhaseTimes
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.ray_cluster import LostError, enter


@dataclass(frozen=True)
class Ready:
    """The networks are loaded on ``machine``."""

    machine: str


@dataclass(frozen=True)
class LostVideo:
    """What decoded a video is gone, with its process or machine; it may be tried again."""

    id: str
    reason: str


Result = Ready | ExtractedVideo | FailedVideo | LostVideo


class NetworkActor:
    """The networks of a job on one machine, on a GPU of it or on its CPUs, with ``decoders``
    anywhere, which have ``decoder_cpus`` each.

    `add` and `phases` may be called while `take` works, in another thread.
    """

    def __init__(self, job: Job, gpu: bool, decoders: int, decoder_cpus: float) -> None:
        self._job, self._gpu = job, gpu
        self._decoders, self._decoder_cpus = decoders, decoder_cpus
        self._times = PhaseTimes()
        self._added: Queue[tuple[tuple[PendingVideo, ...], bool]] = Queue()
        self._results = self._work()

    def add(self, videos: tuple[PendingVideo, ...], alone: bool) -> None:
        """Videos to extract: their features come from `take`. ``alone``: as in `Block`."""
        self._added.put((videos, alone))

    def take(self) -> Result:
        """`Ready` first, then what became of a video, as soon as one is whole.

        UsageError where this machine cannot do the job.
        """
        return next(self._results)

    def phases(self) -> dict[str, float]:
        """Seconds of each part of the work until now."""
        return self._times.to_json()

    def _work(self) -> Generator[Result, None, None]:
        import ray
        import torch
        from joblib import cpu_count

        enter(self._job.folder)
        machine, cpus = this_machine()
        # Ray allows one; as many as torch would take by itself make features equal to the last bit
        torch.set_num_threads(min(cpus, cpu_count(only_physical_cores=True)))
        job, runtime = self._job, self._job.runtime_on(self._gpu)
        with self._times.measure(LOADING):
            plan = job.plan(runtime, machine)
            tracks = [track for track in plan.tracks if track.path in job.tracks]
            request = decode_request(plan, tracks)
            # their processes start while the networks are loaded
            start = partial(
                Decoder, ray, self._decoder_cpus, request, job.folder, job.video_folders
            )
            decoders = Decoders(ray, start, self._decoders)
            networks = Networks(load_batchers(plan, tracks), self._times)
        yield Ready(machine)
        with full_float32(), few_threads(runtime):
            while True:
                yield from self._next(networks, decoders)

    def _next(self, networks: Networks, decoders: Decoders) -> Generator[Result, None, None]:
        """What comes of the next video that is decoded, or of the decoder that is lost."""
        while not (self._added.empty() and decoders.have_videos):
            if self._added.empty():
                yield from networks.finish()  # nothing fills the batches any more
            videos, alone = self._added.get()
            decoders.add(Block(videos, tuple(map(networks.layouts, videos)), alone))
        decoder = decoders.first_ready()
        try:
            yield from networks.extract(decoder.waiting[0], VideoInPieces(decoder.pieces()))
            decoder.waiting.popleft()
        except LostError as error:
            networks.drop(decoder.waiting[0])
            yield from (LostVideo(video.id, str(error)) for video in decoder.waiting)
            decoders.replace(decoder)


def this_machine() -> tuple[str, int]:
    """The address of the node that this process is on, and its CPUs as Ray counts them."""
    import ray

    found = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == found)
    return node["NodeManagerAddress"], max(1, int(node["Resources"].get("CPU", 1)))
