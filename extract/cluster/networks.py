"""The networks as an actor of Ray: a process that loads them once, takes blocks of videos, has
them decoded anywhere, and hands whole videos out when it is asked to.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Queue
from typing import Any

from vqa_twostage.extract.cluster.decoding import Block, Decoder, LostError
from vqa_twostage.extract.cluster.job import Job
from vqa_twostage.extract.cluster.pieces import VideoInPieces
from vqa_twostage.extract.extraction.assembly import decode_request, load_batchers
from vqa_twostage.extract.inference.engine import ExtractedVideo, FailedVideo, Networks
from vqa_twostage.extract.inference.runtime import few_threads, full_float32
from vqa_twostage.extract.inference.timing import LOADING, PhaseTimes
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.ray_cluster import enter


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
        self._added: Queue[tuple[PendingVideo, ...]] = Queue()
        self._results = self._work()

    def add(self, videos: tuple[PendingVideo, ...]) -> None:
        """Videos to extract: their features come from `take`."""
        self._added.put(videos)

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

        enter(self._job.folder)
        machine, cpus = this_machine()
        torch.set_num_threads(cpus)  # Ray allows one where it is not told otherwise
        job, runtime = self._job, self._job.runtime_on(self._gpu)
        with full_float32(), few_threads(runtime):
            with self._times.measure(LOADING):
                plan = job.plan(runtime, machine)
                tracks = [track for track in plan.tracks if track.path in job.tracks]
                request = decode_request(plan, tracks)
                networks = Networks(load_batchers(plan, tracks), self._times)
            yield Ready(machine)
            start = partial(Decoder, ray, request, job.folder, self._decoder_cpus)
            decoders = [start() for _ in range(self._decoders)]
            while True:
                while not self._added.empty() or not any(decoder.waiting for decoder in decoders):
                    if self._added.empty():  # nothing that fills the batches any more
                        yield from networks.finish()
                    videos = self._added.get()
                    layouts = tuple(networks.layouts(video) for video in videos)
                    least_busy(decoders).add(Block(videos, layouts))
                decoder = first_ready(ray, decoders)
                try:
                    yield from networks.extract(decoder.waiting[0], VideoInPieces(decoder.pieces()))
                    decoder.waiting.popleft()
                except LostError as error:
                    networks.drop(decoder.waiting[0])
                    yield from (LostVideo(video.id, str(error)) for video in decoder.waiting)
                    decoders[decoders.index(decoder)] = start()


def least_busy(decoders: Sequence[Decoder]) -> Decoder:
    return min(decoders, key=lambda decoder: len(decoder.waiting))


def first_ready(ray: Any, decoders: Sequence[Decoder]) -> Decoder:
    """Of those that have videos, the one whose next piece is here first."""
    references = {decoder.next_piece: decoder for decoder in decoders if decoder.waiting}
    ready, _ = ray.wait(list(references))
    return references[ready[0]]


def this_machine() -> tuple[str, int]:
    """The address of the node that this process is on, and its CPUs as Ray counts them."""
    import ray

    found = ray.get_runtime_context().get_node_id()
    node = next(node for node in ray.nodes() if node["NodeID"] == found)
    return node["NodeManagerAddress"], max(1, int(node["Resources"].get("CPU", 1)))
