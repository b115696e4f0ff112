"""TSM, TEA and SlowFast equal the published networks numerically, and load their checkpoints.

The expected values in ``data/temporal_models.json`` were computed once by the authors' own code, on
CPU in float32:

- TSM: github.com/mit-han-lab/temporal-shift-module, commit 1f6a834b (``TSN`` with ``is_shift``,
  n_div 8)
- TEA: github.com/Phoenix1327/tea-action-recognition, commit f59e2f81 (a comma added to
  ``tea50_8f.py``, which does not parse as published; the file of ImageNet weights not downloaded)
- SlowFast: github.com/facebookresearch/pytorchvideo, commit f3142bb0 (``slowfast_r50``, blocks 0 to
  4)

Every tensor of a checkpoint was filled by `random_tensor` from its official name, inputs are
`noise` and `video`, and the outputs are stored as two fixed random projections of each frame's map
(`projections`). ``names`` is the `fingerprint` of the names and shapes in the authors' state dict.
This repository contains none of that code.
"""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from places import TESTS
from timm.models.res2net import Bottle2neck
from torch import Tensor, nn

from vqa_twostage.extract.extractor import Extractor
from vqa_twostage.extract.networks.slowfast import SlowFast, slow_frames
from vqa_twostage.extract.networks.tea import (
    MotionExcitation,
    TeaBlock,
    TemporalConvolution,
    into_tea,
)
from vqa_twostage.extract.temporal import slowfast, tea, tsm
from vqa_twostage.pipeline.errors import UsageError

EXPECTED = json.loads((TESTS / "data" / "temporal_models.json").read_text())

State = dict[str, Tensor]


def random_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """The values for a tensor of that official name: variances and scales around one, and weights
    that preserve the variance.
    """
    random = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    if name.endswith("running_var") or (len(shape) == 1 and name.endswith("weight")):
        values = random.uniform(0.5, 1.5, shape)
    elif len(shape) == 1:
        values = 0.1 * random.standard_normal(shape)
    else:
        values = random.standard_normal(shape) * np.prod(shape[1:]) ** -0.5
    return torch.tensor(values, dtype=torch.float32)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.tensor(np.random.RandomState(seed).standard_normal(shape), dtype=torch.float32)


def video(*shape: int) -> Tensor:
    """Noise whose channels also differ in their mean."""
    return noise(11, *shape) + noise(12, *shape[:-2], 1, 1)


def projections(maps: Tensor) -> Tensor:
    """Two random projections of each row of ``maps``, to which every value contributes."""
    rows = maps.double().flatten(1)
    return rows @ noise(7, rows.shape[1], 2).double() / rows.shape[1] ** 0.5


def fingerprint(state: State) -> str:
    lines = sorted(f"{name} {tuple(tensor.shape)}" for name, tensor in state.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def filled(module: nn.Module, prefix: str) -> nn.Module:
    module.load_state_dict(
        {
            name: random_tensor(prefix + name, tuple(t.shape))
            for name, t in module.state_dict().items()
        }
    )
    return module.eval().requires_grad_(False)


def agree(actual: Tensor, expected: list[list[float]]) -> bool:
    expected_tensor = torch.tensor(expected, dtype=torch.float64)
    return bool(
        (actual - expected_tensor).abs().max() <= 1e-5 * max(1.0, expected_tensor.abs().max())
    )


# --- official state dicts: names and shapes as in the authors' code, random values ---


def official(names: Iterator[tuple[str, tuple[int, ...]]]) -> State:
    return {name: random_tensor(name, shape) for name, shape in names}


def classified(network: nn.Module, channels: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from (
        ("module.base_model." + name, tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    )
    yield from (("module.new_fc.weight", (400, channels)), ("module.new_fc.bias", (400,)))


def tsm_resnet50() -> State:
    with torch.device("meta"):
        named = classified(timm.create_model("resnet50", num_classes=0), 2048)
    return official(
        (re.sub(r"(layer\d\.\d\.conv1)\.", r"\1.net.", name), shape) for name, shape in named
    )


def tsm_mobilenetv2() -> State:
    """The authors' MobileNetV2 is a list of ``features``; shifted are the blocks whose input and
    output agree.
    """

    def layer(inputs: int, outputs: int, side: int, groups: int = 1) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, side, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(),
        ]

    features: list[nn.Module] = [nn.Sequential(*layer(3, 32, 3))]
    before = 32
    for expand, channels, depth in [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ]:
        for number in range(depth):
            inner = before * expand
            layers = [*layer(inner, inner, 3, groups=inner), *layer(inner, channels, 1)[:2]]
            if expand > 1:
                layers = [*layer(before, inner, 1), *layers]
            if number > 0:
                layers[0] = nn.ModuleDict({"net": layers[0]})
            features.append(nn.ModuleDict({"conv": nn.Sequential(*layers)}))
            before = channels
    features.append(nn.Sequential(*layer(320, 1280, 1)))
    return official(classified(nn.ModuleDict({"features": nn.ModuleList(features)}), 1280))


def tea_res2net50() -> State:
    with torch.device("meta"):
        network = timm.create_model("res2net50_26w_4s", num_classes=0)
        into_tea(network, 8)
    return official(classified(network, 2048))


@cache
def slowfast_r50() -> State:
    with torch.device("meta"):
        network = nn.ModuleDict({"blocks": SlowFast().blocks})
        network["blocks"].append(nn.Identity())
        network["blocks"].append(nn.ModuleDict({"proj": nn.Linear(2304, 400)}))
    return official((name, tuple(tensor.shape)) for name, tensor in network.state_dict().items())


PUBLISHED: dict[str, tuple[Callable[[], State], str, Callable[..., Extractor]]] = {
    "tsm resnet50": (
        tsm_resnet50,
        "state_dict",
        lambda file: tsm.build(network="resnet50.a1_in1k", weights=file),
    ),
    "tsm mobilenetv2": (
        tsm_mobilenetv2,
        "state_dict",
        lambda file: tsm.build(network="mobilenetv2_100", weights=file),
    ),
    "tea": (tea_res2net50, "state_dict", lambda file: tea.build(weights=file)),
    "slowfast": (slowfast_r50, "model_state", lambda file: slowfast.build(weights=file)),
}


@pytest.fixture(scope="module", params=PUBLISHED)
def loaded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, State, Extractor]:
    """A network's name, a checkpoint as its authors save one, and the extractor built from that
    file.
    """
    make, entry, build = PUBLISHED[request.param]
    state = make()
    path = tmp_path_factory.mktemp("weights") / "checkpoint.pth"
    torch.save({"epoch": 3, entry: state}, path)
    extractor = build(str(path))
    path.unlink()
    return request.param, state, extractor


def units_for(extractor: Extractor) -> Tensor:
    return video(2, extractor.unit_frames, 3, 64, 64)


# --- whole networks ---


def test_published_checkpoint_gives_the_features_of_the_authors_code(
    loaded: tuple[str, State, Extractor],
) -> None:
    name, state, extractor = loaded
    expected = dict(EXPECTED[name])
    assert fingerprint(state) == expected.pop("names")
    if name == "slowfast":
        clips = video(2, 3, 32, 64, 64)
        slow, fast = extractor.network(clips)
        features = {"slow": slow, "fast": fast, **extractor.maps(clips.transpose(1, 2))}
        assert features["last/mean"].shape == features["last/std"].shape == (2, 1, 2304)
    else:
        features = extractor.maps(video(16, 3, 64, 64).unflatten(0, (2, 8)))
        features = {level: maps.flatten(0, 1) for level, maps in features.items()}
        assert set(features) == {"c1", "c2", "c3", "c4", "c5", "last"}
    for level, values in expected.items():
        assert agree(projections(features[level]), values), level


def test_units_of_a_batch_do_not_influence_each_other_but_frames_of_a_unit_do(
    loaded: tuple[str, State, Extractor],
) -> None:
    name, _, extractor = loaded
    units = units_for(extractor)
    changed = units.clone()
    changed[1, 3] += 1
    level = "last/mean" if name == "slowfast" else "last"
    before, after = extractor.maps(units)[level], extractor.maps(changed)[level]
    single = extractor.maps(units[:1])[level]
    assert torch.equal(before[0], after[0])
    assert (before[:1] - single).abs().max() <= 1e-5 * single.abs().max()
    if name != "slowfast":  # one row per clip
        assert (before[1] - after[1]).abs().flatten(1).amax(1)[[2, 4]].gt(1e-4).all(), (
            "both neighbours of the frame"
        )


def test_published_weights_use_the_preprocessing_of_their_training(
    loaded: tuple[str, State, Extractor],
) -> None:
    name, _, extractor = loaded
    mean, std = (
        ("0.45", "0.225") if name == "slowfast" else ("0.485,0.456,0.406", "0.229,0.224,0.225")
    )
    described = str(extractor.preprocessing)
    assert (
        "to 224, bilinear" in described
        and f"mean {mean}" in described
        and f"std {std}" in described
    )


def test_checkpoint_that_does_not_fit_is_refused_in_one_message(
    loaded: tuple[str, State, Extractor], tmp_path: Path
) -> None:
    name, state, _ = loaded
    _, entry, build = PUBLISHED[name]
    path = tmp_path / "checkpoint.pth"
    lost = next(
        key
        for key in state
        if key.endswith("conv1.weight") or "conv_a.weight" in key or ".18.0.weight" in key
    )
    torch.save({entry: {key: tensor for key, tensor in state.items() if key != lost}}, path)
    with pytest.raises(UsageError, match="does not fit the network: 1 of"):
        build(str(path))
    torch.save(
        {entry: {key: tensor[:1] if key == lost else tensor for key, tensor in state.items()}}, path
    )
    with pytest.raises(UsageError, match="does not fit the network: 1 of"):
        build(str(path))
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UsageError, match="neither safetensors nor a plain torch state dict"):
        build(str(path))
    with pytest.raises(UsageError, match="does not exist"):
        build(str(tmp_path / "nowhere.pth"))


# --- TSM ---


def test_tsm_shift_equals_the_published_one() -> None:
    assert agree(projections(tsm.shift(noise(1, 16, 20, 3, 3), 8, 8)), EXPECTED["shift"])


def test_blocks_without_a_skip_are_not_shifted() -> None:
    with torch.device("meta"):
        shifted = tsm.insert_shift(timm.create_model("mobilenetv2_100"), 8, 8)
    repeated = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 2), (5, 1), (5, 2)]
    assert shifted == {f"blocks.{stage}.{block}.conv_pw" for stage, block in repeated}


def test_tsm_shift_is_also_inserted_before_fused_expansions() -> None:
    with torch.device("meta"):
        shifted = tsm.insert_shift(timm.create_model("tf_efficientnetv2_b0"), 8, 8)
    assert {
        "blocks.1.1.conv_exp",
        "blocks.3.1.conv_pw",
    } <= shifted and "blocks.1.0.conv_exp" not in shifted


@pytest.mark.parametrize(
    ("network", "blocks", "every"),
    [("resnet18", (2, 2, 2, 2), 1), ("resnet50", (3, 4, 6, 3), 1), ("resnet101", (3, 4, 23, 3), 2)],
)
def test_tsm_shift_precedes_the_first_convolution_of_resnet_blocks(
    network: str, blocks: tuple[int, ...], every: int
) -> None:
    with torch.device("meta"):
        shifted = tsm.insert_shift(timm.create_model(network), 8, 8)
    stages = enumerate(blocks, start=1)
    assert shifted == {
        f"layer{stage}.{block}.conv1" for stage, depth in stages for block in range(0, depth, every)
    }


def test_network_without_residual_branches_is_refused() -> None:
    with (
        pytest.warns(UserWarning, match="random"),
        pytest.raises(UsageError, match="choose tf_efficientnet_lite0"),
    ):
        tsm.build(network="mobilenetv1_100", weights="none")


def test_checkpoint_trained_with_another_shift_is_refused(tmp_path: Path) -> None:
    state = tsm_mobilenetv2()
    unshifted = {name.replace(".net.", "."): tensor for name, tensor in state.items()}
    torch.save({"state_dict": unshifted}, tmp_path / "tsn.pth")
    with pytest.raises(
        UsageError,
        match="trained with shifts before 0 layers, which are not the 10 residual branches",
    ):
        tsm.build(network="mobilenetv2_100", weights=str(tmp_path / "tsn.pth"))
    torch.save({"state_dict": state}, tmp_path / "tsm.pth")
    for other in ("resnet18", "tf_efficientnet_lite0", "mobilenetv2_050"):
        with pytest.raises(UsageError, match=r"another network|does not fit"):
            tsm.build(network=other, weights=str(tmp_path / "tsm.pth"))


# --- TEA ---


def test_motion_excitation_equals_the_published_one() -> None:
    excitation = filled(MotionExcitation(32, n_segment=8), "me.")
    assert agree(projections(excitation(noise(1, 16, 32, 5, 5))), EXPECTED["me"])


def test_temporal_convolution_equals_the_published_one() -> None:
    convolution = filled(TemporalConvolution(6, n_segment=8, shift=True), "mta.")
    assert agree(projections(convolution(noise(2, 16, 6, 5, 5))), EXPECTED["mta"])


@pytest.mark.parametrize("kind", ["normal", "stage"])
def test_tea_block_equals_the_published_one(kind: str) -> None:
    block = Bottle2neck(64, 16, norm_layer=nn.BatchNorm2d)
    if kind == "stage":
        block.is_first, block.pool = True, nn.AvgPool2d(3, stride=1, padding=1)
    tea_block = filled(TeaBlock(block, n_segment=8), "block.")
    assert agree(projections(tea_block(noise(3, 16, 64, 6, 6))), EXPECTED[f"block {kind}"])


@torch.no_grad()
def test_initial_temporal_convolution_of_tea_keeps_or_shifts_channels() -> None:
    maps = noise(5, 16, 8, 3, 3)
    assert torch.equal(TemporalConvolution(8, n_segment=8, shift=False)(maps), maps)
    assert torch.equal(
        TemporalConvolution(8, n_segment=8, shift=True)(maps), tsm.shift(maps, 8, n_div=2)
    )


def test_tea_without_motion_excitation_equals_its_res2net_on_a_still_video() -> None:
    """In the published initialisation, they differ only by the excitation and by the zero padding
    at both ends of a unit.
    """
    with torch.random.fork_rng():
        torch.manual_seed(1)
        block = Bottle2neck(64, 16, norm_layer=nn.BatchNorm2d).eval().requires_grad_(False)
    still = noise(6, 1, 64, 6, 6).expand(8, -1, -1, -1)
    expected = block(still)
    tea_block = TeaBlock(block, n_segment=8).eval().requires_grad_(False)
    nn.init.zeros_(tea_block.me.bn3.weight)
    tea_output = tea_block(still)
    assert torch.allclose(tea_output[1:-1], expected[1:-1], atol=1e-5)
    assert not torch.allclose(tea_output[0], expected[0], atol=1e-3)


def test_tea_is_initialised_reproducibly_from_an_image_network(tmp_path: Path) -> None:
    image = timm.create_model("res2net50_26w_4s", num_classes=10).state_dict()
    torch.save(image, tmp_path / "res2net.pth")
    state = torch.random.get_rng_state()
    first, second = (tea.build(weights=str(tmp_path / "res2net.pth")) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state), (
        "nobody else's random numbers are used up"
    )
    assert first.weights_digest == second.weights_digest
    started = first.network.state_dict()
    assert all(
        torch.equal(started[name], tensor)
        for name, tensor in image.items()
        if not name.startswith("fc.")
    )
    assert started["layer1.0.me.conv1.weight"].std() > 0


# --- SlowFast ---


def test_slow_pathway_gets_eight_of_thirty_two_frames() -> None:
    assert slow_frames(32) == [0, 4, 8, 13, 17, 22, 26, 31]


def test_random_weights_cause_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    first, second = slowfast.build(weights="none"), slowfast.build(weights="none")
    assert {str(warning.message) for warning in recwarn} == {
        "slowfast has random weights (weights=none): its features mean nothing"
    }
    assert first.weights_digest == second.weights_digest
    assert (first.unit_frames, first.of_clips) == (32, True)


def test_failed_download_is_reported_with_the_file_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("vqa_twostage.extract.networks.hub.urlopen", unreachable)
    with pytest.raises(UsageError, match=r"SLOWFAST_8x8_R50\.pyth cannot be fetched") as error:
        slowfast.build()
    assert (
        "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth"
        in str(error.value)
    )
    assert "weights=FILE" in str(error.value)


def test_file_in_the_hub_folder_is_used_without_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    state = {
        name: tensor
        for name, tensor in slowfast_r50().items()
        if not name.endswith("num_batches_tracked")
    }
    torch.save({"model_state": state}, tmp_path / "hub" / "checkpoints" / "SLOWFAST_8x8_R50.pyth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert torch.equal(
        slowfast.build().network.state_dict()["blocks.0.multipathway_blocks.0.conv.weight"],
        state["blocks.0.multipathway_blocks.0.conv.weight"],
    )
