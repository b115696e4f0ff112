"""The contracts of poolings, temporal encoders and fusions, tried on random features.

Dimensions: B videos, T frames, C channels, G weights of a gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vqa_twostage.fuse.streams import (
    ArrayName,
    Arrays,
    Channels,
    Fused,
    Fusion,
    Pooling,
    Product,
    Shapes,
    Stream,
    TemporalEncoder,
)
from vqa_twostage.pipeline.features import STATISTICS
from vqa_twostage.pipeline.spec import Plugin
from vqa_twostage.pipeline.testing import broken, check_plugin

Outputs = dict[str, Tensor]  # by the name that a message gives them, each [B, ...]

# frames of each video of the two streams; the first video has no padding
SPATIAL_LENGTHS, TEMPORAL_LENGTHS = (5, 1, 3, 4), (7, 6, 1, 2)
# of what padding is overwritten with
PADDING_SIZES = (1e3, 1e9)
# every statistic, and maps with 8, 4, 2 and 1 positions to a side
SHAPES: Shapes = {
    **{
        ArrayName.of(level, statistic): (channels,)
        for level, channels in {"c2": 4, "c3": 5, "c4": 6, "c5": 7, "last": 8}.items()
        for statistic in ("mean", "std", "max", "cls")
        if level == "last" or statistic in ("mean", "std")
    },
    **{ArrayName.of(f"c{n}", "grid"): (n + 2, 2 ** (5 - n), 2 ** (5 - n)) for n in range(2, 6)},
}
SPATIAL, TEMPORAL = Channels(12, (4, 4, 4)), Channels(10, (5, 5))


def check_pooling(text: str, shapes: Shapes = SHAPES) -> None:
    """``shapes``: of the arrays of a track, where the pooling needs others than five levels with
    averages and maps.
    """
    plugin = check_plugin("fuse.pooling", text)
    reads = getattr(plugin.module, "READS", None)
    if not isinstance(reads, tuple) or not reads or not STATISTICS.issuperset(reads):
        raise broken(plugin, f"READS must be a tuple of {', '.join(sorted(STATISTICS))}")
    read = {name: shape for name, shape in shapes.items() if name.statistic in reads}
    with _seeded():
        module = _built(plugin, Pooling, read)
        arrays = {name: torch.randn(4, 5, *shape) for name, shape in read.items()}
        pool = partial(_pooled, plugin, module)
        _check_module(plugin, module, partial(pool, arrays), list(arrays.values()))
        whole = pool(arrays)
        alone = pool({name: values[2:3, 1:2] for name, values in arrays.items()})
        for name, values in alone.items():
            if not _close(values, whole[name][2:3, 1:2]):
                raise broken(plugin, f"{name} of a frame depends on other frames or videos")
        if _of_means(plugin):
            means = pool({name: values.mean(1, keepdim=True) for name, values in arrays.items()})
            averaged = {name: values.mean(1, keepdim=True) for name, values in whole.items()}
            _check_of_means(plugin, means, averaged)
        everything = _built(plugin, Pooling, shapes)
        if tuple(everything.level_channels) != tuple(module.level_channels):
            raise broken(plugin, f"it reads arrays that READS, {reads}, does not name")


def check_temporal_encoder(text: str, channels: int = 12) -> None:
    """``channels``: C of a token."""
    plugin = check_plugin("fuse.temporal", text)
    with _seeded():
        module = _built(plugin, TemporalEncoder, channels)
        stream = _stream(Channels(channels, (channels,)), SPATIAL_LENGTHS)
        _check_on_streams(plugin, module, partial(_encoded, plugin, module), [stream])
        if _of_means(plugin):
            shares = stream.mask / stream.mask.sum(dim=1, keepdim=True)
            average = _averaged(replace(stream, weights=shares))
            mean, _ = module(average.tokens, average.mask)
            tokens, weights = module(stream.tokens, stream.mask)
            encoded = replace(stream, encoded=tokens, weights=weights)
            _check_of_means(
                plugin,
                {"encoded tokens": mean[:, 0], "weights of frames": shares},
                {"encoded tokens": encoded.vector, "weights of frames": weights},
            )


def check_fusion(text: str, spatial: Channels = SPATIAL, temporal: Channels = TEMPORAL) -> None:
    """``spatial``, ``temporal``: the channels of the two streams."""
    plugin = check_plugin("fuse.fusion", text)
    with _seeded():
        module = _built(plugin, Fusion, spatial, temporal)
        streams = [_stream(spatial, SPATIAL_LENGTHS), _stream(temporal, TEMPORAL_LENGTHS)]
        call = partial(_fused, plugin, module)
        _check_on_streams(plugin, module, call, streams)
        if _of_means(plugin):
            _check_of_means(plugin, call(*map(_averaged, streams)), call(*streams))
        if all(sum(channels.levels) == channels.tokens for channels in (spatial, temporal)):
            _check_products(plugin, call, streams)


@contextmanager
def _seeded() -> Iterator[None]:
    """The same random numbers each time, without a change to the caller's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def _built(plugin: Plugin, contract: type[Any], *arguments: Any) -> Any:
    module = plugin.build(*arguments)
    if not isinstance(module, nn.Module) or not isinstance(module, contract):
        raise broken(plugin, f"build must return a torch.nn.Module that is a {contract.__name__}")
    return module


def _stream(channels: Channels, lengths: tuple[int, ...]) -> Stream:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    weights = torch.where(mask, torch.rand(mask.shape) + 0.1, 0.0)
    return Stream(
        [torch.randn(*mask.shape, size) for size in channels.levels],
        torch.randn(*mask.shape, channels.tokens),
        weights / weights.sum(dim=1, keepdim=True),
        mask,
    )


def _pooled(plugin: Plugin, module: Pooling, arrays: Arrays) -> Outputs:
    """The levels of ``arrays``, of the shapes that the pooling states."""
    levels = module(arrays)
    frames = next(iter(arrays.values())).shape[:2]
    expected = [(*frames, channels) for channels in module.level_channels]
    shapes = [tuple(level.shape) for level in levels]
    if shapes != expected or not levels:
        raise broken(plugin, f"levels must have the shapes {expected}, not {shapes}")
    return _finite(plugin, {f"level {number}": level for number, level in enumerate(levels)})


def _encoded(plugin: Plugin, module: TemporalEncoder, stream: Stream) -> Outputs:
    """The encoded tokens, 0 for padding, and their weights."""
    tokens, weights = module(stream.tokens, stream.mask)
    _check_shape(plugin, "encoded tokens", tokens, (*stream.mask.shape, module.out_channels))
    _check_shape(plugin, "weights of frames", weights, stream.mask.shape)
    _finite(plugin, {"encoded tokens": tokens})
    _check_weights(plugin, "weights of frames", weights)
    if weights[~stream.mask].any():
        raise broken(plugin, "weights of padding must be 0")
    seen = torch.where(stream.mask[..., None], tokens, 0.0)
    return {"encoded tokens": seen, "weights of frames": weights}


def _fused(plugin: Plugin, module: Fusion, spatial: Stream, temporal: Stream) -> Outputs:
    output = module(spatial, temporal)
    if not isinstance(output, Fused):
        raise broken(plugin, f"forward must return a Fused, not a {type(output).__name__}")
    videos = len(spatial.mask)
    _check_shape(plugin, "the fused vector", output.vector, (videos, module.out_channels))
    _check_shape(plugin, "the penalty", output.penalty, ())
    for name, gate in output.gates.items():
        if gate.ndim != 2 or len(gate) != videos:
            raise broken(plugin, f"gate {name!r} must have the shape [B, G]")
        _check_weights(plugin, f"weights of gate {name!r}", gate)
    gates = {f"gate {name!r}": gate for name, gate in output.gates.items()}
    _finite(plugin, {"the penalty": output.penalty})
    return _finite(plugin, {"the fused vector": output.vector, **gates})


def _check_shape(plugin: Plugin, name: str, values: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(values.shape) != tuple(shape):
        raise broken(plugin, f"{name} must have the shape {shape}, not {tuple(values.shape)}")


def _check_weights(plugin: Plugin, name: str, weights: Tensor) -> None:
    """Of each video they are not negative and sum to one."""
    sums = weights.sum(dim=1)
    if (weights < 0).any() or not _close(sums, torch.ones_like(sums)):
        raise broken(plugin, f"{name} must be 0 or more and sum to one for each video")


def _finite(plugin: Plugin, outputs: Outputs) -> Outputs:
    for name, values in outputs.items():
        if not torch.isfinite(values).all():
            raise broken(plugin, f"{name} must be finite")
    return outputs


def _close(values: Tensor, expected: Tensor) -> bool:
    return torch.allclose(values, expected, rtol=1e-5, atol=1e-5)


def _check_module(
    plugin: Plugin, module: nn.Module, call: Callable[[], Outputs], inputs: list[Tensor]
) -> None:
    """It works in training too, changes no input, repeats its results, and can be trained."""
    before = [tensor.clone() for tensor in inputs]
    module.train()
    call()
    module.eval()
    first, second = call(), call()
    if not all(torch.equal(one, other) for one, other in zip(before, inputs, strict=True)):
        raise broken(plugin, "it changes its inputs")
    for name, values in first.items():
        if not torch.equal(values, second[name]):
            raise broken(plugin, f"{name} differs between two calls in eval mode")
    loss = torch.stack([(values * torch.randn_like(values)).sum() for values in second.values()])
    if loss.requires_grad:
        loss.sum().backward()
    for name, weight in module.named_parameters():
        if weight.requires_grad and weight.grad is None:
            raise broken(plugin, f"its parameter {name} influences nothing and is never trained")
        if weight.grad is not None and not torch.isfinite(weight.grad).all():
            raise broken(plugin, f"the gradient of its parameter {name} must be finite")


def _check_on_streams(
    plugin: Plugin, module: nn.Module, call: Callable[..., Outputs], streams: list[Stream]
) -> None:
    """Neither padding nor another video influences what it gives for a video."""
    inputs = [
        tensor
        for stream in streams
        for tensor in (*stream.levels, stream.tokens, stream.weights, stream.mask)
    ]
    _check_module(plugin, module, partial(call, *streams), inputs)
    whole = call(*streams)
    for size in PADDING_SIZES:
        for name, values in call(*(_with_padding(stream, size) for stream in streams)).items():
            if not _close(values, whole[name]):
                raise broken(plugin, f"padding must not influence {name}")
    for row in range(len(streams[0].mask)):
        for name, values in call(*(_video(stream, row) for stream in streams)).items():
            if not _close(values[0], whole[name][row, : values.shape[1]]):
                raise broken(plugin, f"{name} of a video must not depend on its batch")


def _of_means(plugin: Plugin) -> bool:
    declared = getattr(plugin.module, "OF_MEANS", False)
    if not isinstance(declared, bool):
        raise broken(plugin, f"OF_MEANS must be True or False, not {declared!r}")
    return declared


def _check_of_means(plugin: Plugin, means: Outputs, frames: Outputs) -> None:
    for name, values in frames.items():
        if not _close(means[name], values):
            raise broken(
                plugin,
                f"OF_MEANS is True, and {name} of the mean over frames differs from that of the "
                "frames",
            )


def _check_products(plugin: Plugin, call: Callable[..., Outputs], streams: list[Stream]) -> None:
    """Levels that are not computed yet give what they give as tensors."""
    products = [
        replace(
            stream,
            level_parts=[
                Product(level, torch.randn(2 * [level.shape[-1]])) for level in stream.levels
            ],
            encoded=None,
        )
        for stream in streams
    ]
    computed = [replace(stream, level_parts=stream.levels) for stream in products]
    found = call(*products)
    for name, values in call(*computed).items():
        if not _close(values, found[name]):
            raise broken(plugin, f"{name} differs where levels are given as products")


def _averaged(stream: Stream) -> Stream:
    """Each video as one frame, the mean by its weights."""
    ones = torch.ones(len(stream.mask), 1)
    levels = [level[:, None] for level in stream.level_vectors]
    return Stream(levels, stream.vector[:, None], ones, ones.bool())


def _with_padding(stream: Stream, size: float) -> Stream:
    def spoilt(values: Tensor) -> Tensor:
        return torch.where(stream.mask[..., None], values, size * torch.randn_like(values))

    levels = [spoilt(level) for level in stream.levels]
    return replace(stream, level_parts=levels, encoded=spoilt(stream.tokens))


def _video(stream: Stream, row: int) -> Stream:
    """One video without its padding."""
    place = (slice(row, row + 1), slice(int(stream.mask[row].sum())))
    levels = [level[place] for level in stream.levels]
    return Stream(levels, stream.tokens[place], stream.weights[place], stream.mask[place])
