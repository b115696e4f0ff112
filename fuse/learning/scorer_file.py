"""A `Scorer` as one safetensors file, which alone is enough to score a video.

It holds the whole identities of the features that the model reads, what its scale means, and what
it was trained on. Tensors are named ``prepare.<stream>.<array>.<field>``,
``basis.<stream>.<level>``, ``member.<number>.<parameter>``, ``regressor.<number>.<buffer>`` and
``training.<field>``; of several tracks in a stream, arrays and levels have the track in front
(`fuse.learning.sides`). Of a further label there are ``axis.<number>.regressor.<number>.<buffer>``
and ``axis.<number>.mos``; its scores are further outputs of the members. The rest is one JSON
object, ``about``, in the file's metadata. ``sha256`` is the digest of ``about`` and all other
tensors: a tensor of 32 bytes, since the library writes several entries of metadata in any order,
and equal models are to be equal files.
"""

from __future__ import annotations

import hashlib
import json
import math
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from vqa_twostage.fuse.learning.model import Head, QualityModel
from vqa_twostage.fuse.learning.novelty import PERCENTILES, NoveltyReference
from vqa_twostage.fuse.learning.prepare import Preparation, Squash
from vqa_twostage.fuse.learning.scorer import AxisOfScorer, Scorer, Training
from vqa_twostage.fuse.learning.sides import named, track_names
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.streams import Shapes, Streams
from vqa_twostage.pipeline.datasets.axes import BETTER
from vqa_twostage.pipeline.datasets.videos import MODEL_FILE
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.files import SEAL, replaced
from vqa_twostage.pipeline.identity import TrackIdentity

FILE = MODEL_FILE
FORMAT_VERSION = 4
ABOUT = "about"
# most values of one prepared array a frame
LARGEST = 10_000_000
MOST_MEMBERS = 100
MOST_MODULES = 10_000
MOST_TRACKS = 100  # of a stream
LONGEST_TEXT = 1000
SQUASH_FIELDS = ("fill", "scale", "mean", "std", "keep")
NOVELTY_FIELDS = ("mean", "std", "distances")
# of `Training`, in JSON; its tracks as an object with the two streams
TRAINING_FIELDS = ("dataset", "title", "label", "scale", "better", "videos")

Tensors = dict[str, np.ndarray]


def save(scorer: Scorer, run: Path) -> None:
    """Writes the file ``FILE`` in the folder ``run``, in one step."""
    training = scorer.training
    tensors: Tensors = {}
    for stream, (preparations, tracks) in scorer.preparations.zip(training.tracks).items():
        for track, prepare in zip(track_names(tracks), preparations, strict=True):
            for name, squash in prepare.squash.items():
                for field in SQUASH_FIELDS:  # in the precision that they are used with
                    place = f"prepare.{stream}.{named(track, name)}.{field}"
                    tensors[place] = getattr(squash, field).astype("f4")
            for level, basis in prepare.basis.items():
                tensors[f"basis.{stream}.{track}{'/' if track else ''}{level}"] = basis
    for number, model in enumerate(scorer.models):
        tensors |= {
            f"member.{number}.{name}": tensor.numpy() for name, tensor in model.state_dict().items()
        }
    tensors |= _of_regressors(scorer.regressors)
    for number, axis in enumerate(scorer.axes.values()):
        of_axis = {**_of_regressors(axis.regressors), "mos": axis.mos}
        tensors |= {f"axis.{number}.{name}": array for name, array in of_axis.items()}
    tensors |= {f"training.{field}": getattr(training.novelty, field) for field in NOVELTY_FIELDS}
    tensors["training.mos"] = training.mos
    about = {
        "format_version": FORMAT_VERSION,
        "options": asdict(scorer.options),
        "shapes": dict(scorer.shapes.items()),
        **_about_label(scorer),
        "training": {
            **{field: getattr(training, field) for field in TRAINING_FIELDS},
            "tracks": {
                stream: [track.to_json() for track in side]
                for stream, side in training.tracks.items()
            },
        },
    }
    if scorer.axes:
        about["axes"] = [
            {"name": name, "scale": axis.scale, "better": axis.better, **_about_label(axis)}
            for name, axis in scorer.axes.items()
        ]
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    text = json.dumps(about)
    with replaced(run / FILE) as part:
        save_file(sealed_tensors(text, contiguous), part, metadata={ABOUT: text})


def _about_label(label: Scorer | AxisOfScorer) -> dict[str, Any]:
    """What `_label` reads."""
    return {
        "mean": label.mean,
        "std": label.std,
        "curve": None if label.curve is None else list(label.curve),
        "regressors": [*label.regressors],
    }


def _of_regressors(regressors: Mapping[str, nn.Module]) -> Tensors:
    return {
        f"regressor.{number}.{name}": tensor.numpy()
        for number, module in enumerate(regressors.values())
        for name, tensor in module.state_dict().items()
    }


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
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dictionary
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read ({error}); train again") from None
    seal = tensors.pop(SEAL, None)
    if ABOUT not in metadata or seal is None:
        raise UsageError(
            f"{path} has no {SEAL}: it is no model of this program, or one of an early version; "
            "give a run of vqa-fuse train"
        )
    if seal.tobytes() != digest_of(metadata[ABOUT], tensors):
        raise UsageError(
            f"{path} does not fit its {SEAL}: it is damaged, or was changed; train again, or take "
            "it from where it came from"
        )
    try:
        about = json.loads(metadata[ABOUT])
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is damaged ({error}); train again") from None
    if not isinstance(about, dict):
        raise UsageError(f"{path} is not a model of this program; give a run of vqa-fuse train")
    return about, tensors


def sealed_tensors(about: str, tensors: Tensors) -> Tensors:
    """With their digest among them."""
    return {**tensors, SEAL: np.frombuffer(digest_of(about, tensors), np.uint8)}


def digest_of(about: str, tensors: Tensors) -> bytes:
    """Of everything that is used of a file, whatever the order in which it holds it."""
    digest = hashlib.sha256(about.encode())
    for name, array in sorted(tensors.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()


def _build(about: dict[str, Any], tensors: Tensors) -> Scorer:
    """The model that a file describes; any exception where it does not."""
    options = TrainOptions.from_mapping(about["options"], "the model")
    shapes = Streams(**about["shapes"]).map(
        lambda track: {ArrayName(name): _shape(shape) for name, shape in track.items()}
    )
    _check_sizes(options, shapes, tensors)
    training = _training(about["training"], shapes, tensors)
    preparations = Streams(
        *(
            _preparations(stream, of_stream, track_names(identities), tensors)
            for stream, (of_stream, identities) in shapes.zip(training.tracks).items()
        )
    )
    return Scorer(
        options=options,
        preparations=preparations,
        models=[_member(number, options, shapes, tensors) for number in range(options.members)],
        **_label(about, options, shapes, tensors),
        shapes=shapes,
        training=training,
        axes=_axes(about.get("axes", []), options, shapes, tensors),
    )


def _label(
    about: dict[str, Any], options: TrainOptions, shapes: Streams[Shapes], tensors: Tensors
) -> dict[str, Any]:
    """The fields that `Scorer` and `AxisOfScorer` share."""
    curve = about["curve"]
    return {
        "regressors": _regressors(about["regressors"], options, shapes, tensors),
        "mean": _number(about["mean"]),
        "std": _number(about["std"]),
        "curve": None if curve is None else np.array([_number(curve[place]) for place in range(4)]),
    }


def _axes(
    listed: list[dict[str, Any]], options: TrainOptions, shapes: Streams[Shapes], tensors: Tensors
) -> dict[str, AxisOfScorer]:
    """Of the further labels; ValueError unless they are those of the options."""
    if [axis["name"] for axis in listed] != [*(options.axes or ())]:
        raise ValueError(f"the axes {str(listed)[:LONGEST_TEXT]} are not those of the options")
    axes = {}
    for number, axis in enumerate(listed):
        own = _below(f"axis.{number}.", tensors)
        axes[_text(axis["name"])] = AxisOfScorer(
            scale=_scale(axis["scale"]),
            better=_better(axis["better"]),
            **_label(axis, options, shapes, own),
            mos=_tensor(own, "mos", PERCENTILES.size),
        )
    return axes


def _scale(value: Any) -> tuple[float, float]:
    low, high = value
    return _number(low), _number(high)


def _better(value: Any) -> str:
    if value not in BETTER:
        raise ValueError(f"better is {value!r}")
    return str(value)


def _training(training: dict[str, Any], shapes: Streams[Shapes], tensors: Tensors) -> Training:
    columns = sum(shape[0] for track in shapes for shape in track.values())
    sizes = {"mean": columns, "std": columns, "distances": PERCENTILES.size}
    return Training(
        dataset=_text(training["dataset"]),
        title=_text(training["title"]),
        label=_text(training["label"]),
        scale=_scale(training["scale"]),
        better=_better(training["better"]),
        videos=int(_number(training["videos"])),
        tracks=Streams(**training["tracks"]).map(
            lambda side: [TrackIdentity.from_json(track, "the model") for track in _some(side)]
        ),
        mos=_tensor(tensors, "training.mos", PERCENTILES.size),
        novelty=NoveltyReference(
            *(_tensor(tensors, f"training.{field}", sizes[field]) for field in NOVELTY_FIELDS)
        ),
    )


def _some(values: Any) -> list[Any]:
    """A list that is not empty, nor endless."""
    if not isinstance(values, list) or not 0 < len(values) <= MOST_TRACKS:
        raise ValueError(f"{str(values)[:LONGEST_TEXT]} is no list of 1 to {MOST_TRACKS} tracks")
    return values


def _text(value: Any) -> str:
    """A text to show: without what moves a terminal's cursor, and not as long as a book."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST_TEXT:
        raise ValueError(f"{str(value)[:LONGEST_TEXT]!r} is no text to show")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value)


def _shape(value: Any) -> tuple[int, ...]:
    """Of one array, per frame: channels, or channels and the positions of a map."""
    if len(value) not in (1, 3) or any(type(size) is not int or size < 1 for size in value):
        raise ValueError(f"{value!r} is no shape of an array")
    return tuple(value)


def _tensor(tensors: Tensors, name: str, *shape: int) -> np.ndarray:
    array = tensors[name]
    if array.dtype.kind != "f" or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} of the shape {array.shape}, and not {shape}")
    return array


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
    members = [_below(f"member.{number}.", tensors) for number in range(options.members)]
    expected = _parameters(options, shapes, most=len(members[0]))
    for number, member in enumerate(members):
        found = {name: array.shape for name, array in member.items()}
        if found != expected:
            differing = sorted(
                name for name in expected.keys() | found if expected.get(name) != found.get(name)
            )
            raise UsageError(
                f"member {number} of the model is not of its head: {', '.join(differing[:5])}"
            )


def _parameters(
    options: TrainOptions, shapes: Streams[Shapes], most: int
) -> dict[str, tuple[int, ...]]:
    """Names and shapes of what the head learns, without memory for it; UsageError where it has more
    than ``most`` of them: a number among its options may be anything.
    """
    parameters = modules = 0

    thread = threading.get_ident()

    def count_parameter(*_: object) -> None:
        nonlocal parameters
        parameters += threading.get_ident() == thread
        if parameters > most:
            raise UsageError(f"the model's head has more than the {most} tensors of its file")

    def count_module(*_: object) -> None:
        nonlocal modules
        modules += threading.get_ident() == thread
        if modules > MOST_MODULES:
            raise UsageError(f"the model's head has more than {MOST_MODULES} parts")

    with ExitStack() as stack:
        for handle in (
            register_module_parameter_registration_hook(count_parameter),
            register_module_module_registration_hook(count_module),
        ):
            stack.callback(handle.remove)
        stack.enter_context(torch.random.fork_rng(devices=[]))
        stack.enter_context(torch.device("meta"))
        state = Head.of(options).build(shapes).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def _preparations(
    stream: str, shapes: Shapes, tracks: list[str], tensors: Tensors
) -> list[Preparation]:
    """Of each track of a stream; ValueError where an array is of none, or a track has none."""
    found = [_preparation(stream, shapes, track, tensors) for track in tracks]
    prepared = {
        named(track, name)
        for track, preparation in zip(tracks, found, strict=True)
        for name in preparation.squash
    }
    if prepared != set(shapes) or not all(preparation.squash for preparation in found):
        raise ValueError(f"the arrays of {stream} are not of the tracks {', '.join(tracks)}")
    return found


def _preparation(stream: str, shapes: Shapes, track: str, tensors: Tensors) -> Preparation:
    """Of one track; ``shapes`` are those of its stream."""
    start = f"{track}/" if track else ""
    squash, bases = {}, _below(f"basis.{stream}.{start}", tensors)
    for name, shape in shapes.items():
        if not name.startswith(start):
            continue
        own = ArrayName(name.removeprefix(start))
        prefix = f"prepare.{stream}.{name}"
        columns = len(tensors[f"{prefix}.fill"])
        fields = (_tensor(tensors, f"{prefix}.{field}", columns) for field in SQUASH_FIELDS)
        squash[own] = Squash(*fields)
        if own.level in bases:
            _tensor(tensors, f"basis.{stream}.{name.level}", columns, shape[0])
        elif shape[0] != columns:
            raise ValueError(f"{name} has {columns} columns, and the head takes {shape[0]}")
    return Preparation(squash, bases)


def _member(
    number: int, options: TrainOptions, shapes: Streams[Shapes], tensors: Tensors
) -> QualityModel:
    with torch.random.fork_rng(devices=[]):
        model = Head.of(options).build(shapes).eval()
    state = _below(f"member.{number}.", tensors)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    return model


def _regressors(
    names: Any, options: TrainOptions, shapes: Streams[Shapes], tensors: Tensors
) -> dict[str, nn.Module]:
    """Those with ``names``; ValueError where one is not among the options, or does not give a
    number for a row.
    """
    plugins = {str(plugin.short_spec): plugin for plugin in Head.of(options).closed_forms}
    if not isinstance(names, list) or not {*names} <= plugins.keys():
        raise ValueError(f"the regressors {str(names)[:LONGEST_TEXT]} are not those of the options")
    row = torch.zeros(1, sum(shape[0] for track in shapes for shape in track.values()))
    regressors: dict[str, nn.Module] = {}
    for number, name in enumerate(names):
        buffers = _below(f"regressor.{number}.", tensors)
        module = (
            plugins[name]
            .build()
            .module(**{name: torch.from_numpy(array) for name, array in buffers.items()})
        )
        if module(row).shape != (1, 1):
            raise ValueError(f"regressor {number} gives {tuple(module(row).shape)} for one video")
        regressors[name] = module
    return regressors


def _below(prefix: str, tensors: Tensors) -> Tensors:
    """The tensors whose names start with ``prefix``, by the rest of their names."""
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
