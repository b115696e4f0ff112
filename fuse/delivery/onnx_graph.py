"""A model as an ONNX graph: stored features in, scores on the scale of the labels out, for runtimes
without torch.

All that lies between is in the graph: preparation, the members of the ensemble, their mean, the
calibration. Numbers of videos and of frames are free; as everywhere, a video has a frame, and its
mask is true from the first to the last.

Letters: N videos, F frames of a track (T of the spatial, U of the temporal one), C channels of one
stored array.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.export import Dim

from vqa_twostage.fuse.learning.prepare import CLIP, Preparation
from vqa_twostage.fuse.learning.scorer_file import Scorer

FILE = "head.onnx"
OUTPUT = "score"
# each track, and what its number of frames is called
TRACKS = {"spatial": "frames", "temporal": "temporal_frames"}
FIELDS = ("fill", "scale", "mean", "std", "keep")
Inputs = dict[str, dict[str, Any]]


def inputs_of(scorer: Scorer) -> Inputs:
    """Of each input its type, its shape, and which array of the cache it is, in the order that
    `Whole` takes them.
    """
    inputs: Inputs = {}
    for (kind, frames), prepare, shapes in zip(
        TRACKS.items(), scorer.preparations, scorer.shapes, strict=True
    ):
        for name, squash in prepare.squash.items():
            shape = ["videos", frames, len(squash.fill), *shapes[name][1:]]
            inputs[f"{kind}.{name.replace('/', '.')}"] = {
                "type": "float32",
                "shape": shape,
                "stored": name,
            }
    return inputs | {
        f"{kind}.mask": {"type": "bool", "shape": ["videos", frames]}
        for kind, frames in TRACKS.items()
    }


class Whole(nn.Module):
    """`fuse.learning.scorer_file.Scorer`, of all stored arrays, the spatial ones first, and the two
    masks.
    """

    def __init__(self, scorer: Scorer) -> None:
        super().__init__()
        self.scorer, self.members = scorer, nn.ModuleList(scorer.models)
        tracks = zip(scorer.preparations, scorer.shapes, strict=True)
        self.prepare = nn.ModuleList(Prepare(prepare, shapes) for prepare, shapes in tracks)

    def forward(self, *inputs: Tensor) -> Float[Tensor, " N"]:
        given, masks = iter(inputs), inputs[-2:]
        stored = [
            {name: next(given) for name in track.squash} for track in self.scorer.preparations
        ]
        arrays = [
            prepare(*track) for prepare, *track in zip(self.prepare, stored, masks, strict=True)
        ]
        scores = torch.stack([member(*arrays, *masks).scores for member in self.members]).mean(
            dim=0
        )
        mean, std = self.scorer.mean, self.scorer.std
        if self.scorer.curve is None:
            return scores * std + mean
        high, low, middle, width = map(float, self.scorer.curve)
        # constants are put together in double precision, because the logistic may be steep
        return low + (high - low) * torch.sigmoid(scores * (std / width) + (mean - middle) / width)


class Prepare(nn.Module):
    """`fuse.learning.prepare.Preparation`; arrays of equal positions are joined, so that the graph
    has a tenth of the nodes.
    """

    def __init__(self, prepare: Preparation, shapes: dict[str, tuple[int, ...]]) -> None:
        super().__init__()
        self.joined: dict[tuple[int, ...], list[str]] = {}
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
            self.register_buffer(
                f"basis{number}", torch.from_numpy(basis)
            )  # of half precision, as it is saved

    def forward(
        self, stored: dict[str, Float[Tensor, "N F ..."]], mask: Bool[Tensor, "N F"]
    ) -> dict[str, Float[Tensor, "N F ..."]]:
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
                basis = bases.get(name.rpartition("/")[0])
                arrays[name] = (part if basis is None else part @ basis).movedim(-1, 2)
        return arrays


def traced(whole: Whole, example: tuple[Tensor, ...], inputs: Inputs) -> bytes:
    """The graph of ``whole`` for any number of videos and frames; any exception where a part cannot
    be traced.
    """
    axes = {axis: Dim(axis) for axis in ("videos", *TRACKS.values())}
    shapes = tuple(
        {n: axes[axis] for n, axis in enumerate(given["shape"][:2])} for given in inputs.values()
    )
    graph = translated(
        whole, example, {"inputs": shapes}, input_names=list(inputs), output_names=[OUTPUT]
    )
    _strip(graph.graph)
    return bytes(graph.SerializeToString())


def translated(module: nn.Module, example: tuple[Any, ...], shapes: Any, **names: Any) -> Any:
    """The onnx.ModelProto of a module; any exception where its operators or sizes allow none."""
    # traced here, because torch.onnx.export would quietly make a graph for one number of frames
    # where it cannot else
    program = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    exported = torch.onnx.export(
        program, dynamo=True, dynamic_shapes=shapes, verbose=False, **names
    )
    assert exported is not None
    return exported.model_proto


def _strip(graph: Any) -> None:
    """Without the traces of this program's source, which name folders of this machine."""
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
