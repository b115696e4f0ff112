"""A model as an ONNX graph: stored features in, scores on the scale of the labels out, for runtimes
without torch.

The graph holds everything in between: preparation, the members of the ensemble, their mean, the
calibration. Numbers of videos and of frames are free; as everywhere, a video has a frame, and its
mask is true from the first to the last.

Dimensions: N videos, F frames of a track, C channels of one stored array.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.export import Dim

from vqa_twostage.fuse.delivery.graph_forward import forwards_for_graph
from vqa_twostage.fuse.learning.prepare import CLIP, Preparation
from vqa_twostage.fuse.learning.scorer import Scorer
from vqa_twostage.fuse.learning.sides import named, track_names
from vqa_twostage.fuse.streams import Arrays, Shapes, Streams
from vqa_twostage.pipeline.features import ArrayName

FILE = "head.onnx"
OUTPUT = "score"
# the name of each track's number of frames
FRAMES = Streams("frames", "temporal_frames")
FIELDS = ("fill", "scale", "mean", "std", "keep")


# numbers, and names of those that are free
Shape = tuple[str | int, ...]


@dataclass(frozen=True)
class GraphInput:
    """An input of the graph; ``stored`` is the array of the cache that it takes, None for masks."""

    type: str
    shape: Shape
    stored: str | None = None

    def to_json(self) -> dict[str, Any]:
        document = {"type": self.type, "shape": list(self.shape)}
        return document if self.stored is None else {**document, "stored": self.stored}


# name -> input, in the order that `WholeModel` takes them
Inputs = dict[str, GraphInput]


@dataclass(frozen=True)
class GraphTrack:
    """A track as the graph takes it: ``stream`` and ``name`` (`track_names`), how it is prepared,
    the shapes of its prepared arrays, and the name of its number of frames.
    """

    stream: str
    name: str
    preparation: Preparation
    shapes: Shapes
    frames: str

    @property
    def has_own_frames(self) -> bool:
        return self.frames not in FRAMES

    @property
    def mask_input(self) -> str:
        return f"{self._prefix if self.has_own_frames else self.stream}.mask"

    def input_of(self, array: ArrayName) -> str:
        return f"{self._prefix}.{array.replace('/', '.')}"

    @property
    def _prefix(self) -> str:
        return ".".join(filter(None, (self.stream, self.name)))


def tracks_of(scorer: Scorer) -> Streams[list[GraphTrack]]:
    """Tracks whose frames a head reads share their frames; else each has frames of its own."""
    frames = dict(FRAMES.items())
    sides: list[list[GraphTrack]] = []
    for stream, (preparations, (shapes, identities)) in scorer.preparations.zip(
        scorer.shapes.zip(scorer.training.tracks)
    ).items():
        names = track_names(identities)
        sides.append(
            [
                GraphTrack(
                    stream,
                    name,
                    preparation,
                    {array: shapes[named(name, array)] for array in preparation.squash},
                    frames[stream]
                    if scorer.reads_frames or not name
                    else f"{stream}_{name}_frames",
                )
                for name, preparation in zip(names, preparations, strict=True)
            ]
        )
    return Streams(*sides)


def inputs_of(scorer: Scorer) -> Inputs:
    """The arrays of spatial tracks first, then of temporal ones, then the masks, one for each
    number of frames.
    """
    inputs: Inputs = {}
    masks: Inputs = {}
    for side in tracks_of(scorer):
        for track in side:
            for name, squash in track.preparation.squash.items():
                shape: Shape = (
                    "videos",
                    track.frames,
                    len(squash.fill),
                    *track.shapes[name][1:],
                )
                inputs[track.input_of(name)] = GraphInput("float32", shape, named(track.name, name))
            masks[track.mask_input] = GraphInput("bool", ("videos", track.frames))
    return inputs | masks


class WholeModel(nn.Module):
    """`fuse.learning.scorer.Scorer` as one module of the inputs of `inputs_of`."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer, self.members = scorer, nn.ModuleList(scorer.models)
        self.regressors = nn.ModuleList(scorer.regressors.values())
        self.tracks = tracks_of(scorer)
        self.prepare = nn.ModuleList(
            PrepareModule(track.preparation, track.shapes) for side in self.tracks for track in side
        )

    def forward(self, *inputs: Tensor) -> Float[Tensor, " N"]:
        given = dict(zip(inputs_of(self.scorer), inputs, strict=True))
        prepare = iter(self.prepare)
        sides = self.tracks.map(
            lambda side: _side_by_side([_prepared(track, given, next(prepare)) for track in side])
        )
        arrays, masks = sides.map(lambda side: side[0]), sides.map(lambda side: side[1])
        networks = torch.stack([member(arrays, masks).scores for member in self.members])
        scores = self.scorer.average(networks.mean(dim=0), arrays, masks)
        if self.scorer.curve is None:
            return scores
        high, low, middle, width = map(float, self.scorer.curve)
        return low + (high - low) * torch.sigmoid((scores - middle) / width)


def _prepared(
    track: GraphTrack, given: dict[str, Tensor], prepare: nn.Module
) -> tuple[Arrays, Bool[Tensor, "N F"]]:
    """The arrays of a track under their names in its stream; their means where the track has frames
    of its own.
    """
    mask = given[track.mask_input]
    stored = {name: given[track.input_of(name)] for name in track.preparation.squash}
    arrays = {named(track.name, name): array for name, array in prepare(stored, mask).items()}
    if not track.has_own_frames:
        return arrays, mask
    counts = mask.sum(dim=1, keepdim=True)
    means = {  # padding is 0
        name: array.sum(dim=1, keepdim=True) / counts.reshape(-1, *[1] * (array.ndim - 1))
        for name, array in arrays.items()
    }
    return means, mask[:, :1]


def _side_by_side(
    tracks: list[tuple[Arrays, Bool[Tensor, "N F"]]],
) -> tuple[Arrays, Bool[Tensor, "N F"]]:
    return {name: array for arrays, _ in tracks for name, array in arrays.items()}, tracks[0][1]


class PrepareModule(nn.Module):
    """`fuse.learning.prepare.Preparation`; arrays of equal positions are joined, so that the graph
    has a tenth of the nodes.
    """

    def __init__(self, prepare: Preparation, shapes: Shapes) -> None:
        super().__init__()
        self.joined: dict[tuple[int, ...], list[ArrayName]] = {}
        for name in prepare.squash:
            self.joined.setdefault(shapes[name][1:], []).append(name)
        for number, names in enumerate(self.joined.values()):
            for field in FIELDS:
                values = np.concatenate([getattr(prepare.squash[name], field) for name in names])
                self.register_buffer(
                    f"{field}{number}", torch.from_numpy(values.astype(np.float32))
                )
        self.levels = list(prepare.basis)
        for number, basis in enumerate(prepare.basis.values()):
            # of half precision, as it is saved
            self.register_buffer(f"basis{number}", torch.from_numpy(basis))

    def forward(self, stored: Arrays, mask: Bool[Tensor, "N F"]) -> Arrays:
        arrays = {}
        bases = {
            level: getattr(self, f"basis{number}").float()
            for number, level in enumerate(self.levels)
        }
        for number, (positions, names) in enumerate(self.joined.items()):
            fill, scale, mean, std, keep = (getattr(self, f"{field}{number}") for field in FIELDS)
            rows = torch.cat([stored[name].movedim(2, -1) for name in names], dim=-1)
            rows = torch.asinh((torch.where(torch.isfinite(rows), rows, fill) - fill) / scale)
            rows = ((rows - mean) / std).clamp(-CLIP, CLIP) * keep
            rows = torch.where(mask.reshape(*mask.shape, *[1] * len(positions), 1), rows, 0.0)
            for name, part in zip(
                names, rows.split([stored[name].shape[2] for name in names], dim=-1), strict=True
            ):
                basis = bases.get(name.level)
                arrays[name] = (part if basis is None else part @ basis).movedim(-1, 2)
        return arrays


def to_onnx(whole: WholeModel, example: tuple[Tensor, ...], inputs: Inputs) -> bytes:
    """The graph of ``whole`` for any number of videos and frames; any exception where a part cannot
    be traced.
    """
    names = dict.fromkeys(str(axis) for item in inputs.values() for axis in item.shape[:2])
    axes = {axis: Dim(axis) for axis in names}
    shapes = tuple(
        {number: axes[str(axis)] for number, axis in enumerate(item.shape[:2])}
        for item in inputs.values()
    )
    graph = module_to_onnx(
        whole, example, {"inputs": shapes}, input_names=list(inputs), output_names=[OUTPUT]
    )
    _strip(graph.graph)
    return bytes(graph.SerializeToString())


def module_to_onnx(module: nn.Module, example: tuple[Any, ...], shapes: Any, **names: Any) -> Any:
    """The onnx.ModelProto of a module; any exception where its operators or sizes allow none."""
    # traced here, because torch.onnx.export falls back to a graph for one number of frames without
    # a message
    with forwards_for_graph(module):
        program = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    exported = torch.onnx.export(
        program, dynamo=True, dynamic_shapes=shapes, verbose=False, **names
    )
    assert exported is not None
    return exported.model_proto


def _strip(graph: Any) -> None:
    """Removes what torch notes of the source code, which names folders of this machine."""
    for item in (
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        del item.metadata_props[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip(attribute.g)
