"""Makes an ONNX graph and checks with onnxruntime that its scores are those of this program.

Scores may differ by `TOLERANCE`, and on a scale wider than 10 in proportion: float32 holds no more
digits (measured: 7e-7 on 1 to 5, 1.7e-5 on 0 to 100). The features that are compared are drawn like
those of the training videos, column by column, and include harder cases: values that are not finite
or far from all training values, videos of other lengths, of one frame, and padding that is not 0.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.export import Dim, register_dataclass
from torch.utils._pytree import tree_map, tree_map_only

from vqa_twostage.fuse.data import Features, Side
from vqa_twostage.fuse.delivery.onnx_graph import (
    FILE,
    OUTPUT,
    GraphTrack,
    Inputs,
    WholeModel,
    inputs_of,
    module_to_onnx,
    to_onnx,
    tracks_of,
)
from vqa_twostage.fuse.learning.prepare import Preparation
from vqa_twostage.fuse.learning.scorer import Scorer
from vqa_twostage.fuse.learning.threads import one_thread
from vqa_twostage.fuse.streams import Shapes, Stream, Streams
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError, raise_interrupt, require_installed
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.identity import TrackIdentity

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-5
# numbers of videos, and of frames of each track; the graph is traced with the first
SIZES = (
    (3, Streams(4, 5)),
    (1, Streams(1, 1)),
    (2, Streams(1, 6)),
    (8, Streams(9, 3)),
)
UNUSUAL = np.array([np.nan, np.inf, -np.inf, 0, 1e30, -3e38], np.float32)


register_dataclass(Stream)  # what fusions take


@dataclass(frozen=True)
class OnnxGraph:
    """``difference``: the largest from this program's scores, on the scale of the labels."""

    content: bytes
    inputs: Inputs
    difference: float

    def to_json(self) -> dict[str, Any]:
        """The object ``onnx`` of config.json."""
        return {
            "file": FILE,
            "inputs": {name: item.to_json() for name, item in self.inputs.items()},
            "output": {OUTPUT: {"type": "float32", "shape": ["videos"]}},
        }


def require_packages() -> None:
    require_installed("--onnx", PACKAGES, "onnx")


def require_one_label(scorer: Scorer) -> None:
    """UsageError for a model of several labels: a graph has one output."""
    if scorer.axes:
        raise UsageError(
            f"a graph has one output, and this model has axes too ({', '.join(scorer.axes)}); "
            "leave out --onnx, or train without --axes"
        )


def make_graph(scorer: Scorer) -> OnnxGraph:
    """UsageError where a part of the model cannot be a graph, or the graph's scores differ from the
    model's.
    """
    require_packages()
    inputs, whole, generator = (
        inputs_of(scorer),
        WholeModel(scorer).eval(),
        np.random.default_rng(0),
    )
    examples = [_example(scorer, generator, *size) for size in SIZES]
    with one_thread(), torch.no_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
        # torch's, which are for those who make exporters
        warnings.simplefilter("ignore")
        logging.getLogger("torch._subclasses.fake_tensor").disabled = True
        first = tuple(torch.from_numpy(array) for array in examples[0].inputs)
        try:
            content = to_onnx(whole, first, inputs)
            difference = max(_difference(scorer, content, inputs, example) for example in examples)
        except Exception as error:  # noqa: BLE001  a part may do anything
            raise_interrupt(error)
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            part = _part_without_graph(whole, first)
            raise UsageError(
                f"{part} cannot be written as ONNX ({reason}); export without --onnx"
            ) from None
    low, high = scorer.training.scale
    allowed = TOLERANCE * max(1.0, (high - low) / 10)
    if not difference <= allowed:
        raise UsageError(
            f"the ONNX graph's scores differ by {difference:.2g}, and {allowed:.2g} is allowed; "
            "export without --onnx"
        )
    return OnnxGraph(content, inputs, difference)


@dataclass(frozen=True, eq=False)
class Example:
    """Random features of some videos, as this program and as the graph takes them."""

    features: Streams[Side]
    masks: list[Bool[np.ndarray, "N _"]]

    @property
    def inputs(self) -> list[np.ndarray]:
        """In the order of `inputs_of`."""
        tracks = [track for side in self.features for track in side]
        return [*(array[:] for track in tracks for array in track.arrays.values()), *self.masks]


def _example(
    scorer: Scorer, generator: np.random.Generator, videos: int, frames: Streams[int]
) -> Example:
    """The first video has all frames, the others some."""
    masks: dict[str, Bool[np.ndarray, "N _"]] = {}
    place = TrackPath(Path(), "", "", FILE)

    def drawn(track: GraphTrack, identity: TrackIdentity, most: int) -> Features:
        if track.frames not in masks:
            lengths = generator.integers(1, most, (videos, 1), endpoint=True)
            masks[track.frames] = np.arange(most) < lengths
            masks[track.frames][0] = True
        prepare, mask = track.preparation, masks[track.frames]
        arrays = {
            name: _drawn(name, prepare, track.shapes, mask, generator) for name in prepare.squash
        }
        return Features(place, identity, arrays, mask, np.zeros(mask.shape))

    sides = tracks_of(scorer).map(
        lambda side, identities: tuple(
            # the second of a stream has other numbers of frames, where it may
            drawn(track, identity, getattr(frames, track.stream) + number)
            for number, (track, identity) in enumerate(zip(side, identities, strict=True))
        ),
        scorer.training.tracks,
    )
    return Example(sides, list(masks.values()))


def _drawn(
    name: ArrayName,
    prepare: Preparation,
    shapes: Shapes,
    mask: Bool[np.ndarray, "N T"],
    generator: np.random.Generator,
) -> Float[np.ndarray, "N T ..."]:
    """Values of one array that are distributed as in training, with unusual ones among them."""
    squash, (components, *positions) = prepare.squash[name], shapes[name]
    # a video's frames are alike, or the mean over them would be the same for every video
    of_video = generator.normal(size=(len(mask), 1, *[1] * len(positions), components))
    of_frame = generator.normal(size=(*mask.shape, *positions, components))
    prepared = of_video + 0.5 * of_frame
    if (basis := prepare.basis.get(name.level)) is not None:
        prepared = prepared @ np.linalg.pinv(basis.astype(np.float64))
    array = squash.fill + squash.scale * np.sinh(squash.mean + squash.std * prepared)
    array = array.astype(np.float32)
    array = np.where(
        generator.random(array.shape) < 0.01, generator.choice(UNUSUAL, array.shape), array
    )
    array[~mask] = np.nan
    return np.ascontiguousarray(np.moveaxis(array, -1, 2))


def _difference(scorer: Scorer, content: bytes, inputs: Inputs, example: Example) -> float:
    runtime = import_module("onnxruntime")  # not installed everywhere, nor typed
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (scores,) = session.run([OUTPUT], dict(zip(inputs, example.inputs, strict=True)))
    return float(np.abs(scores - scorer.scores(example.features)).max())


def _computed(argument: Any) -> Any:
    """A stream with all of its tensors computed: weights of a product have no videos in front."""
    if not isinstance(argument, Stream):
        return argument
    return replace(argument, level_parts=argument.levels, encoded=argument.tokens)


def _shapes(argument: Any) -> Any:
    """All that passes between parts has videos and frames first; of a stream a list of its
    fields.
    """
    if isinstance(argument, Stream):
        return [_shapes(getattr(argument, field.name)) for field in fields(argument)]
    return tree_map(lambda tensor: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, argument)


def _part_without_graph(whole: WholeModel, example: tuple[Tensor, ...]) -> str:
    """The part that cannot be a graph on its own either."""
    options, model = whole.scorer.options, whole.scorer.models[0]
    parts = {
        f"pooling {options.pooling}": "spatial.pool",
        f"pooling {options.temporal_pooling or options.pooling}": "temporal.pool",
        f"temporal encoder {options.temporal_encoder}": "spatial.encode",
        f"fusion {options.fusion}": "fuse",
    }
    modules = {name: model.get_submodule(path) for name, path in parts.items()}
    inputs: dict[nn.Module, Any] = {}

    def keep_first(part: nn.Module, arguments: Any) -> None:
        inputs.setdefault(part, tuple(map(_computed, arguments)))

    for part in modules.values():
        part.register_forward_pre_hook(keep_first)
    whole(*example)
    for name, part in modules.items():
        if part not in inputs:  # an encoder that only averages is not called
            continue
        # copies: of a view the tracer would also ask what it is a view of
        arguments = tree_map_only(
            Tensor, lambda tensor: tensor.clone(memory_format=torch.contiguous_format), inputs[part]
        )
        shapes = tuple(map(_shapes, arguments))
        try:
            module_to_onnx(part, arguments, shapes)
        except Exception as error:  # noqa: BLE001  a part may do anything
            raise_interrupt(error)
            return name
    return "this head"
