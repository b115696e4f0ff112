"""A `Scorer` as one safetensors file, which alone is enough to score a video.

It holds the whole identities of the features that the model reads, what its scale means, and what
it was trained on. Tensors are named ``prepare.<stream>.<array>.<field>``,
``basis.<stream>.<level>``, ``member.<number>.<parameter>`` and ``training.<field>``; the rest is
one JSON object, ``about``, in the file's metadata.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vqa_twostage.fuse.learning.model import Head, QualityModel
from vqa_twostage.fuse.learning.novelty import NoveltyReference
from vqa_twostage.fuse.learning.prepare import Preparation, Squash
from vqa_twostage.fuse.learning.scorer import Scorer, Training
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.streams import Shapes, Streams
from vqa_twostage.pipeline.datasets.videos import MODEL_FILE
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.files import replaced
from vqa_twostage.pipeline.identity import TrackIdentity

FILE = MODEL_FILE
FORMAT_VERSION = 1
# most values of one prepared array a frame
LARGEST = 10_000_000
MOST_MEMBERS = 100
SQUASH_FIELDS = ("fill", "scale", "mean", "std", "keep")
NOVELTY_FIELDS = ("mean", "std", "distances")
# of `Training`, in JSON; its tracks as an object with the two streams
TRAINING_FIELDS = ("dataset", "title", "label", "scale", "better", "videos")

Tensors = dict[str, np.ndarray]


def save(scorer: Scorer, run: Path) -> None:
    """Writes the file ``FILE`` in the folder ``run``, in one step."""
    training = scorer.training
    tensors: Tensors = {}
    for stream, prepare in scorer.preparations.items():
        for name, squash in prepare.squash.items():
            for field in SQUASH_FIELDS:  # in the precision that they are used with
                tensors[f"prepare.{stream}.{name}.{field}"] = getattr(squash, field).astype("f4")
        tensors |= {f"basis.{stream}.{level}": basis for level, basis in prepare.basis.items()}
    for number, model in enumerate(scorer.models):
        tensors |= {
            f"member.{number}.{name}": tensor.numpy() for name, tensor in model.state_dict().items()
        }
    tensors |= {f"training.{field}": getattr(training.novelty, field) for field in NOVELTY_FIELDS}
    tensors["training.mos"] = training.mos
    about = {
        "format_version": FORMAT_VERSION,
        "options": asdict(scorer.options),
        "shapes": dict(scorer.shapes.items()),
        "mean": scorer.mean,
        "std": scorer.std,
        "curve": None if scorer.curve is None else list(scorer.curve),
        "training": {
            **{field: getattr(training, field) for field in TRAINING_FIELDS},
            "tracks": {stream: track.to_json() for stream, track in training.tracks.items()},
        },
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    with replaced(run / FILE) as part:
        save_file(contiguous, part, metadata={"about": json.dumps(about)})


def load(run: Path) -> Scorer:
    """The model of a run; UsageError where it has none, or one of another format."""
    return load_file(run / FILE)


def load_file(path: Path) -> Scorer:
    """The model in one file; raises as `load` does."""
    about, tensors = _read(path)
    version = about.get("format_version")
    if version != FORMAT_VERSION:
        raise UsageError(
            f"{path} has format version {version}, and this program reads {FORMAT_VERSION}; train "
            "again, or install the version of vqa-twostage that wrote it"
        )
    try:
        return _build(about, tensors)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file may lack anything, or hold anything
        raise UsageError(
            f"{path} is damaged ({type(error).__name__}: {error}); train again"
        ) from None


def _read(path: Path) -> tuple[dict[str, Any], Tensors]:
    run = path.parent
    if not run.exists():
        raise UsageError(
            f"{run} does not exist; give a run of vqa-fuse train, or a folder of vqa-fuse export"
        )
    if not path.is_file():
        raise UsageError(
            f"{run} has no {path.name}; vqa-fuse train writes one at its end, ablate and baselines "
            "have none"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dictionary
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read ({error}); train again") from None
    if not isinstance(about, dict):
        raise UsageError(f"{path} is not a model of this program; give a run of vqa-fuse train")
    return about, tensors


def _build(about: dict[str, Any], tensors: Tensors) -> Scorer:
    """The model that a file describes; any exception where it does not."""
    options = TrainOptions.from_mapping(about["options"], "the model")
    shapes = Streams(**about["shapes"]).map(
        lambda track: {ArrayName(name): tuple(shape) for name, shape in track.items()}
    )
    _check_sizes(options, shapes, tensors)
    preparations = Streams(
        *(_preparation(stream, track, tensors) for stream, track in shapes.items())
    )
    training = dict(about["training"])
    return Scorer(
        options,
        preparations,
        [_member(number, options, shapes, tensors) for number in range(options.members)],
        shapes,
        about["mean"],
        about["std"],
        None if about["curve"] is None else np.array(about["curve"]),
        Training(
            **{field: training[field] for field in TRAINING_FIELDS}
            | {"scale": tuple(training["scale"])},
            tracks=Streams(**training["tracks"]).map(
                lambda track: TrackIdentity.from_json(track, "the model")
            ),
            mos=tensors["training.mos"],
            novelty=NoveltyReference(*(tensors[f"training.{field}"] for field in NOVELTY_FIELDS)),
        ),
    )


def _check_sizes(options: TrainOptions, shapes: Streams[Shapes], tensors: Tensors) -> None:
    """Before anything is built of these sizes: a file of a stranger must not exhaust memory."""
    if not 0 < options.members <= MOST_MEMBERS:
        raise UsageError(f"the model has {options.members} members, and 1 to {MOST_MEMBERS} can be")
    for stream, track in shapes.items():
        for name, shape in track.items():
            columns = len(tensors[f"prepare.{stream}.{name}.fill"])
            if not (0 < shape[0] <= columns and math.prod(shape) <= LARGEST):
                raise UsageError(
                    f"the model's {stream} array {name} has the shape {shape}, which cannot be "
                    f"prepared from {columns} columns"
                )


def _preparation(stream: str, shapes: Shapes, tensors: Tensors) -> Preparation:
    squash = {
        name: Squash(*(tensors[f"prepare.{stream}.{name}.{field}"] for field in SQUASH_FIELDS))
        for name in shapes
    }
    return Preparation(squash, _below(f"basis.{stream}.", tensors))


def _member(
    number: int, options: TrainOptions, shapes: Streams[Shapes], tensors: Tensors
) -> QualityModel:
    with torch.random.fork_rng(devices=[]):
        model = Head.of(options).build(shapes).eval()
    state = _below(f"member.{number}.", tensors)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return model


def _below(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names start with ``prefix``, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
