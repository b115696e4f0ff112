"""The engine of a Ray cluster, as the program that was started sees it: it hands videos out, and
gives their features to the one writer.

Machines may join and leave meanwhile. What was lost with one is done again on another.
"""

from __future__ import annotations

import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from vqa_twostage.extract.cluster.job import Job
from vqa_twostage.extract.cluster.networks import LostVideo, NetworkActor, Ready
from vqa_twostage.extract.inference.engine import ExtractedVideo, FailedVideo
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.ray_cluster import LostError, result_of

ATTEMPTS = 3  # of a video that is lost with what works on it
LARGEST_BLOCK, SMALLEST_BLOCK = 64, 8  # videos that a decoder gets at once
RESULTS_AHEAD = 8  # whole videos that an actor makes before the writer takes the first
BESIDE = "beside"  # the thread of an actor that takes calls while another works
LOOK_EVERY_S = 5.0  # for machines that joined
ANY_NODE = ""  # that joins; asking for it lets a cluster grow that does so by what is asked for
TOLD_AFTER_S = 60.0  # that no machine has room


@dataclass
class _Member:
    """An actor with networks on a node, and the videos that it has."""

    node: str
    actor: Any
    asked: list[Any] = field(default_factory=list)  # Ray's references to its next results
    ready: bool = False
    has: dict[str, _Attempt] = field(default_factory=dict)


@dataclass(frozen=True)
class _Attempt:
    """A video, and how often it was lost."""

    video: PendingVideo
    lost: int = 0


@dataclass(frozen=True)
class _Room:
    """What a cluster has room for: a node for each copy of the networks, what a copy asks for, and
    how many tasks may decode at once for it.
    """

    nodes: tuple[str, ...]
    gpus: float
    cpus: float
    decoder_cpus: float
    decoders: int


class RayEngine:
    """Decodes and runs networks on the machines of a Ray cluster.

    Each copy of the networks takes a GPU, or where the cluster has none, half of a machine's CPUs;
    a decoder takes a CPU. The option ``workers`` is how many decoders each copy has; 0: as many as
    there are CPUs for. Where a machine is lost, its videos are done again; a
    video that was lost `ATTEMPTS` times has failed.
    """

    def __init__(self, ray: Callable[[], Any], job: Job, times: PhaseTimes) -> None:
        """``ray``: gives the module, connected to the cluster, or raises why it is not."""
        self._ray, self._job, self._times = ray, job, times

    def extract(
        self, videos: Sequence[PendingVideo]
    ) -> Generator[ExtractedVideo | FailedVideo, None, None]:
        """As `Engine.extract`. UsageError where the cluster cannot do the job."""
        if not videos:
            return
        absolute = [replace(video, path=video.path.absolute()) for video in videos]
        run = _Run(self._ray(), self._job.on(absolute), deque(map(_Attempt, absolute)))
        try:
            yield from run.results()
        finally:
            run.end(self._times)


class _Run:
    """One extraction on a cluster: who works on what."""

    def __init__(self, ray: Any, job: Job, todo: deque[_Attempt]) -> None:
        self._ray, self._job, self._todo = ray, job, todo
        self._members: list[_Member] = []
        self._room = self._measure_room()
        self._looked = -LOOK_EVERY_S
        self._since, self._told = time.monotonic(), False
        self._gone_unready = 0

    def results(self) -> Generator[ExtractedVideo | FailedVideo, None, None]:
        while self._todo or any(member.has for member in self._members):
            self._hire()
            for member in self._members:
                self._feed(member)
            asked = {reference: member for member in self._members for reference in member.asked}
            done, _ = self._ray.wait(list(asked), timeout=1.0) if asked else ([], [])
            for reference in done:
                yield from self._take(asked[reference], reference)
            self._tell_of_no_room()

    def end(self, times: PhaseTimes) -> None:
        """Ends the actors, and with them their decoders."""
        for member in self._members:
            with suppress(self._ray.exceptions.RayError):
                if member.ready:
                    asked = member.actor.phases.options(concurrency_group=BESIDE).remote()
                    phases = self._ray.get(asked, timeout=5)
                    for phase, seconds in phases.items():
                        times.add(phase, seconds)
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(member.actor)
        self._members.clear()

    def _take(
        self, member: _Member, reference: Any
    ) -> Generator[ExtractedVideo | FailedVideo, None, None]:
        """A result of an actor, or what is to be done where it has ended."""
        member.asked.remove(reference)
        try:
            result = result_of(self._ray, reference)
        except LostError as error:
            yield from self._lose(member, str(error))
            return
        self._ask(member)
        match result:
            case Ready():
                member.ready = True
            case LostVideo(id=name, reason=reason):
                yield from self._again(member.has.pop(name), reason)
            case ExtractedVideo(id=name) | FailedVideo(id=name):
                del member.has[name]
                yield result

    def _lose(self, member: _Member, reason: str) -> Generator[FailedVideo, None, None]:
        """The actor is gone: what it had is done again."""
        self._members.remove(member)
        if member.has:
            warnings.warn(
                f"networks were lost with their process or machine ({reason}); the "
                f"{len(member.has)} videos that they had are done again",
                stacklevel=2,
            )
        if not member.ready:
            self._gone_unready += 1
            ready = any(other.ready for other in self._members)
            if self._gone_unready >= ATTEMPTS * len(self._room.nodes) and not ready:
                raise UsageError(
                    f"the networks ended while they were loaded, {self._gone_unready} times "
                    f"({reason}); is there memory enough on the machines of the cluster?"
                )
        for attempt in member.has.values():
            yield from self._again(attempt, reason)

    def _again(self, attempt: _Attempt, reason: str) -> Generator[FailedVideo, None, None]:
        lost = attempt.lost + 1
        if lost < ATTEMPTS:
            self._todo.appendleft(_Attempt(attempt.video, lost))
            return
        message = f"was lost {lost} times with the process or machine that worked on it ({reason})"
        yield FailedVideo(attempt.video.id, VideoError(message, "lost"))

    def _feed(self, member: _Member) -> None:
        """Gives an actor a block more than can be decoded at once."""
        while member.ready and self._todo:
            size = self._block_size()
            if len(member.has) >= self._room.decoders * size + 1:
                return
            block = [self._todo.popleft()]
            # what was lost goes alone: a video which ends processes must take no other along
            while not block[0].lost and self._todo and len(block) < size:
                if self._todo[0].lost:
                    break
                block.append(self._todo.popleft())
            member.has.update({attempt.video.id: attempt for attempt in block})
            videos = tuple(attempt.video for attempt in block)
            alone = block[0].lost > 0
            member.actor.add.options(concurrency_group=BESIDE).remote(videos, alone)

    def _block_size(self) -> int:
        """Large ones cost less, and towards the end small ones keep all machines busy."""
        slots = max(1, self._room.decoders * len(self._members))
        return min(LARGEST_BLOCK, max(SMALLEST_BLOCK, len(self._todo) // (2 * slots)))

    def _hire(self) -> None:
        """Copies of the networks on all nodes, those that joined since included."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        self._room = self._measure_room()
        taken = Counter(member.node for member in self._members)
        for node, places in Counter(self._room.nodes).items():
            for _ in range(places - taken[node]):
                self._members.append(self._start_on(node))

    def _start_on(self, node: str) -> _Member:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        room = self._room
        actor = (
            self._ray.remote(concurrency_groups={BESIDE: 1})(NetworkActor)
            .options(
                num_cpus=room.cpus,
                num_gpus=room.gpus,
                max_restarts=0,
                # two on one node would leave another without, and no CPU to decode
                scheduling_strategy="DEFAULT"
                if node == ANY_NODE
                else NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote(self._job, room.gpus > 0, room.decoders, room.decoder_cpus)
        )
        member = _Member(node, actor)
        self._ask(member)
        return member

    def _ask(self, member: _Member) -> None:
        while len(member.asked) < RESULTS_AHEAD:
            member.asked.append(member.actor.take.remote())

    def _measure_room(self) -> _Room:
        alive = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        cpus = {node: has["CPU"] for node, has in alive.items() if has.get("CPU")}
        gpus = [node for node, has in alive.items() for _ in range(int(has.get("GPU", 0)))]
        options = self._job.options
        on_gpus = options.device == "cuda" or (
            bool(gpus) and options.device == "auto" and options.runtime != "openvino"
        )
        nodes = tuple(gpus if on_gpus else cpus) or (ANY_NODE,)
        share = min(cpus.values(), default=1.0) / 2
        each, decoder = (min(1.0, share) if on_gpus else share), min(1.0, share)
        left = (sum(cpus.values()) - len(nodes) * each) / decoder
        decoders = options.workers or max(1, int(left / len(nodes)))
        return _Room(nodes, float(on_gpus), each, decoder, decoders)

    def _tell_of_no_room(self) -> None:
        waited = time.monotonic() - self._since
        if self._told or waited < TOLD_AFTER_S or any(member.ready for member in self._members):
            return
        self._told = True
        room = self._room
        asked = f"{room.cpus:g} CPUs" + (f" and {room.gpus:g} GPU" if room.gpus else "")
        has = ", ".join(
            f"{amount:g} {name}"
            for name, amount in sorted(self._ray.cluster_resources().items())
            if name in ("CPU", "GPU")
        )
        warnings.warn(
            f"no machine of the cluster has had room for the networks for {waited:.0f} s: they ask "
            f"for {asked}, and all machines together have {has or 'no CPU'}; waiting",
            stacklevel=2,
        )
