"""Decoding as actors of Ray: each decodes blocks of videos, in a process that it confines as the
engine of one machine does, resizes their frames, and hands them out when it is asked to.

They are asked, and do not send by themselves: what nobody takes is not made, and when either side
dies, a call fails. (Ray's streaming generators can wait for ever then.)
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.extract.cluster.pieces import Piece, pieces_of
from vqa_twostage.extract.decoding.workers import DecodeRequest, DecodingProcesses, files_of
from vqa_twostage.extract.inference.engine import DecodedHere
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.inference.units import UnitLayout
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.ray_cluster import LostError, enter, result_of

PIECES_AHEAD = 4  # that are asked for before the first of them is needed


@dataclass(frozen=True)
class Block:
    """Videos that are decoded one after another, with the layouts of the tracks that lack each.

    ``alone``: while a decoder has it, it gets no other: one of its videos may end the decoder.
    """

    videos: tuple[PendingVideo, ...]
    layouts: tuple[Mapping[TrackPath, UnitLayout], ...]
    alone: bool


class DecodingActor:
    """Runs where Ray has a CPU free. ``video_folders``: where its videos may be."""

    def __init__(self, request: DecodeRequest, folder: Path, video_folders: Sequence[str]) -> None:
        import torch

        enter(folder)
        torch.set_num_threads(1)  # as many as it has CPUs
        self._request = request
        self._blocks: deque[Block] = deque()
        self._pieces: Generator[Piece, None, None] | None = None
        self._processes = self._start_process(video_folders)

    def wait_until_started(self) -> None:
        """Returns when this process is there."""

    def add(self, block: Block) -> None:
        self._blocks.append(block)

    def take(self) -> Piece | None:
        """The next piece of the blocks, in their order; None after the last."""
        while True:
            if self._pieces is None:
                if not self._blocks:
                    return None
                self._pieces = self._decode(self._blocks.popleft())
            piece = next(self._pieces, None)
            if piece is not None:
                return piece
            self._pieces = None

    def _decode(self, block: Block) -> Generator[Piece, None, None]:
        pairs = [(video.id, video.path) for video in block.videos]
        with closing(files_of(pairs, self._request, workers=1)) as files:
            streams = self._process_for(files.folders).decode(pairs, files)
            with closing(streams):
                for stream, layouts in zip(streams, block.layouts, strict=True):
                    yield from pieces_of(DecodedHere(stream, layouts, PhaseTimes()))

    def _process_for(self, folders: Sequence[str]) -> DecodingProcesses:
        """The process of the block before, where it may read these folders: another one takes
        seconds to start. Copies lie in a folder of their own for each block.
        """
        if not self._processes.folders.issuperset(folders):
            self._processes.close()
            self._processes = self._start_process([*folders, *self._processes.folders])
        return self._processes

    def _start_process(self, folders: Iterable[str]) -> DecodingProcesses:
        # what a machine lacks cannot be allowed, and copies of an earlier block are gone
        return DecodingProcesses(self._request, 1, filter(os.path.isdir, folders))


class Decoder:
    """A `DecodingActor` as the one who uses it sees it."""

    def __init__(
        self,
        ray: Any,
        cpus: float,
        request: DecodeRequest,
        folder: Path,
        video_folders: Sequence[str],
    ) -> None:
        self._ray = ray
        remote = ray.remote(num_cpus=cpus, max_restarts=0)(DecodingActor)
        self._actor = remote.remote(request, folder, video_folders)
        self._asked: deque[Any] = deque()
        self.started = self._actor.wait_until_started.remote()
        """Ray's reference to a call that ends when there was room for the actor."""
        self.runs = False
        self.waiting: deque[PendingVideo] = deque()
        """Its videos that nobody took yet, in their order."""
        self._alone = False

    def look(self) -> None:
        """Finds out whether it `runs`; LostError where it ended before it did."""
        if not self.runs and self._ray.wait([self.started], timeout=0)[0]:
            result_of(self._ray, self.started)
            self.runs = True

    def takes(self, block: Block) -> bool:
        """Whether it is time to add a block."""
        if not self.waiting:
            return self.runs
        return len(self.waiting) <= PIECES_AHEAD and not (self._alone or block.alone)

    def add(self, block: Block) -> None:
        self.waiting.extend(block.videos)
        self._alone = block.alone
        self._actor.add.remote(block)
        self._ask()

    @property
    def next_piece(self) -> Any:
        """Ray's reference to what `pieces` gives first."""
        self._ask()
        return self._asked[0]

    def pieces(self) -> Iterator[Piece]:
        """Of all blocks in their order, without an end; LostError where the actor is gone."""
        while True:
            self._ask()
            piece = result_of(self._ray, self._asked.popleft())
            if piece is not None:  # it was asked before it had a block
                yield piece

    def _ask(self) -> None:
        while len(self._asked) < PIECES_AHEAD:
            self._asked.append(self._actor.take.remote())


class Decoders:
    """Decoders that ``start`` starts, so many of them, and the blocks that wait for one.

    A block goes to a decoder that runs and has little to do: those for which the cluster has no
    room get none.
    """

    def __init__(self, ray: Any, start: Callable[[], Decoder], count: int) -> None:
        self._ray, self._start = ray, start
        self._decoders = [start() for _ in range(count)]
        self._blocks: deque[Block] = deque()
        self._ended_early = 0

    def add(self, block: Block) -> None:
        self._blocks.append(block)

    @property
    def have_videos(self) -> bool:
        return bool(self._blocks) or any(decoder.waiting for decoder in self._decoders)

    def first_ready(self) -> Decoder:
        """The decoder whose next piece is here first; there must be videos."""
        while True:
            self._hand_out()
            pieces = {decoder.next_piece: decoder for decoder in self._decoders if decoder.waiting}
            starting = [decoder.started for decoder in self._decoders if not decoder.runs]
            ready, _ = self._ray.wait([*pieces, *(starting if self._blocks else ())])
            if ready[0] in pieces:
                return pieces[ready[0]]

    def replace(self, decoder: Decoder) -> None:
        """Another one for one that is lost."""
        self._decoders[self._decoders.index(decoder)] = self._start()

    def _hand_out(self) -> None:
        for decoder in list(self._decoders):
            try:
                decoder.look()
            except LostError as error:
                self._ended_early += 1
                if self._ended_early > 3 * len(self._decoders):
                    raise UsageError(
                        f"decoders end again and again before they have started ({error}); do the "
                        "machines of the cluster have the same packages as this one?"
                    ) from None
                self.replace(decoder)
        while self._blocks:
            takers = [decoder for decoder in self._decoders if decoder.takes(self._blocks[0])]
            if not takers:
                return
            least = min(takers, key=lambda decoder: len(decoder.waiting))
            least.add(self._blocks.popleft())
