"""The contract of the extractors, held against every plug-in that is found: random weights, small
frames.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from vqa_twostage.extract.extractor import Extractor, ExtractorPlugin
from vqa_twostage.extract.inference.runtime import Forward, Runtime
from vqa_twostage.extract.options import SHOWN
from vqa_twostage.extract.testing import check_extractor
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

# options that a plug-in cannot do without, or that make it small
GIVEN = {
    "timm_model": "model=mobilenetv3_small_050",
    "efficientnet": "variant=b0",
    "convnext": "variant=tiny",
    "tsm": "n_segment=4",
    "tea": "n_segment=4",
}
# the configuration of which family makes it small
TINY = {"vit": "vit", "video_transformer": "videomae"}
# stages of equal blocks, whose first differs from the others: two of each are left, converting
# takes a time for each
REPEATED = re.compile(r"(^layer\d|\bres_blocks|^stages\.\d\.blocks)$")
SIDE = 64
CPU = Runtime("torch", torch.device("cpu"), "fp32")


@dataclass(frozen=True)
class Case:
    kind: Literal["spatial", "temporal"]
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


KINDS: tuple[Literal["spatial", "temporal"], ...] = ("spatial", "temporal")
CASES = [Case(kind, name) for kind in KINDS for name in spec.available(f"extract.{kind}")]


def spec_of(case: Case) -> str:
    """Random weights, and small where its options allow it."""
    given = f"model={tiny(TINY[case.name])}" if case.name in TINY else GIVEN.get(case.name)
    options = ",".join(option for option in (given, "weights=none") if option)
    return f"{case.name}:{options}"


def build(case: Case) -> Extractor:
    plugin = spec.resolve(f"extract.{case.kind}", spec_of(case))
    with pytest.warns(
        UserWarning, match=r"random weights \(weights=none\): its features mean nothing"
    ):
        extractor = plugin.build()
    assert isinstance(plugin.module, ExtractorPlugin)
    for name, blocks in list(extractor.network.named_modules()):
        if REPEATED.search(name):
            del blocks[2:]  # type: ignore[operator]  # a Sequential
    return extractor


@cache
def tiny(family: str) -> str:
    """A folder with the configuration of a small transformer for small frames; one of videos takes
    one size alone.
    """
    folder = tempfile.mkdtemp(prefix=f"tiny-{family}-")
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    config = {"model_type": family, "image_size": SIDE, "patch_size": 16, "num_frames": 8, **sizes}
    processor = {"size": SIDE, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    Path(folder, "config.json").write_text(json.dumps(config))
    Path(folder, "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def grid_of(case: Case) -> int:
    """SlowFast gives vectors, and refuses to be asked for maps."""
    return 0 if case.name == "slowfast" else 1


@cache
def loaded(case: Case) -> tuple[Extractor, Forward]:
    """The extractor, and its network ready for two units of small frames."""
    extractor = build(case)
    preprocessing = replace(extractor.preprocessing, size=SIDE)
    _, forward = CPU.load(extractor, preprocessing, grid=grid_of(case), batch=2)
    return extractor, forward


def units(extractor: Extractor, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(
        0, 256, (1, extractor.unit_frames, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8
    )


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    loaded.cache_clear()
    for family in TINY.values():
        shutil.rmtree(tiny(family))
    tiny.cache_clear()


def test_all_that_the_design_promises_is_there() -> None:
    spatial, temporal = spec.available("extract.spatial"), spec.available("extract.temporal")
    assert {"efficientnet", "efficientnet_lite0", "convnext", "vit", "resnet", "timm_model"} <= set(
        spatial
    )
    assert {"tsm", "tea", "slowfast", "video_transformer"} <= set(temporal)
    assert {"uniform", "fps", "clips", "motion", "content"} <= set(
        spec.available("extract.samplers")
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_extractor_keeps_its_contract(case: Case) -> None:
    check_extractor(case.kind, spec_of(case), size=SIDE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_spatial_backbone_gives_every_stage_and_its_maps(case: Case) -> None:
    extractor, forward = loaded(case)
    found = forward(torch.cat([units(extractor, 0), units(extractor, 1)]))
    if case.kind == "spatial":
        assert "last/max" in found
        for level, sides in {"c2": 8, "c3": 4, "c4": 2, "c5": 1}.items():
            channels = found[f"{level}/mean"].shape[2]
            assert found[f"{level}/std"].shape == (2, 1, channels)
            assert found[f"{level}/grid"].shape == (2, 1, channels, sides, sides)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_preprocessing_is_that_of_the_network(case: Case) -> None:
    preprocessing = loaded(case)[0].preprocessing
    assert (preprocessing.size == SIDE) if case.name in TINY else (96 <= preprocessing.size <= 640)
    assert all(
        0 <= mean <= 1 and 0 < std <= 1
        for mean, std in zip(preprocessing.mean, preprocessing.std, strict=True)
    )


@pytest.mark.parametrize("of", SHOWN)
@pytest.mark.parametrize("fit", ["native", "fragments"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_network_takes_native_views(case: Case, fit: str, of: str) -> None:
    """Of frames that are larger than its input, and of smaller ones; also of a video that does not
    change.
    """
    extractor, forward = loaded(case)
    view = spec.resolve(f"extract.{case.kind}", f"{spec_of(case)},fit={fit},of={of}").shared()
    seen = replace(view.applied_to(extractor.preprocessing), size=SIDE)
    generator, found = np.random.default_rng(0), []
    for height, width in ((SIDE + 45, SIDE * 2 + 1), (SIDE // 3, SIDE + 7)):
        shape = (extractor.unit_frames, height, width, 3)
        pixels = torch.from_numpy(generator.integers(0, 256, shape, dtype=np.uint8))
        unit = seen.resize(pixels, "0" * 64)[None]
        nothing = seen.resize(torch.zeros_like(pixels), "0" * 64)[None]
        found.append(forward(torch.cat([unit, nothing])))
    for large, small in zip(*(arrays.values() for arrays in found), strict=True):
        assert large.shape == small.shape
        assert np.isfinite(large).all() and np.isfinite(small).all()


@pytest.mark.parametrize("kind", ["spatial", "temporal"])
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("fit=squash", "unknown fit 'squash'; choose from crop, pad, stretch"),
        ("grid=-1", "grid must be 0 .none. or the side"),
        ("resolutions=224x224", "resolutions=224x224 is not understood; give sides of 32 to 4096"),
        ("resolutions=224+224", "is not understood"),
        ("of=flow", "unknown of 'flow'; choose from frames, residual"),
        ("fit=fragments,seed=-1", "seed must be a whole number of 0 or more, not -1"),
        ("fit=fragments,crops=0", "crops must be from 1 to 64, not 0"),
        ("seed=1", "seed=1 and crops=1 say where patches are drawn, and fit=crop of=frames draws"),
        ("crops=2,fit=fragments,of=residual", "fit=fragments of=residual draws none; leave both"),
    ],
)
def test_invalid_shared_options_are_refused(kind: str, option: str, message: str) -> None:
    name = {"spatial": "resnet", "temporal": "tsm"}[kind]
    with pytest.raises(UsageError, match=message):
        spec.resolve(f"extract.{kind}", f"{name}:{option}").shared()


@pytest.mark.parametrize(
    ("choice", "device", "precision", "message"),
    [
        ("onnx", "cpu", "fp32", "unknown runtime 'onnx'; choose from auto, torch, openvino"),
        ("torch", "cpu", "fp8", "unknown precision 'fp8'; choose from fp32, bf16, fp16"),
        ("openvino", "cpu", "fp16", "is for --device cpu with fp32 or bf16, not cpu with fp16"),
        ("auto", "cuda:77", "fp32", "device 'cuda:77' cannot be used"),
    ],
)
def test_invalid_runtime_is_refused(choice: str, device: str, precision: str, message: str) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(UsageError, match=message):
        Runtime.of(choice, device, precision, videos=100)


def test_auto_runtime_converts_only_for_many_videos() -> None:
    pytest.importorskip("openvino")
    chosen = {videos: Runtime.of("auto", "cpu", "fp32", videos).name for videos in (1, 8, 200)}
    assert chosen == {1: "torch", 8: "torch", 200: "openvino"}
    assert Runtime.of("openvino", "cpu", "fp32", 1).name == "openvino"
    assert Runtime.of("auto", "cpu", "fp16", 200).name == "torch"


def test_precision_below_float32_is_another_identity_in_each_runtime() -> None:
    cpu = torch.device("cpu")
    assert (
        Runtime("torch", cpu, "fp32").identity
        == Runtime("openvino", cpu, "fp32").identity
        == "fp32"
    )
    assert Runtime("torch", cpu, "bf16").identity != Runtime("openvino", cpu, "bf16").identity


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=str)
def test_openvino_gives_the_features_of_torch(case: Case) -> None:
    """To 1e-4 of a feature's largest value, in float32: a fifth of the last digit that float16
    stores.
    """
    pytest.importorskip("openvino")
    extractor, forward = loaded(case)
    openvino = Runtime("openvino", torch.device("cpu"), "fp32", asked_for=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ran, converted = openvino.load(
            extractor, replace(extractor.preprocessing, size=SIDE), grid=grid_of(case), batch=2
        )
    batch = torch.cat([units(extractor, 0), units(extractor, 1)])
    expected = forward(batch)
    found = converted(batch)
    assert ran == "openvino"
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert np.abs(found[name] - values).max() <= 1e-4 * max(1e-3, np.abs(values).max()), name
