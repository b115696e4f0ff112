"""The contracts of stage one as functions, for the tests of a plug-in's author.

Each function takes the spec of an installed plug-in, tries it on random frames or small videos of
its own, and raises AssertionError with one sentence that names the plug-in and the promise that it
breaks. What the plug-in itself raises is passed on.

Dimensions: B units of N frames, M rows of features a unit, S side of the input in pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import av
import numpy as np
import torch
from torch import Tensor

from vqa_twostage.extract.decoding.video import open_video
from vqa_twostage.extract.extractor import GRID_LEVELS, Extractor
from vqa_twostage.extract.inference.converted import Forward
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.sampler import Sampler
from vqa_twostage.pipeline.features import STATISTICS
from vqa_twostage.pipeline.spec import Plugin
from vqa_twostage.pipeline.testing import broken, check_plugin

# frames of the videos that samplers choose from
VIDEO_LENGTHS = (1, 3, 40)
# of the largest value of an array: what neighbours in a batch may change by rounding
TOLERANCE = 1e-5


def check_extractor(kind: Literal["spatial", "temporal"], text: str, size: int = 64) -> None:
    """``text``: usually with ``weights=none``, which needs no download. ``size``: S, where the
    network cannot take frames of 64 pixels.
    """
    plugin = check_plugin(f"extract.{kind}", text)
    with _seeded(0):
        extractor = _built(plugin)
    _check_attributes(plugin, extractor, kind)
    _check_frozen(plugin, extractor, size)
    forward, unit = _loaded(extractor, size), _unit(extractor, size, seed=1)
    _check_arrays(plugin, extractor, forward(torch.cat([unit, _unit(extractor, size, seed=2)])))
    _check_neighbours(plugin, forward, unit, _unit(extractor, size, seed=3))
    pair = torch.cat([unit, unit])
    features = forward(pair)
    if not _equal(features, forward(pair)):
        raise broken(plugin, "the same frames must give the same features each time")
    with _seeded(7):  # whatever was drawn before
        again = _built(plugin)
    if again.weights_digest != extractor.weights_digest:
        raise broken(plugin, "two builds must have the same weights_digest")
    if not _equal(features, _loaded(again, size)(pair)):
        raise broken(plugin, "two builds must give the same features")


def check_sampler(text: str) -> None:
    """On videos of one, three and forty frames, encoded for this check."""
    plugin = check_plugin("extract.samplers", text)
    with TemporaryDirectory(prefix="vqa-sampler-") as folder:
        for frames in VIDEO_LENGTHS:
            path = Path(folder) / f"{frames}.mp4"
            _write_video(path, frames)
            _check_choice(plugin, path)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The caller's random numbers are not changed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _built(plugin: Plugin) -> Extractor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of random weights
        extractor = plugin.build()
    if not isinstance(extractor, Extractor):
        raise broken(plugin, f"build must return an Extractor, not a {type(extractor).__name__}")
    return extractor


def _loaded(extractor: Extractor, size: int) -> Forward:
    """The network ready for two units, with stored maps where it gives maps."""
    levels = extractor.maps(torch.zeros(1, extractor.unit_frames, 3, size, size))
    preprocessing = replace(extractor.preprocessing, size=size)
    runtime = Runtime("torch", torch.device("cpu"), "fp32")
    grid = int(any(level in levels for level in GRID_LEVELS))
    _, forward = runtime.load(extractor, preprocessing, grid=grid, batch=2)
    return forward


def _unit(extractor: Extractor, size: int, seed: int) -> Tensor:
    """One unit of noise, uint8 [1, N, 3, S, S]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (1, extractor.unit_frames, 3, size, size)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def _equal(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(
        np.array_equal(values, second[name]) for name, values in first.items()
    )


def _check_attributes(plugin: Plugin, extractor: Extractor, kind: str) -> None:
    if (extractor.unit_frames == 1) != (kind == "spatial") or extractor.unit_frames < 1:
        raise broken(
            plugin,
            "unit_frames must be 1 for a spatial backbone and more for a temporal model, "
            f"not {extractor.unit_frames}",
        )
    if not extractor.weights_digest:
        raise broken(plugin, "weights_digest must not be empty: other weights are another track")
    preprocessing = extractor.preprocessing
    normal = all(
        0 <= mean <= 1 and 0 < std <= 1
        for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True)
    )
    if preprocessing.size < 1 or not normal:
        raise broken(plugin, f"mean and std must be on the scale 0 to 1, not {preprocessing}")


def _check_frozen(plugin: Plugin, extractor: Extractor, size: int) -> None:
    """No gradients, also where the caller has them switched on."""
    if any(module.training for module in extractor.network.modules()):
        raise broken(plugin, "the network must be in eval mode")
    with torch.enable_grad():
        maps = extractor.maps(torch.rand(1, extractor.unit_frames, 3, size, size))
    needed = any(parameter.requires_grad for parameter in extractor.network.parameters())
    if needed or any(values.requires_grad for values in maps.values()):
        raise broken(plugin, "the network must need no gradients (requires_grad_(False))")


def _check_arrays(plugin: Plugin, extractor: Extractor, arrays: dict[str, np.ndarray]) -> None:
    """``arrays`` are those of two units."""
    if missing := {"last/mean", "last/std"} - arrays.keys():
        raise broken(plugin, f"it must give {' and '.join(sorted(missing))}")
    if len({values.shape[1] for values in arrays.values()}) > 1:
        raise broken(plugin, "all maps of a unit must have the same number of rows")
    for name, values in arrays.items():
        statistic = name.rpartition("/")[2]
        dimensions = 5 if statistic == "grid" else 3
        if statistic not in STATISTICS:
            raise broken(plugin, f"{name} must end in one of {', '.join(sorted(STATISTICS))}")
        if values.ndim != dimensions or len(values) != 2:
            raise broken(plugin, f"{name} has the shape {values.shape} for two units")
        if extractor.unit_frames % values.shape[1]:
            raise broken(plugin, f"the rows of {name} must divide the frames of a unit")
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise broken(plugin, f"{name} must be finite numbers in float32")


def _check_neighbours(plugin: Plugin, forward: Forward, unit: Tensor, noise: Tensor) -> None:
    """Each place of a batch, beside black, white and noisy units."""
    alone = forward(torch.cat([unit, unit]))
    for neighbour in (torch.zeros_like(unit), torch.full_like(unit, 255), noise):
        for place, pair in enumerate(([unit, neighbour], [neighbour, unit])):
            for name, values in forward(torch.cat(pair)).items():
                expected = alone[name][0]
                apart = np.abs(values[place] - expected).max()
                if apart > TOLERANCE * max(1, np.abs(expected).max()):
                    raise broken(plugin, f"{name} of a unit must not depend on its batch")


def _write_video(path: Path, frames: int) -> None:
    """A bright square that moves over noise."""
    generator = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            pixels = generator.integers(0, 64, (64, 96, 3), dtype=np.uint8)
            pixels[16:40, number : number + 24] = 255
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def _check_choice(plugin: Plugin, path: Path) -> None:
    choose = plugin.build()
    if not callable(choose) or not isinstance(choose, Sampler):
        raise broken(plugin, "build must return a Sampler, which has clip_frames and digest")
    with open_video(path, id=path.stem) as video:
        numbers = choose(video)
        _check_numbers(plugin, numbers, choose.clip_frames, len(video))
        if not np.array_equal(numbers, choose(video)):
            raise broken(plugin, "the same video must give the same frames each time")
    decoders = [("auto", "two builds")]
    if find_spec("decord") is not None:
        decoders.append(("decord", "two decoders"))
    for decoder, what in decoders:
        with open_video(path, decoder, id=path.stem) as video:
            if not np.array_equal(numbers, plugin.build()(video)):
                raise broken(plugin, f"{what} must choose the same frames of a video")


def _check_numbers(plugin: Plugin, numbers: np.ndarray, clip_frames: int, length: int) -> None:
    if not isinstance(numbers, np.ndarray) or numbers.dtype != np.int64:
        raise broken(plugin, "frame numbers must be an array of int64")
    if not numbers.size or numbers.shape[1:] != ((clip_frames,) if clip_frames > 1 else ()):
        wanted = f"[T, {clip_frames}]" if clip_frames > 1 else "[T]"
        raise broken(plugin, f"frame numbers must be {wanted}, T at least 1, not {numbers.shape}")
    if numbers.min() < 0 or numbers.max() >= length:
        raise broken(plugin, f"frame numbers must lie in 0..{length - 1}, the frames of the video")
    if any((np.diff(numbers, axis=axis) < 0).any() for axis in range(numbers.ndim)):
        raise broken(plugin, "frame numbers must ascend")
