"""The contract of poolings, temporal encoders and fusions, held against every plug-in that is
there.

Dimensions: B videos, T frames of the spatial track, U of the temporal one, C channels.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vqa_twostage.fuse.dropout import Dropout
from vqa_twostage.fuse.fusion import dynamic
from vqa_twostage.fuse.fusion.multi_level import groups
from vqa_twostage.fuse.learning.model import Head, HeadOutput, QualityModel, tracks_of_levels
from vqa_twostage.fuse.metrics import srcc
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.streams import (
    ArrayName,
    Arrays,
    Channels,
    Shapes,
    Stream,
    Streams,
    value,
)
from vqa_twostage.fuse.testing import (
    check_baseline,
    check_fusion,
    check_pooling,
    check_temporal_encoder,
)
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

KINDS = {"pooling": "fuse.pooling", "temporal_encoder": "fuse.temporal", "fusion": "fuse.fusion"}
CHECKS: dict[str, Callable[[str], None]] = {
    "pooling": check_pooling,
    "temporal_encoder": check_temporal_encoder,
    "fusion": check_fusion,
}
FOUND = {kind: sorted(spec.available(package)) for kind, package in KINDS.items()}
PLUGINS = [(kind, name) for kind, names in FOUND.items() for name in names]
# with the options that one of them must be given
GIVEN = {"published": "published:score=dover"}
BASELINES = [GIVEN.get(name, name) for name in spec.available("fuse.baselines")]
BASELINES += ["svr:grid=published", "published:refit=logistic,score=dover"]
GRID_POOLINGS = ["attention", "fpn", "spatial_attention"]
# every fusion with every encoder, and every pooling: all three in every combination would be many
# times as many
HEADS = sorted(
    {
        ("avg", encoder, fusion)
        for encoder in FOUND["temporal_encoder"]
        for fusion in FOUND["fusion"]
    }
    | {(pooling, "mean", "dynamic") for pooling in FOUND["pooling"]}
)

B, T, U = 6, 5, 7
FRAMES = Streams(T, U)


def level(name: str, columns: int, side: int = 0) -> Shapes:
    """Shapes of what is stored of a level: also a map of ``side`` positions; the last one's maximum
    and class token.
    """
    shapes: dict[str, tuple[int, ...]] = {"mean": (columns,), "std": (columns,)}
    shapes |= {"grid": (columns, side, side)} if side else {}
    shapes |= {"max": (columns,), "cls": (columns,)} if name == "last" else {}
    return {ArrayName.of(name, statistic): shape for statistic, shape in shapes.items()}


SPATIAL = {
    **{**level("c1", 4), **level("c2", 5, 8), **level("c3", 6, 4)},
    **{**level("c4", 7, 2), **level("c5", 8, 1), **level("last", 9)},
}
TEMPORAL = {**level("c4", 5, 4), **level("c5", 6, 2), **level("last", 7)}
LEVELS = ["c1", "c2", "c3", "c4", "c5", "last"]
SHAPES = Streams(SPATIAL, TEMPORAL)
CHANNELS = Streams(Channels(12, (4, 4, 4)), Channels(10, (5, 5)))


def still(kind: str, name: str) -> str:
    """The spec of a plug-in with every kind of dropout switched off."""
    options = [option for option in spec.resolve(KINDS[kind], name).options if "dropout" in option]
    return name + (":" + ",".join(f"{option}=0" for option in options) if options else "")


def built(kind: str, text: str, shapes: Shapes = SPATIAL) -> nn.Module:
    given = {"pooling": [shapes], "temporal_encoder": [12], "fusion": CHANNELS}[kind]
    module = spec.resolve(KINDS[kind], text).build(*given)
    assert isinstance(module, nn.Module)
    return module


def frames(videos: int, longest: int) -> Tensor:
    """A mask of videos of one to ``longest`` frames, the first of them in full."""
    return of_lengths((longest - torch.arange(videos) % longest).tolist(), longest)


def of_lengths(lengths: list[int], longest: int) -> Tensor:
    return torch.arange(longest) < torch.tensor(lengths)[:, None]


def stored(shapes: Shapes, mask: Tensor) -> Arrays:
    """Random features that are 0 where there is no frame, as the loader makes them."""
    return {
        name: over(torch.randn(*mask.shape, *shape), mask, 0.0) for name, shape in shapes.items()
    }


def over(array: Tensor, mask: Tensor, padding: Tensor | float) -> Tensor:
    """The array with ``padding`` where there is no frame."""
    return torch.where(mask.reshape(*mask.shape, *[1] * (array.ndim - 2)), array, padding)


def stream(channels: Channels, mask: Tensor) -> Stream:
    levels = [torch.randn(*mask.shape, size) for size in channels.levels]
    weights = torch.rand(mask.shape).masked_fill(~mask, 0.0)
    return Stream(
        levels,
        torch.randn(*mask.shape, channels.tokens),
        weights / weights.sum(dim=1, keepdim=True),
        mask,
    )


def streams(videos: int = B) -> Streams[Stream]:
    return CHANNELS.map(stream, FRAMES.map(lambda longest: frames(videos, longest)))


def example(kind: str) -> tuple[Any, ...]:
    if kind == "pooling":
        return (stored(SPATIAL, frames(B, T)),)
    return streams() if kind == "fusion" else (torch.randn(B, T, 12), frames(B, T))


def tensors(value: Any) -> list[Tensor]:
    """All tensors of what a plug-in takes or gives."""
    if isinstance(value, Tensor):
        return [value]
    return [
        found
        for part in (value.values() if isinstance(value, dict) else value)
        for found in tensors(part)
    ]


def head(pooling: str, temporal_encoder: str, fusion: str) -> QualityModel:
    options = TrainOptions(pooling=pooling, temporal_encoder=temporal_encoder, fusion=fusion)
    return Head.of(options).build(SHAPES)


Inputs = tuple[Streams[Arrays], Streams[Tensor]]


def batch(videos: int = B) -> Inputs:
    return batch_of(FRAMES.map(lambda longest: frames(videos, longest)))


def batch_of(masks: Streams[Tensor]) -> Inputs:
    return SHAPES.map(stored, masks), masks


def part(inputs: Inputs, rows: Any, most: Streams[int] = FRAMES) -> Inputs:
    """Some videos of a batch, with no more than so many frames."""
    arrays, masks = inputs
    return (
        arrays.map(
            lambda track, length: {name: array[rows, :length] for name, array in track.items()},
            most,
        ),
        masks.map(lambda mask, length: mask[rows, :length], most),
    )


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# --- each plug-in ---


def test_there_are_plug_ins_of_every_kind() -> None:
    assert {"adaptive", "attention", "avg", "fpn", "spatial_attention"} <= set(FOUND["pooling"])
    assert {"attention", "excitation", "gru", "mean", "nonlocal"} <= set(FOUND["temporal_encoder"])
    fusions = {"concat", "cross_modal", "dynamic", "gated", "multi_level", "quality_aware"}
    assert fusions <= set(FOUND["fusion"])


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_plugin_keeps_its_contract(kind: str, name: str) -> None:
    CHECKS[kind](name)


@pytest.mark.parametrize("name", BASELINES)
def test_baseline_keeps_its_contract(name: str) -> None:
    check_baseline(name)


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_an_unknown_option_is_refused_with_those_there_are(kind: str, name: str) -> None:
    options = spec.resolve(KINDS[kind], name).options
    with pytest.raises(UsageError, match="nonsense") as caught:
        spec.resolve(KINDS[kind], f"{name}:nonsense=1")
    assert all(option in str(caught.value) for option in options)


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plug_in_is_small(kind: str, name: str) -> None:
    """Hundreds of videos do not teach millions of parameters: sizes of six levels of 64 channels,
    projected to 64.
    """
    wide = Channels(384, (64,) * 6)
    shapes: Shapes = {
        ArrayName.of(f"c{n}", what): (64,) for n in range(1, 7) for what in ("mean", "std", "max")
    }
    shapes |= {ArrayName.of(f"c{n}", "grid"): (64, 2 ** (6 - n), 2 ** (6 - n)) for n in range(2, 6)}
    given = {"pooling": [shapes], "temporal_encoder": [384], "fusion": [wide, wide]}[kind]
    module = spec.resolve(KINDS[kind], name).build(*given)
    assert sum(weight.numel() for weight in module.parameters()) < 200_000


# --- poolings ---


@pytest.mark.parametrize("name", FOUND["pooling"])
def test_a_pooling_uses_every_level_and_reads_what_it_says(name: str) -> None:
    plugin = spec.resolve("fuse.pooling", name)
    read = {
        array: shape for array, shape in SPATIAL.items() if array.statistic in plugin.module.READS
    }
    arrays = stored(read, frames(B, T))
    pooling = plugin.build(read).eval()
    assert pooling.level_channels == plugin.build(SPATIAL).level_channels
    before = pooling(arrays)
    for number, changed in enumerate(LEVELS):
        fresh = {
            array: torch.randn_like(values)
            for array, values in arrays.items()
            if array.startswith(f"{changed}/")
        }
        after = pooling({**arrays, **fresh})
        assert (after[number] - before[number]).abs().amax(dim=-1).min() > 1e-3
        # a pyramid hands down what the deeper levels know; nobody hands up
        others = [n for n in range(len(LEVELS)) if n != number and (n > number or name != "fpn")]
        assert all(torch.equal(after[n], before[n]) for n in others)


@pytest.mark.parametrize("name", GRID_POOLINGS)
def test_a_pooling_over_space_says_how_to_get_maps(name: str) -> None:
    flat = {array: shape for array, shape in SPATIAL.items() if not array.endswith("/grid")}
    with pytest.raises(
        UsageError,
        match=f"{name}.*c1/mean.*grid=2.*vqa-extract --spatial resnet:grid=2.*avg or adap",
    ):
        built("pooling", name, flat)


@pytest.mark.parametrize("name", GRID_POOLINGS)
@pytest.mark.parametrize("deepest", [1, 2, 3, 4])
def test_a_pooling_over_space_pools_the_maps_there_are_and_passes_on_the_other_averages(
    name: str, deepest: int
) -> None:
    shapes = {
        array: shape
        for array, shape in SPATIAL.items()
        if not array.endswith("/grid") or array[:2] in LEVELS[1 : deepest + 1]
    }
    arrays = stored(shapes, frames(B, T))
    tokens = built("pooling", name, shapes)(arrays)
    average = built("pooling", "avg", shapes)(arrays)
    for number in [0, *range(deepest + 1, len(LEVELS))]:
        assert torch.equal(tokens[number], average[number])


def test_adaptive_pooling_mixes_average_and_maximum_by_channel() -> None:
    pooling, (arrays,) = built("pooling", "adaptive"), example("pooling")
    pooling.weights[0].data = torch.tensor([0.0, 100.0, -100.0] + [0.0] * 6)
    last = dict(zip(LEVELS, pooling(arrays), strict=True))["last"]
    mean, highest = arrays["last/mean"], arrays["last/max"]
    mixed = last[..., 9:18]
    torch.testing.assert_close(mixed[..., 0], (mean[..., 0] + highest[..., 0]) / 2)
    torch.testing.assert_close(mixed[..., 1], mean[..., 1])
    torch.testing.assert_close(mixed[..., 2], highest[..., 2])
    assert torch.equal(last[..., :9], arrays["last/cls"])
    assert torch.equal(last[..., 18:], arrays["last/std"])


def test_adaptive_pooling_without_a_maximum_is_refused_with_the_next_step() -> None:
    with pytest.raises(
        UsageError, match="no level of the track has both: c1/mean, c1/std; choose.*for example avg"
    ):
        built("pooling", "adaptive", level("c1", 4))


def test_adaptive_pooling_learns_its_mixture_within_a_usual_training() -> None:
    pooling = built("pooling", "adaptive")
    optimizer = torch.optim.AdamW(pooling.parameters(), lr=2e-3)
    arrays = stored(SPATIAL, frames(B, T))
    for _ in range(60):
        optimizer.zero_grad()
        (pooling(arrays)[-1][..., 9:18] - arrays["last/max"]).square().mean().backward()
        optimizer.step()
    ones = {name: torch.full_like(array, name == "last/mean") for name, array in arrays.items()}
    assert (pooling(ones)[-1][..., 9:18] < 0.4).all()


def test_position_attention_starts_as_an_average_and_can_select_one_position() -> None:
    pooling, (arrays,) = built("pooling", "attention"), example("pooling")
    grid = arrays["c3/grid"]
    torch.testing.assert_close(pooling(arrays)[2], grid.mean(dim=(-2, -1)))
    grid[:, :, 0, 1, 2] += 50
    pooling.queries[1].data[0] = 10.0
    torch.testing.assert_close(pooling(arrays)[2], grid[..., 1, 2])
    weights = pooling.weights(torch.randn(B, T, 6, 4, 4), torch.randn(6))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, T))


def test_spatial_attention_keeps_or_drops_positions() -> None:
    pooling, (arrays,) = built("pooling", "spatial_attention:kernel=1"), example("pooling")
    for convolution in pooling.convolutions:
        nn.init.zeros_(convolution.weight)
        nn.init.zeros_(convolution.bias)
    grid = arrays["c3/grid"]
    usual = torch.cat([grid.mean(dim=(-2, -1)), grid.std(dim=(-2, -1), correction=0)], dim=-1)
    torch.testing.assert_close(pooling(arrays)[2], usual, rtol=0, atol=2e-3)
    # bright positions count twice, the others not at all
    grid[..., 2:, :] = 0.01 * grid[..., 2:, :]
    grid[..., :2, :] += 9
    nn.init.constant_(pooling.convolutions[1].weight, 50.0)
    nn.init.constant_(pooling.convolutions[1].bias, -100.0)
    torch.testing.assert_close(pooling(arrays)[2][..., :6], grid[..., :2, :].sum(dim=(-2, -1)) / 8)


def test_pyramid_pooling_distinguishes_maps_with_equal_averages() -> None:
    """The same averages over space, differently placed: only maps that are joined place by place
    tell them apart.
    """
    pooling, (arrays,) = built("pooling", "fpn"), example("pooling")
    turned = {
        name: array.flip(-1) if name == "c4/grid" else array for name, array in arrays.items()
    }
    before, after = pooling(arrays), pooling(turned)
    assert torch.allclose(before[3], after[3], atol=1e-6)
    assert (before[2] - after[2]).abs().amax(dim=-1)[frames(B, T)].min() > 1e-4


# --- temporal encoders ---


@pytest.mark.parametrize("name", FOUND["temporal_encoder"])
def test_temporal_encoder_uses_every_frame(name: str) -> None:
    encoder, mask = built("temporal_encoder", name).eval(), frames(B, T)
    tokens = torch.randn(B, T, 12)

    def vector(tokens: Tensor) -> Tensor:
        encoded, weights = encoder(tokens, mask)
        return torch.einsum("btd,bt->bd", encoded, weights)

    for frame in range(T):
        changed = tokens.clone()
        changed[0, frame] += 3
        assert (vector(changed) - vector(tokens))[0].abs().max() > 1e-3


@pytest.mark.parametrize("name", FOUND["temporal_encoder"])
def test_a_video_of_one_frame_is_encoded(name: str) -> None:
    encoded, weights = built("temporal_encoder", name)(
        torch.randn(B, 1, 12), torch.ones(B, 1, dtype=torch.bool)
    )
    assert torch.isfinite(encoded).all()
    assert (weights == 1).all()


def test_excitation_scales_channels_and_commutes_with_pooling() -> None:
    encoder, mask = built("temporal_encoder", "excitation"), frames(B, T)
    maps = torch.randn(B, T, 12, 4, 4)
    tokens = maps.mean(dim=(-2, -1))
    factor = encoder.factor(tokens, mask)
    assert (factor > 0.5).all() and (factor < 1.5).all()
    assert factor.std() > 1e-2
    torch.testing.assert_close(encoder(tokens, mask)[0], tokens * factor)
    # excited before pooling, as inside a network, or after it: the same
    torch.testing.assert_close(
        (maps * factor[..., None, None]).mean(dim=(-2, -1)),
        encoder(tokens, mask)[0],
        rtol=0,
        atol=1e-6,
    )


def test_excitation_depends_on_a_frame_and_its_neighbours() -> None:
    encoder, mask = built("temporal_encoder", "excitation"), torch.ones(B, 9, dtype=torch.bool)
    tokens = torch.randn(B, 9, 12)
    changed = tokens.clone()
    changed[:, 4] += 5
    moved = (encoder.factor(changed, mask) - encoder.factor(tokens, mask)).abs().amax(
        dim=(0, 2)
    ) > 0
    assert moved.tolist() == [3 <= frame <= 5 for frame in range(9)]


def test_non_local_block_starts_near_the_identity_and_reaches_every_frame() -> None:
    encoder, mask = built("temporal_encoder", "nonlocal"), frames(B, T)
    tokens = torch.randn(B, T, 12)
    encoded, _ = encoder(tokens, mask)
    assert (encoded - tokens)[mask].abs().max() < 0.3
    weights = encoder.weights(tokens, mask)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, T))
    assert torch.equal(weights > 0, mask[:, None].expand(B, T, T))


# --- fusions ---


@pytest.mark.parametrize("name", FOUND["fusion"])
def test_a_fusion_uses_both_streams(name: str) -> None:
    fusion, (spatial, temporal) = built("fusion", name).eval(), streams()
    base = fusion(spatial, temporal).vector
    for changed in (
        (replace(spatial, encoded=torch.randn_like(spatial.tokens)), temporal),
        (spatial, replace(temporal, encoded=torch.randn_like(temporal.tokens))),
    ):
        assert (fusion(*changed).vector - base).abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", FOUND["fusion"])
def test_gates_sum_to_one_over_what_they_weigh(name: str, training: bool) -> None:
    fused = built("fusion", name).train(training)(*streams(50))
    # the baseline weighs nothing; whatever is not the baseline must say what it weighs by
    assert bool(fused.gates) == (name != "concat")
    for gate in fused.gates.values():
        assert gate.ndim == 2 and len(gate) == 50 and gate.shape[1] > 1
        assert (gate >= 0).all()
        torch.testing.assert_close(gate.sum(dim=1), torch.ones(50))
        assert gate.std(dim=0).max() > 1e-4, "weighs every video alike"


@pytest.mark.parametrize("name", FOUND["fusion"])
def test_a_fusion_can_learn_sixteen_videos_by_heart(name: str) -> None:
    model = head(still("pooling", "avg"), "mean", still("fusion", name)).train()
    for module in model.modules():
        if isinstance(module, Dropout):
            module.dropped = 0
    inputs, labels = batch(16), torch.randn(16)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        output = model(*inputs)
        ((output.scores - labels).square().mean() + output.penalty).backward()
        optimizer.step()
    assert srcc(model(*inputs).scores.detach().double().numpy(), labels.double().numpy()) > 0.95


def gate_forced_to(expert: int, fusion: nn.Module) -> nn.Module:
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.fill_(-100)
        fusion.gate.bias[expert] = 100
    return fusion


def test_dynamic_fusion_returns_the_output_of_the_selected_expert() -> None:
    fusion, given = built("fusion", "dynamic:experts=3").eval(), streams()
    vector = fusion.stem(fusion.first(torch.cat([one.vector for one in given], dim=1)))
    answers = [gate_forced_to(expert, fusion)(*given).vector for expert in range(3)]
    outputs = fusion.experts(vector)
    for expert, found in enumerate(answers):
        torch.testing.assert_close(found, outputs[:, expert])
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (answers[first] - answers[second]).abs().amax(dim=1).min() > 1e-2


@pytest.mark.parametrize("top_k", [0, 2, 3])
def test_dynamic_fusion_mixes_its_experts_by_their_weights(top_k: int) -> None:
    fusion, given = built("fusion", f"dynamic:experts=3,top_k={top_k}").eval(), streams()
    mixed = fusion(*given)
    answers = torch.stack(
        [gate_forced_to(expert, fusion)(*given).vector for expert in range(3)], dim=1
    )
    torch.testing.assert_close(
        mixed.vector, (mixed.gates["experts"][..., None] * answers).sum(dim=1)
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("top_k", [2, 3, 5])
def test_dynamic_fusion_uses_only_the_best_experts(top_k: int, training: bool) -> None:
    fusion, given = built("fusion", "dynamic:experts=5,dropout=0"), streams(50)
    soft = fusion.train(training)(*given).gates["experts"]
    fusion.top_k = (
        spec.resolve("fuse.fusion", f"dynamic:experts=5,top_k={top_k}").build(*CHANNELS).top_k
    )
    chosen = fusion(*given).gates["experts"]
    assert ((chosen > 0).sum(dim=1) == top_k).all()
    kept = soft * (chosen > 0)
    torch.testing.assert_close(chosen, kept / kept.sum(dim=1, keepdim=True))
    assert (kept.masked_fill(kept == 0, 2).amin(dim=1) >= (soft - kept).amax(dim=1)).all()


def test_dynamic_fusion_penalises_uneven_experts_only_in_training() -> None:
    fusion, given = built("fusion", "dynamic:experts=4,balance=0.5").train(), streams(50)
    assert fusion(*given).penalty > 0
    # all on one of four: mean 1/4, variance 3/16
    torch.testing.assert_close(gate_forced_to(2, fusion)(*given).penalty, torch.tensor(0.5 * 3))
    assert fusion.eval()(*given).penalty == 0
    nn.init.zeros_(fusion.train().gate.weight)
    nn.init.zeros_(fusion.gate.bias)
    assert fusion(*given).penalty == 0
    # decided for every video, but by turns: that is balanced
    assert dynamic.imbalance(torch.eye(4).repeat(5, 1)) == 0
    assert built("fusion", "dynamic:balance=0").train()(*given).penalty == 0


def test_balance_loss_equalises_the_use_of_experts() -> None:
    fusion, given = built("fusion", "dynamic:top_k=2,balance=1").train(), streams(50)
    with torch.no_grad():
        fusion.gate.bias.copy_(torch.tensor([3.0, 2.0, -1.0, -1.0]))
    before = fusion(*given).penalty.item()
    optimizer = torch.optim.Adam(fusion.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        fusion(*given).penalty.backward()
        optimizer.step()
    assert fusion(*given).penalty.item() < 0.1 * before


def test_cross_modal_attention_runs_over_the_frames_and_differs_between_them() -> None:
    fusion, given = built("fusion", "cross_modal").eval(), streams()
    gates = fusion(*given).gates
    for name, other in (
        ("spatial_to_temporal", given.temporal),
        ("temporal_to_spatial", given.spatial),
    ):
        assert gates[name].shape == other.mask.shape
        assert (gates[name][~other.mask] == 0).all()
        several = other.mask.sum(dim=1) > 1
        for received, mask in zip(gates[name][several], other.mask[several], strict=True):
            assert received[mask].max() / received[mask].min() > 1.01
    # every frame asks for itself
    fusion.attend[0].query.weight.data *= 30
    own = [embed(one.tokens) for embed, one in zip(fusion.embed, given, strict=True)]
    _, attention = fusion.attend[0](*own, given.temporal.mask)
    torch.testing.assert_close(attention.sum(dim=-1), torch.ones(B, T))
    assert (attention[0, 0] - attention[0, 1]).abs().max() > 0.05


def test_multi_level_fusion_divides_levels_by_depth() -> None:
    for levels in range(1, 9):
        parts = [list(range(levels))[part] for part in groups(levels)]
        assert all(parts)
        assert sorted({level for part in parts for level in part}) == list(range(levels))
        assert parts == sorted(parts)
        if levels >= 3:
            assert sum(map(len, parts)) == levels
    assert [list(range(6))[part] for part in groups(6)] == [[0, 1], [2, 3], [4, 5]]


def test_multi_level_fusion_reads_every_level_in_its_group() -> None:
    fusion, given = built("fusion", "multi_level").eval(), streams()
    for number in range(3):
        levels = list(given.spatial.levels)
        levels[number] = torch.randn_like(levels[number])
        assert not torch.equal(
            fusion(replace(given.spatial, level_parts=levels), given.temporal).vector,
            fusion(*given).vector,
        )


def test_quality_aware_fusion_is_concatenation_for_equally_reliable_streams() -> None:
    fusion, given = built("fusion", "quality_aware").eval(), streams()
    for judge in fusion.judges:
        nn.init.zeros_(judge.last.weight)
        nn.init.zeros_(judge.last.bias)
    fused = fusion(*given)
    torch.testing.assert_close(fused.gates["reliability"], torch.full((B, 2), 0.5))
    torch.testing.assert_close(
        fused.vector, fusion.body(fusion.first(torch.cat([one.vector for one in given], dim=1)))
    )


def test_quality_aware_fusion_depends_on_the_variation_over_frames() -> None:
    fusion, (spatial, temporal) = built("fusion", "quality_aware").eval(), streams()
    means = zip(spatial.levels, spatial.level_vectors, strict=True)
    away = [level + 4 * (level - mean[:, None]) for level, mean in means]
    shaken = replace(spatial, level_parts=away)
    torch.testing.assert_close(shaken.level_vectors, spatial.level_vectors, rtol=0, atol=1e-5)
    several = spatial.mask.sum(dim=1) > 1
    before, after = (fusion(one, temporal).gates["reliability"] for one in (spatial, shaken))
    assert (before - after)[several].abs().amin() > 1e-3


# --- whole models ---


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_a_model_gives_one_finite_score_a_video(names: tuple[str, str, str]) -> None:
    model, inputs = head(*names), batch()
    for training in (True, False):
        output = model.train(training)(*inputs)
        assert isinstance(output, HeadOutput)
        assert output.scores.shape == (B,)
        assert all(torch.isfinite(tensor).all() for tensor in tensors(output))
    assert output.weights.map(lambda weights: weights.shape) == Streams((B, T), (B, U))
    assert output.penalty == 0
    assert len(set(output.scores.tolist())) == B


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_the_same_video_gets_the_same_score_every_time(names: tuple[str, str, str]) -> None:
    model, inputs = head(*names).eval(), batch()
    assert torch.equal(model(*inputs).scores, model(*inputs).scores)


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_appended_frames_that_are_masked_never_change_a_score(names: tuple[str, str, str]) -> None:
    model, inputs = head(*names).eval(), batch()
    arrays, masks = inputs

    def longer(size: float) -> Streams[Arrays]:
        return arrays.map(
            lambda track: {
                name: torch.cat([array, size * torch.randn(B, 3, *array.shape[2:])], dim=1)
                for name, array in track.items()
            }
        )

    padded = masks.map(lambda mask: torch.cat([mask, torch.zeros(B, 3, dtype=torch.bool)], dim=1))
    scores = model(*inputs).scores
    for size in (1e3, 1e9):
        torch.testing.assert_close(model(longer(size), padded).scores, scores, rtol=0, atol=1e-5)
    # the garbage is such that it would show: without the mask it moves every score
    seen = model(longer(1e3), padded.map(torch.ones_like)).scores
    assert (seen - scores).abs().min() > 1e-5


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_a_score_depends_on_the_video_alone_and_not_on_its_batch(
    names: tuple[str, str, str],
) -> None:
    model, inputs = head(*names).eval(), batch()
    scores = model(*inputs).scores
    for rows in (torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 4]), torch.tensor([1])):
        torch.testing.assert_close(
            model(*part(inputs, rows)).scores, scores[rows], rtol=0, atol=1e-6
        )


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(names=st.sampled_from(HEADS), data=st.data())
def test_a_video_among_longer_ones_scores_as_it_does_alone(
    names: tuple[str, str, str], data: st.DataObject
) -> None:
    longest = Streams(*data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9))))
    videos = data.draw(st.integers(1, 4))
    lengths = longest.map(
        lambda most: data.draw(st.lists(st.integers(1, most), min_size=videos, max_size=videos))
    )
    model = head(*names).eval()
    inputs = batch_of(lengths.map(of_lengths, longest))
    output = model(*inputs)
    for row in range(videos):
        own = lengths.map(lambda lengths, row=row: lengths[row])
        alone = model(*part(inputs, slice(row, row + 1), own))
        torch.testing.assert_close(alone.scores, output.scores[row : row + 1], rtol=0, atol=1e-5)
        for weights, among in alone.weights.zip(output.weights):
            torch.testing.assert_close(
                weights[0], among[row, : weights.shape[1]], rtol=0, atol=1e-6
            )


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_every_parameter_is_learnt(names: tuple[str, str, str]) -> None:
    model = head(*(still(kind, name) for kind, name in zip(KINDS, names, strict=True))).train()
    output = model(*batch())
    ((output.scores * torch.randn(B)).sum() + output.penalty).backward()
    idle = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is None or not weight.grad.any()
    ]
    assert not idle
    assert all(
        torch.isfinite(weight.grad).all()
        for weight in model.parameters()
        if weight.grad is not None
    )


def test_tracks_can_have_different_poolings() -> None:
    options = TrainOptions(pooling="fpn", temporal_pooling="adaptive")
    flat = {name: shape for name, shape in TEMPORAL.items() if not name.endswith("/grid")}
    model = Head.of(options).build(Streams(SPATIAL, flat))
    assert torch.isfinite(model(*batch()).scores).all()


# --- what is shared by poolings ---


def test_level_dropout_drops_whole_levels_but_never_all() -> None:
    project = spec.resolve("fuse.pooling", "avg:width=4,level_dropout=0.9").shared()
    project = project((3, 5, 7), (0, 0, 0)).train()
    levels = [torch.randn(B, T, size) for size in (3, 5, 7)]
    seen = set()
    for _ in range(60):
        tokens = torch.stack([value(part) for part in project(levels)])
        dropped = (tokens == 0).all(dim=(1, 2, 3))
        assert bool((dropped == (tokens == 0).any(dim=(1, 2, 3))).all()), (
            "a level is dropped whole, or not at all"
        )
        assert not dropped.all()
        seen.add(tuple(dropped.tolist()))
    assert len(seen) > 3


@pytest.mark.parametrize("tracks", [(0, 0, 1), (0, 1, 1), (0, 1, 2)])
def test_level_dropout_keeps_a_level_of_each_track(tracks: tuple[int, ...]) -> None:
    project = spec.resolve("fuse.pooling", "avg:width=4,level_dropout=0.9").shared()
    project = project((3, 5, 7), tracks).train()
    levels = [torch.randn(B, T, size) for size in (3, 5, 7)]
    some_dropped = False
    for _ in range(60):
        dropped = [bool((value(part) == 0).all()) for part in project(levels)]
        kept = {track for track, gone in zip(tracks, dropped, strict=True) if not gone}
        assert kept == {*tracks}
        some_dropped |= any(dropped)
    assert some_dropped == (len({*tracks}) < len(tracks))


def test_the_levels_of_several_tracks_in_a_stream_are_told_apart() -> None:
    shapes = {ArrayName(name): (2,) for name in ("a/c2/mean", "a/c2/std", "a/c3/mean", "b/x/mean")}
    assert tracks_of_levels(shapes, 3) == (0, 0, 1)
    assert tracks_of_levels(shapes, 2) == (0, 0), "a pooling with levels of its own"
    assert tracks_of_levels({ArrayName("c2/mean"): (2,), ArrayName("c3/mean"): (2,)}, 2) == (0, 0)


@pytest.mark.parametrize("dropout", ["-0.1", "1", "1.5"])
@pytest.mark.parametrize("name", FOUND["pooling"])
def test_level_dropout_outside_of_its_range_is_refused(name: str, dropout: str) -> None:
    with pytest.raises(UsageError, match=f"at least 0 and below 1, not {float(dropout)}"):
        spec.resolve("fuse.pooling", f"{name}:level_dropout={dropout}").shared()


# --- wrong use ---


@pytest.mark.parametrize(
    ("kind", "named"),
    [("pooling", "pooling"), ("temporal_encoder", "temporal encoder"), ("fusion", "fusion")],
)
def test_an_unknown_plug_in_lists_the_choices(kind: str, named: str) -> None:
    with pytest.raises(UsageError, match=f"unknown {named} 'nowhere'.*{', '.join(FOUND[kind])}"):
        Head.of(TrainOptions(**{kind: "nowhere"}))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("fusion", f"{name}:{option}")
        for name in FOUND["fusion"]
        for option in ("hidden=0", "dropout=1", "dropout=nan")
    ]
    + [
        ("fusion", f"dynamic:{option}")
        for option in ("experts=0", "top_k=1", "top_k=5", "top_k=-1")
    ]
    + [("fusion", f"dynamic:balance={value}") for value in ("-0.1", "nan", "inf")]
    + [("fusion", f"cross_modal:{option}") for option in ("heads=0", "hidden=2", "hidden=65")]
    + [("temporal_encoder", text) for text in ("attention:hidden=0", "excitation:reduction=0")]
    + [("temporal_encoder", text) for text in ("nonlocal:reduction=0", "gru:hidden=0")]
    + [
        ("pooling", text)
        for text in ("fpn:channels=0", "spatial_attention:kernel=2", "spatial_attention:kernel=-1")
    ],
)
def test_invalid_option_is_refused_with_the_valid_values(kind: str, text: str) -> None:
    name, _, option = text.partition(":")
    with pytest.raises(UsageError, match=rf"^{name}: {option.partition('=')[0]} must .*not"):
        built(kind, text)


def test_shapes_of_every_head_are_known_without_torchs_compiler() -> None:
    """Loading a model asks for them, and importing the compiler takes a second or two."""
    text = "TrainOptions(pooling={!r}, temporal_encoder={!r}, fusion={!r})"
    program = "\n".join(
        (
            "import sys, torch",
            "from vqa_twostage.fuse.learning.model import Head",
            "from vqa_twostage.fuse.options import TrainOptions",
            "from vqa_twostage.fuse.streams import ArrayName, Streams",
            f"sides = {[dict(side) for side in SHAPES]!r}",
            "shapes = Streams(*({ArrayName(name): side[name] for name in side} for side in sides))",
            f"for options in [{', '.join(text.format(*head) for head in HEADS)}]:",
            "    with torch.device('meta'):",
            "        Head.of(options).build(shapes)",
            "    assert 'torch._dynamo' not in sys.modules, options",
        )
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("width", ["0", "-1"])
def test_width_below_one_is_refused(width: str) -> None:
    with pytest.raises(UsageError, match=f"width must be at least 1, not {width}"):
        spec.resolve("fuse.pooling", f"avg:width={width}").shared()


def test_gru_encoder_equals_that_of_torch() -> None:
    encoder = built("temporal_encoder", "gru:hidden=5")
    reference = nn.GRU(12, 5, batch_first=True)
    with torch.no_grad():
        for name, layer in (("ih", encoder.of_token), ("hh", encoder.of_state)):
            getattr(reference, f"weight_{name}_l0").copy_(layer.weight)
            getattr(reference, f"bias_{name}_l0").copy_(layer.bias)
    tokens = torch.randn(B, T, 12)
    states, _ = encoder(tokens, torch.ones(B, T, dtype=torch.bool))
    torch.testing.assert_close(states, reference(tokens)[0])
