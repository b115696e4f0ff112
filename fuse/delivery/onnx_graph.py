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


def inputs_of(scorer: Scorer) -> Inputs:
    """The spatial arrays first, then the temporal ones, then the two masks."""
    inputs: Inputs = {}
    frames = dict(FRAMES.items())
    for stream, (prepare, shapes) in scorer.preparations.zip(scorer.shapes).items():
        for name, squash in prepare.squash.items():
            shape: Shape = ("videos", frames[stream], len(squash.fill), *shapes[name][1:])
            inputs[f"{stream}.{name.replace('/', '.')}"] = GraphInput("float32", shape, name)
    masks = {
        f"{stream}.mask": GraphInput("bool", ("videos", length))
        for stream, length in frames.items()
    }
    return inputs | masks


class WholeModel(nn.Module):
    """`fuse.learning.scorer.Scorer` as one module of the inputs of `inputs_of`."""

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer, self.members = scorer, nn.ModuleList(scorer.models)
        prepare = scorer.preparations.map(PrepareModule, scorer.shapes)
        self.spatial, self.temporal = prepare

    def forward(self, *inputs: Tensor) -> Float[Tensor, " N"]:
        remaining = iter(inputs)
        stored = self.scorer.preparations.map(
            lambda prepare: {name: next(remaining) for name in prepare.squash}
        )
        masks = Streams(*remaining)
        arrays = Streams(
            self.spatial(stored.spatial, masks.spatial),
            self.temporal(stored.temporal, masks.temporal),
        )
        scores = torch.stack([member(arrays, masks).scores for member in self.members]).mean(dim=0)
        mean, std = self.scorer.mean, self.scorer.std
        if self.scorer.curve is None:
            return scores * std + mean
        high, low, middle, width = map(float, self.scorer.curve)
        # constants are combined in double precision, because the logistic may be steep
        return low + (high - low) * torch.sigmoid(scores * (std / width) + (mean - middle) / width)


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
    axes = {axis: Dim(axis) for axis in ("videos", *FRAMES)}
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
