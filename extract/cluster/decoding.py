"""Decoding as actors of Ray: each decodes blocks of videos, in a process that it confines as the
engine of one machine does, resizes their frames, and hands them out when it is asked to.

They are asked, and do not send by themselves: what nobody takes is not made, and when either side
dies, a call fails. (Ray's streaming generators can wait for ever then.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vqa_twostage.extract.cluster.pieces import Piece, pieces_of
from vqa_twostage.extract.decoding.workers import DecodeRequest, decode_videos
from vqa_twostage.extract.inference.engine import DecodedHere
from vqa_twostage.extract.inference.timing import PhaseTimes
from vqa_twostage.extract.inference.units import UnitLayout
from vqa_twostage.extract.pending import PendingVideo
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.ray_cluster import enter, reason_of

PIECES_AHEAD = 4  # that are asked for before the first of them is needed


class LostError(Exception):
    """A decoder is lost, with its process or its machine."""


@dataclass(frozen=True)
class Block:
    """Videos that are decoded one after another, with the layouts of the tracks that lack each."""

    videos: tuple[PendingVideo, ...]
    layouts: tuple[Mapping[TrackPath, UnitLayout], ...]


class DecodingActor:
    """Runs where Ray has a CPU free."""

    def __init__(self, request: DecodeRequest, folder: Path) -> None:
        import torch

        enter(folder)
        torch.set_num_threads(1)  # as many as it has CPUs
        self._request = request
        self._blocks: deque[Block] = deque()
        self._pieces: Generator[Piece, None, None] | None = None

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
        streams = decode_videos(pairs, self._request, workers=1)
        with closing(streams):
            for stream, layouts in zip(streams, block.layouts, strict=True):
                yield from pieces_of(DecodedHere(stream, layouts, PhaseTimes()))


class Decoder:
    """A `DecodingActor` as the one who uses it sees it."""

    def __init__(self, ray: Any, request: DecodeRequest, folder: Path, cpus: float) -> None:
        self._ray = ray
        self._actor = ray.remote(num_cpus=cpus, max_restarts=0)(DecodingActor).remote(
            request, folder
        )
        self._asked: deque[Any] = deque()
        self.waiting: deque[PendingVideo] = deque()
        """Its videos that nobody took yet, in their order."""

    def add(self, block: Block) -> None:
        self.waiting.extend(block.videos)
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
            try:
                piece = self._ray.get(self._asked.popleft())
            except self._ray.exceptions.RayTaskError:  # what our own code raised there
                raise
            except self._ray.exceptions.RayError as error:
                raise LostError(reason_of(error)) from None
            if piece is not None:  # it was asked before it had a block
                yield piece

    def _ask(self) -> None:
        while len(self._asked) < PIECES_AHEAD:
            self._asked.append(self._actor.take.remote())
