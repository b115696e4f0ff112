"""An ONNX graph that onnxruntime has run, and found to score as this program does.

Scores may differ by `TOLERANCE`, and on a scale wider than 10 by as much more as it is wider:
float32 holds no more digits (measured: 7e-7 on 1 to 5, 1.7e-5 on 0 to 100). What is compared looks
like the training videos', column by column, and worse: with values that are no numbers, or are far
from all that was seen, videos of other lengths, of one frame, and padding that is no zeros.

Letters: N videos, T frames of the spatial track, U of the temporal one.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim
from torch.utils._pytree import tree_map

from vqa_twostage.fuse.data import Features
from vqa_twostage.fuse.delivery.onnx_graph import (
    FILE,
    OUTPUT,
    Inputs,
    Whole,
    inputs_of,
    traced,
    translated,
)
from vqa_twostage.fuse.learning.fit import one_thread
from vqa_twostage.fuse.learning.scorer_file import Scorer
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError, require, require_installed
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
TOLERANCE = 1e-5
# videos, and frames of either track, that are compared; the graph is traced with the first
SIZES = ((3, 4, 5), (1, 1, 1), (2, 1, 6), (8, 9, 3))
UNUSUAL = np.array([np.nan, np.inf, -np.inf, 0, 1e30, -3e38], np.float32)


@dataclass(frozen=True)
class OnnxGraph:
    """``difference``: the largest from this program that was found, on the scale of the labels."""

    content: bytes
    inputs: Inputs
    difference: float

    @property
    def about(self) -> dict[str, Any]:
        """As config.json says it."""
        return {
            "file": FILE,
            "inputs": self.inputs,
            "output": {OUTPUT: {"type": "float32", "shape": ["videos"]}},
        }


def require_packages() -> None:
    require_installed("--onnx", PACKAGES)


def make_graph(scorer: Scorer) -> OnnxGraph:
    """UsageError where a part of the model cannot be a graph, or the graph's scores are others than
    the model's.
    """
    require_packages()
    assert scorer.training is not None
    low, high = scorer.training.scale
    inputs, whole, generator = inputs_of(scorer), Whole(scorer).eval(), np.random.default_rng(0)
    examples = [_example(scorer, generator, *size) for size in SIZES]
    with one_thread(), torch.no_grad(), warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # torch's, which are for those who make exporters
        first = tuple(torch.from_numpy(array) for array in examples[0])
        try:
            content = traced(whole, first, inputs)
            difference = max(_difference(scorer, content, inputs, example) for example in examples)
        except Exception as error:  # noqa: BLE001  a part may do anything
            reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
            part = _unfit(whole, first)
            raise UsageError(
                f"{part} cannot be written as ONNX ({reason}); export without --onnx"
            ) from None
    allowed = TOLERANCE * max(1.0, (high - low) / 10)
    require(
        difference <= allowed,
        f"the ONNX graph's scores differ by {difference:.2g}, and {allowed:.2g} is allowed; export "
        "without --onnx",
    )
    return OnnxGraph(content, inputs, difference)


def _example(
    scorer: Scorer, generator: np.random.Generator, videos: int, *frames: int
) -> list[np.ndarray]:
    """Inputs of so many videos, in the order of `inputs_of`; the first video has all frames, the
    others some.
    """
    masks = [
        np.arange(most) < generator.integers(1, most, (videos, 1), endpoint=True) for most in frames
    ]
    arrays = []
    for track, shapes, mask in zip(scorer.preparations, scorer.shapes, masks, strict=True):
        mask[0] = True
        for name, squash in track.squash.items():
            positions = [1] * len(shapes[name][1:])
            # a video's frames are alike, or the mean over them would be the same of every video
            drawn = generator.normal(size=(videos, 1, *positions, shapes[name][0]))
            drawn = drawn + 0.5 * generator.normal(
                size=(*mask.shape, *shapes[name][1:], shapes[name][0])
            )
            if (basis := track.basis.get(name.rpartition("/")[0])) is not None:
                drawn = drawn @ np.linalg.pinv(basis.astype(np.float64))
            array = (squash.fill + squash.scale * np.sinh(squash.mean + squash.std * drawn)).astype(
                np.float32
            )
            array = np.where(
                generator.random(array.shape) < 0.01, generator.choice(UNUSUAL, array.shape), array
            )
            array[~mask] = np.nan
            arrays.append(np.ascontiguousarray(np.moveaxis(array, -1, 2)))
    return [*arrays, *masks]


def _difference(scorer: Scorer, content: bytes, inputs: Inputs, example: list[np.ndarray]) -> float:
    runtime = import_module("onnxruntime")  # not installed everywhere, nor typed
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (found,) = session.run([OUTPUT], dict(zip(inputs, example, strict=True)))
    given, tracks = iter(example), []
    for track, mask in zip(scorer.preparations, example[-2:], strict=True):
        arrays = {ArrayName(name): next(given) for name in track.squash}
        place = TrackPath(Path(), "", "", FILE)
        identity = TrackIdentity("spatial", Spec("example"), Spec("example"))
        tracks.append(Features(place, identity, arrays, mask, np.zeros(mask.shape)))
    return float(np.abs(found - scorer.scores(*tracks)).max())


def _unfit(whole: Whole, example: tuple[Tensor, ...]) -> str:
    """The part that cannot be a graph on its own either."""
    options, model = whole.scorer.options, whole.scorer.models[0]
    parts = [
        (f"pooling {options.pooling}", model.spatial.pool),
        (f"pooling {options.temporal_pooling or options.pooling}", model.temporal.pool),
        (f"temporal encoder {options.temporal_encoder}", model.spatial.encode),
        (f"fusion {options.fusion}", model.fuse),
    ]
    taken: dict[Any, Any] = {}
    for _, part in parts:
        part.register_forward_pre_hook(lambda part, given: taken.setdefault(part, given) and None)
    whole(*example)
    for name, part in parts:
        # copies: of a view the tracer would also ask what it is a view of
        given = tree_map(
            lambda tensor: tensor.clone(memory_format=torch.contiguous_format), taken[part]
        )
        try:
            # all that passes between parts has videos and frames first
            translated(
                part, given, tree_map(lambda tensor: {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, given)
            )
        except Exception:  # noqa: BLE001
            return name
    return "this head"
