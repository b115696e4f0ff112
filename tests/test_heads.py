"""The contract of poolings, temporal encoders and fusions, held against every plug-in that is there.

Letters: B videos, T frames, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from fuse.fusion.dynamic import Dynamic
from fuse.model import Head, QualityModel
from fuse.options import TrainOptions
from pipeline import spec
from pipeline.errors import UsageError

KINDS = {"pooling": "fuse.pooling", "temporal_encoder": "fuse.temporal", "fusion": "fuse.fusion"}
FOUND = {kind: sorted(spec.available(package)) for kind, package in KINDS.items()}
PLUGINS = [(kind, name) for kind, names in FOUND.items() for name in names]
# every pooling with every encoder with every fusion
HEADS = list(product(*FOUND.values()))

B, T = 6, 5
SPATIAL = {"c1": 6, "c2": 10, "last": 14}
TEMPORAL = {"c1": 4, "last": 8}


def still(kind: str, name: str) -> str:
    """The spec of a plug-in with every kind of dropout switched off."""
    options = [option for option in spec.resolve(KINDS[kind], name).options if "dropout" in option]
    return name + (":" + ",".join(f"{option}=0" for option in options) if options else "")


def built(kind: str, text: str) -> nn.Module:
    given = {"pooling": [SPATIAL], "temporal_encoder": [12], "fusion": [7, 9]}[kind]
    module = spec.resolve(KINDS[kind], text).build(*given)
    assert isinstance(module, nn.Module)
    return module


def answer(kind: str, module: nn.Module, inputs: tuple[object, ...] | None = None) -> Tensor:
    output = module(*(inputs or example(kind)))
    assert isinstance(output, Tensor)
    return output


def example(kind: str) -> tuple[object, ...]:
    if kind == "pooling":
        return ({level: torch.randn(B, T, columns) for level, columns in SPATIAL.items()},)
    if kind == "temporal_encoder":
        return torch.randn(B, T, 12), frames(B, T)
    return torch.randn(B, 7), torch.randn(B, 9)


def frames(videos: int, longest: int) -> Tensor:
    """A mask of videos of one to ``longest`` frames, the first of them in full."""
    lengths = longest - torch.arange(videos) % longest
    return torch.arange(longest) < lengths[:, None]


def levels(columns: dict[str, int], mask: Tensor) -> dict[str, Tensor]:
    """Random features that are 0 where there is no frame, as the loader makes them."""
    return {level: torch.randn(*mask.shape, size) * mask[..., None] for level, size in columns.items()}


def head(pooling: str, temporal_encoder: str, fusion: str) -> QualityModel:
    options = TrainOptions(pooling=pooling, temporal_encoder=temporal_encoder, fusion=fusion)
    return Head.of(options).build(SPATIAL, TEMPORAL)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


# --- each plug-in ---


def test_there_are_plug_ins_of_every_kind() -> None:
    assert {"avg"} <= set(FOUND["pooling"])
    assert {"mean"} <= set(FOUND["temporal_encoder"])
    assert {"concat", "dynamic"} <= set(FOUND["fusion"])


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plug_in_says_what_it_is_and_which_version(kind: str, name: str) -> None:
    assert len(spec.available(KINDS[kind])[name]) > 10
    assert spec.resolve(KINDS[kind], name).version >= 1


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_an_unknown_option_is_refused_with_those_there_are(kind: str, name: str) -> None:
    options = spec.resolve(KINDS[kind], name).options
    with pytest.raises(UsageError, match="nonsense") as caught:
        spec.resolve(KINDS[kind], f"{name}:nonsense=1")
    assert all(option in str(caught.value) for option in options)


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plug_in_gives_as_many_channels_as_it_promises(kind: str, name: str) -> None:
    module = built(kind, name)
    shape = (B, T, module.out_channels) if kind == "pooling" else (B, module.out_channels)
    for training in (True, False):
        output = answer(kind, module.train(training))
        assert output.shape == shape
        assert torch.isfinite(output).all()


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plug_in_is_deterministic_once_trained(kind: str, name: str) -> None:
    module, inputs = built(kind, name).eval(), example(kind)
    assert torch.equal(answer(kind, module, inputs), answer(kind, module, inputs))


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plug_in_does_not_change_what_it_is_given(kind: str, name: str) -> None:
    module, inputs = built(kind, name), example(kind)
    tensors = [tensor for given in inputs for tensor in (given.values() if isinstance(given, dict) else [given])]
    before = [tensor.clone() for tensor in tensors]
    answer(kind, module, inputs)
    assert all(torch.equal(first, second) for first, second in zip(before, tensors, strict=True))


@pytest.mark.parametrize("name", FOUND["temporal_encoder"])
def test_a_temporal_encoder_does_not_see_what_is_no_frame(name: str) -> None:
    encoder, mask = built("temporal_encoder", name).eval(), frames(B, T)
    tokens = torch.randn(B, T, 12)
    garbage = torch.where(mask[..., None], tokens, 1e3 * torch.randn(B, T, 12))
    torch.testing.assert_close(encoder(garbage, mask), encoder(tokens, mask), rtol=0, atol=1e-5)
    # and it does see every frame
    for frame in range(T):
        changed = tokens.clone()
        changed[0, frame] += 3
        assert (encoder(changed, mask)[0] - encoder(tokens, mask)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("name", FOUND["fusion"])
def test_a_fusion_uses_both_vectors(name: str) -> None:
    fusion = built("fusion", name).eval()
    spatial, temporal = torch.randn(B, 7), torch.randn(B, 9)
    base = fusion(spatial, temporal)
    assert (fusion(torch.randn(B, 7), temporal) - base).abs().amax(dim=1).min() > 1e-3
    assert (fusion(spatial, torch.randn(B, 9)) - base).abs().amax(dim=1).min() > 1e-3


@pytest.mark.parametrize("name", FOUND["pooling"])
def test_a_pooling_uses_every_level(name: str) -> None:
    pooling, (arrays,) = built("pooling", name).eval(), example("pooling")
    assert isinstance(arrays, dict)
    for level in SPATIAL:
        changed = {**arrays, level: torch.randn_like(arrays[level])}
        assert (pooling(changed) - pooling(arrays)).abs().amax(dim=-1).min() > 1e-3


# --- whole models, in every combination ---


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_a_model_gives_one_finite_score_a_video(names: tuple[str, str, str]) -> None:
    model, mask = head(*names), frames(B, T)
    for training in (True, False):
        scores = model.train(training)(levels(SPATIAL, mask), levels(TEMPORAL, mask), mask)
        assert scores.shape == (B,)
        assert torch.isfinite(scores).all()
    assert len(set(scores.tolist())) == B


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_the_same_video_gets_the_same_score_every_time(names: tuple[str, str, str]) -> None:
    model, mask = head(*names).eval(), frames(B, T)
    inputs = levels(SPATIAL, mask), levels(TEMPORAL, mask), mask
    assert torch.equal(model(*inputs), model(*inputs))


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_appended_frames_that_are_masked_never_change_a_score(names: tuple[str, str, str]) -> None:
    model, mask = head(*names).eval(), frames(B, T)
    spatial, temporal = levels(SPATIAL, mask), levels(TEMPORAL, mask)

    def with_garbage(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            level: torch.cat([array, 1e3 * torch.randn(B, 3, array.shape[-1])], dim=1)
            for level, array in arrays.items()
        }

    longer = torch.cat([mask, torch.zeros(B, 3, dtype=torch.bool)], dim=1)
    padded = model(with_garbage(spatial), with_garbage(temporal), longer)
    torch.testing.assert_close(padded, model(spatial, temporal, mask), rtol=0, atol=1e-5)
    # the garbage is such that it would show: without the mask it moves every score
    seen = model(with_garbage(spatial), with_garbage(temporal), torch.ones_like(longer))
    assert (seen - padded).abs().min() > 1e-5


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_a_score_depends_on_the_video_alone_and_not_on_its_batch(names: tuple[str, str, str]) -> None:
    model, mask = head(*names).eval(), frames(B, T)
    spatial, temporal = levels(SPATIAL, mask), levels(TEMPORAL, mask)
    scores = model(spatial, temporal, mask)
    for rows in (torch.tensor([3, 0, 5, 1, 4, 2]), torch.tensor([2, 4]), torch.tensor([1])):
        part = model(
            {level: array[rows] for level, array in spatial.items()},
            {level: array[rows] for level, array in temporal.items()},
            mask[rows],
        )
        torch.testing.assert_close(part, scores[rows], rtol=0, atol=1e-6)


@pytest.mark.parametrize("names", HEADS, ids="+".join)
def test_every_parameter_is_learnt(names: tuple[str, str, str]) -> None:
    model = head(*(still(kind, name) for kind, name in zip(KINDS, names, strict=True))).train()
    mask = frames(B, T)
    (model(levels(SPATIAL, mask), levels(TEMPORAL, mask), mask) * torch.randn(B)).sum().backward()
    idle = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not idle
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


# --- what one plug-in promises beside ---


def gate_forced_to(expert: int, fusion: Dynamic) -> Dynamic:
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.fill_(-100)
        fusion.gate.bias[expert] = 100
    return fusion


def test_the_gate_of_dynamic_sums_to_one_and_differs_from_video_to_video() -> None:
    fusion = built("fusion", "dynamic:experts=3")
    assert isinstance(fusion, Dynamic)
    weights = fusion.weights(torch.randn(50, 16))
    assert weights.shape == (50, 3)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(50))
    assert (weights > 0).all()
    assert weights.std(dim=0).min() > 0.01


def test_dynamic_answers_with_the_expert_that_its_gate_chooses() -> None:
    fusion = built("fusion", "dynamic:experts=3").eval()
    assert isinstance(fusion, Dynamic)
    vectors = torch.randn(B, 7), torch.randn(B, 9)
    stem = fusion.stem(torch.cat(vectors, dim=1))
    answers = [gate_forced_to(expert, fusion)(*vectors) for expert in range(3)]
    for expert, found in zip(fusion.experts, answers, strict=True):
        torch.testing.assert_close(found, expert(stem))
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert (answers[first] - answers[second]).abs().amax(dim=1).min() > 1e-2


def test_dynamic_mixes_its_experts_by_their_weights() -> None:
    fusion = built("fusion", "dynamic:experts=2").eval()
    assert isinstance(fusion, Dynamic)
    vectors = torch.randn(B, 7), torch.randn(B, 9)
    weights = fusion.weights(fusion.stem(torch.cat(vectors, dim=1)))
    mixed = fusion(*vectors)
    first, second = (gate_forced_to(expert, fusion)(*vectors) for expert in range(2))
    torch.testing.assert_close(mixed, weights[:, :1] * first + weights[:, 1:] * second)


def test_avg_drops_whole_levels_in_training_but_never_all() -> None:
    pooling = built("pooling", "avg:width=4,level_dropout=0.9").train()
    (arrays,) = example("pooling")
    seen = set()
    for _ in range(60):
        tokens = pooling(arrays).unflatten(-1, (len(SPATIAL), 4))
        dropped = (tokens == 0).all(dim=(0, 1, 3))
        assert bool((dropped == (tokens == 0).any(dim=(0, 1, 3))).all()), "a level is dropped whole, or not at all"
        assert not dropped.all()
        seen.add(tuple(dropped.tolist()))
    assert len(seen) > 3


@pytest.mark.parametrize("dropout", ["-0.1", "1", "1.5"])
def test_avg_refuses_a_level_dropout_that_would_leave_nothing(dropout: str) -> None:
    with pytest.raises(UsageError, match=f"at least 0 and below 1, not {float(dropout)}"):
        built("pooling", f"avg:level_dropout={dropout}")


@pytest.mark.parametrize(
    ("kind", "named", "choices"),
    [("pooling", "pooling", "avg"), ("temporal_encoder", "temporal", "mean"), ("fusion", "fusion", "concat, dynamic")],
)
def test_an_unknown_plug_in_lists_the_choices(kind: str, named: str, choices: str) -> None:
    with pytest.raises(UsageError, match=f"unknown {named} 'nowhere'.*{choices}"):
        Head.of(TrainOptions(**{kind: "nowhere"}))


@pytest.mark.parametrize(
    ("kind", "text"),
    [("pooling", "avg:width=0"), ("pooling", "avg:width=-1")]
    + [
        ("fusion", text)
        for text in (
            "dynamic:experts=0",
            "dynamic:hidden=0",
            "dynamic:dropout=1.5",
            "dynamic:dropout=nan",
            "concat:hidden=0",
            "concat:dropout=-1",
        )
    ],
)
def test_an_option_that_cannot_be_is_refused(kind: str, text: str) -> None:
    with pytest.raises(UsageError):
        built(kind, text)


def test_the_two_tracks_may_have_different_numbers_of_frames() -> None:
    """A video transformer gives several rows a clip, the spatial backbone one: each stream has its own mask."""
    model = head("avg", "mean", "concat").eval()
    mask, other = frames(B, T), frames(B, 3 * T)
    scores = model(levels(SPATIAL, mask), temporal := levels(TEMPORAL, other), mask, other)
    assert scores.shape == (B,)
    noise = {level: torch.where(other[..., None], array, 1e3) for level, array in temporal.items()}
    spatial = {level: array * mask[..., None] for level, array in levels(SPATIAL, mask).items()}
    torch.testing.assert_close(model(spatial, noise, mask, other), model(spatial, temporal, mask, other))
