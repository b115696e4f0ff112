"""Backbones accept their documented names, and their maps equal the features of the libraries."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from vqa_twostage.extract.extractor import Extractor, Pooled
from vqa_twostage.extract.networks.timm_stages import block_levels, stage_maps
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline import presets, spec
from vqa_twostage.pipeline.errors import UsageError

PROCESSOR = {"size": 32, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 6,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
}
PLAIN = ("c2", "c3", "c4", "c5", "last")
pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")


def built(text: str, kind: str = "spatial") -> Extractor:
    extractor: Extractor = spec.resolve(f"extract.{kind}", text).build()
    return extractor


def maps_of(extractor: Extractor, units: Tensor) -> dict[str, Tensor]:
    with torch.no_grad():
        return extractor.maps(units)


def shapes(extractor: Extractor, side: int) -> dict[str, tuple[int, ...]]:
    """Channels and size of every level, of one frame."""
    maps = maps_of(extractor, torch.rand(1, 1, 3, side, side))
    return {name: tuple(values.shape[2:]) for name, values in maps.items()}


def saved(folder: Path, config: Any, model_class: type) -> tuple[Any, str]:
    """A random model of the library and the folder it was saved to."""
    torch.manual_seed(3)
    model = model_class(config).eval()
    for parameter in model.parameters():  # zero position embeddings would hide a wrong order
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model, str(folder)


@pytest.mark.parametrize("name", ["convnext", "resnet", "efficientnet"])
def test_variants_are_networks_of_timm_with_weights_on_the_hub(name: str) -> None:
    models = importlib.import_module(f"vqa_twostage.extract.spatial.{name}").MODELS
    for model in models.values():
        assert model in timm.list_pretrained(model), model
        about = timm.get_pretrained_cfg(model)
        assert (
            about is not None and about.hf_hub_id == f"timm/{model}" and not about.hf_hub_filename
        )
    assert len(set(models.values())) == len(models) >= 4


def test_baseline_preset_uses_the_weights_of_torchvision() -> None:
    assert (
        importlib.import_module("vqa_twostage.extract.spatial.resnet").MODELS[50]
        == "resnet50.tv_in1k"
    )
    preprocessing = built("resnet:weights=none").preprocessing
    assert str(preprocessing).startswith("crop to 224, bilinear") and preprocessing.mean == (
        0.485,
        0.456,
        0.406,
    )


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("convnext:weights=none", {"c2": 128, "c3": 256, "c4": 512, "c5": 1024, "last": 1024}),
        (
            "convnext:variant=tiny,weights=none",
            {"c2": 96, "c3": 192, "c4": 384, "c5": 768, "last": 768},
        ),
        (
            "resnet:weights=none",
            {"c1": 64, "c2": 256, "c3": 512, "c4": 1024, "c5": 2048, "last": 2048},
        ),
        (
            "resnet:variant=18,weights=none",
            {"c1": 64, "c2": 64, "c3": 128, "c4": 256, "c5": 512, "last": 512},
        ),
    ],
)
def test_levels_are_named_by_their_stride(text: str, channels: dict[str, int]) -> None:
    sides = {"c1": 32, "c2": 16, "c3": 8, "c4": 4, "c5": 2, "last": 2}
    extractor = built(text)
    assert shapes(extractor, 64) == {
        name: (count, sides[name], sides[name]) for name, count in channels.items()
    }
    assert not extractor.network.training and not any(
        p.requires_grad for p in extractor.network.parameters()
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("convnext:variant=huge", "no variant 'huge'; choose from tiny, small, base, large"),
        ("resnet:variant=51", "no variant 51; choose from 18, 34, 50, 101, 152"),
        ("resnet:variant=fifty", "variant must be a whole number"),
        ("timm_model", "model must be given, as in timm_model:model="),
        ("timm_model:model=resnet5", "timm has no model 'resnet5'; close to it: resnet50"),
        (
            "timm_model:model=resnet50.tv3_in1k",
            "timm has no model 'resnet50.tv3_in1k'; .*resnet50.tv2_in1k",
        ),
        (
            "timm_model:model=coatnet_0_224",
            "the hub has no weights of timm's coatnet_0_224; timm.list_pretrained",
        ),
    ],
)
def test_invalid_backbone_options_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        built(text)


def test_network_without_intermediate_maps_is_refused_when_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr("timm.models.resnet.ResNet.forward_intermediates")
    with pytest.raises(
        UsageError, match=r"timm_model: resnet18 has no intermediate maps; choose another"
    ):
        built("timm_model:model=resnet18,weights=none")


# side of the frames; levels besides "last", + marks a class token
FAMILIES = [
    ("regnetx_002", 64, "c1 c2 c3 c4 c5"),
    ("mobilenetv3_small_050", 64, "c1 c2 c3 c4 c5"),
    ("mobilevit_xxs", 64, "c1 c2 c3 c4 c5"),
    ("densenet121", 64, "c1 c2 c3 c4 c5"),
    ("hrnet_w18_small", 64, "c1 c2 c3 c4 c5"),
    ("convnext_atto", 64, "c2 c3 c4 c5"),
    ("swin_tiny_patch4_window7_224", 64, "c2 c3 c4 c5"),  # channels last
    ("mambaout_femto", 64, "c2 c3 c4 c5"),  # channels last
    ("efficientvim_m1", 64, "c4 c5 c6"),  # final features in a list
    ("pit_ti_224", 224, "c3 c4 c5 +"),  # final features are the class token alone
    ("levit_128s", 224, "c4 c5 c6"),  # tokens without a class token, after a pyramid
    ("test_vit3", 96, "c2 c3 c4 c5"),  # plain, without a class token, registers in front
    ("vit_tiny_patch16_224", 64, "c2 c3 c4 c5 +"),
    ("deit_tiny_distilled_patch16_224", 64, "c2 c3 c4 c5 +"),  # two tokens in front
    ("eva02_tiny_patch14_224", 56, "c2 c3 c4 c5 +"),
    ("xcit_nano_12_p16_224", 224, "c2 c3 c4 c5 +"),
]


@pytest.mark.parametrize(("model", "side", "levels"), FAMILIES)
def test_timm_networks_of_every_family_give_maps(model: str, side: int, levels: str) -> None:
    extractor = built(f"timm_model:model={model},weights=none")
    units = torch.rand(2, 1, 3, side, side)
    maps = maps_of(extractor, units)
    vectors = {"last/cls"} if levels.endswith("+") else set()
    assert set(maps) == {*levels.replace("+", "").split(), "last"} | vectors
    for name, values in maps.items():
        assert values.shape[:2] == (2, 1) and not values.requires_grad
        if "/" not in name:
            assert values.ndim == 5 and values.shape[-1] == values.shape[-2]
            if name != "last" and "c2 c3 c4 c5" not in levels:  # a pyramid
                assert abs(side / values.shape[-1] / 2 ** int(name[1]) - 1) < 0.25
    assert maps["last"].shape[-1] == min(
        values.shape[-1] for name, values in maps.items() if "/" not in name
    )
    # the features of a frame do not depend on its neighbours
    single = maps_of(extractor, units[1:])
    for name, values in single.items():
        torch.testing.assert_close(maps[name][1:], values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "model", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "mambaout_femto"]
)
def test_last_map_is_the_input_of_the_pooling_of_timm(model: str) -> None:
    network = timm.create_model(model, num_classes=0, pretrained=False).eval()
    frames = torch.rand(2, 3, 224, 224)
    with torch.no_grad():
        features, maps = network.forward_features(frames), stage_maps(network, frames)
    if features.ndim == 4:
        torch.testing.assert_close(maps["last"], features.permute(0, 3, 1, 2))
    else:
        torch.testing.assert_close(
            maps["last"].mean((-2, -1)), features[:, network.num_prefix_tokens :].mean(1)
        )
        torch.testing.assert_close(maps["last/cls"], features[:, 0])
        with torch.no_grad():
            blocks = network.forward_intermediates(
                frames, indices=[2, 5, 8, 11], intermediates_only=True
            )
        for name, block in zip(PLAIN, blocks, strict=False):
            torch.testing.assert_close(maps[name], block)


def test_networks_adapted_to_other_sizes_are_unchanged_at_their_own_size() -> None:
    for model in ("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"):
        extractor = built(f"timm_model:model={model},weights=none")
        fixed = timm.create_model(model, num_classes=0).eval()
        fixed.load_state_dict(extractor.network.state_dict())
        frames = torch.rand(1, 3, 224, 224)
        with torch.no_grad():
            expected = stage_maps(fixed, frames)
        for name, values in maps_of(extractor, frames[None]).items():
            torch.testing.assert_close(values[0], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("blocks", "expected"), [(12, [3, 6, 9, 12]), (24, [6, 12, 18, 24]), (6, [2, 3, 5, 6])]
)
def test_levels_of_a_plain_transformer_are_evenly_spaced(blocks: int, expected: list[int]) -> None:
    assert list(block_levels(blocks).values()) == expected


@pytest.mark.long
def test_default_vit_needs_no_download_and_accepts_several_sizes() -> None:
    extractor = built("vit:weights=none")
    assert str(extractor.preprocessing).startswith("crop to 224, bilinear")
    for side in (224, 336):
        expected = dict.fromkeys(PLAIN, (768, side // 16, side // 16))
        assert shapes(extractor, side) == {**expected, "last/cls": (768,)}


VITS = {
    "vit": ("ViTConfig", "ViTModel", {}),
    "deit": ("DeiTConfig", "DeiTModel", {}),
    "beit": (
        "BeitConfig",
        "BeitModel",
        {"use_relative_position_bias": True, "use_mean_pooling": False},
    ),
    "dinov2": ("Dinov2Config", "Dinov2Model", {}),
    "dinov2_with_registers": (
        "Dinov2WithRegistersConfig",
        "Dinov2WithRegistersModel",
        {"num_register_tokens": 3},
    ),
}


@pytest.mark.parametrize("family", VITS)
def test_maps_of_a_vit_equal_the_tokens_of_the_library(family: str, tmp_path: Path) -> None:
    import transformers

    config_class, model_class, more = VITS[family]
    config = getattr(transformers, config_class)(**SMALL, patch_size=8, **more)
    model, folder = saved(tmp_path, config, getattr(transformers, model_class))
    assert (
        VITS.keys() == importlib.import_module("vqa_twostage.extract.spatial.vit").FAMILIES.keys()
    )
    extractor = built(f"vit:model={folder}")
    frames = torch.rand(3, 3, 32, 32)
    with torch.no_grad():
        own = model(frames, output_hidden_states=True)
    maps = maps_of(extractor, frames[:, None])
    tokens = own.last_hidden_state
    torch.testing.assert_close(maps["last/cls"][:, 0], tokens[:, 0])
    torch.testing.assert_close(maps["last"].mean((-2, -1))[:, 0], tokens[:, -16:].mean(1))
    torch.testing.assert_close(
        maps["last"][:, 0, :, 1, 2], tokens[:, -16:][:, 1 * 4 + 2]
    )  # row 1, column 2
    for name, block in {"c2": 2, "c3": 3, "c4": 5, "c5": 6}.items():
        torch.testing.assert_close(
            maps[name][:, 0].flatten(2).transpose(1, 2), own.hidden_states[block][:, -16:]
        )
    assert shapes(extractor, 48) == {**dict.fromkeys(PLAIN, (24, 6, 6)), "last/cls": (24,)}


VIDEOS = {
    "videomae": ("VideoMAEConfig", "VideoMAEModel", {**SMALL, "patch_size": 8, "num_frames": 4}),
    "timesformer": (
        "TimesformerConfig",
        "TimesformerModel",
        {**SMALL, "patch_size": 8, "num_frames": 4},
    ),
    "vivit": ("VivitConfig", "VivitModel", {**SMALL, "tubelet_size": [2, 8, 8], "num_frames": 4}),
    "vjepa2": (
        "VJEPA2Config",
        "VJEPA2Model",
        {
            **{
                key: value
                for key, value in SMALL.items()
                if key not in ("image_size", "intermediate_size")
            },
            "crop_size": 32,
            "patch_size": 8,
            "frames_per_clip": 4,
            "pred_hidden_size": 24,
            "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
        },
    ),
}


@pytest.mark.parametrize("family", VIDEOS)
def test_rows_of_a_video_transformer_equal_the_tokens_of_the_library(
    family: str, tmp_path: Path
) -> None:
    """The order of tokens, from each model's patch embedding: TimeSformer's (h w t), the others' (t
    h w).
    """
    import transformers

    config_class, model_class, sizes = VIDEOS[family]
    model, folder = saved(
        tmp_path, getattr(transformers, config_class)(**sizes), getattr(transformers, model_class)
    )
    assert (
        VIDEOS.keys()
        == importlib.import_module(
            "vqa_twostage.extract.temporal.video_transformer"
        ).FAMILIES.keys()
    )
    extractor = built(f"video_transformer:model={folder}", "temporal")
    assert extractor.of_clips and extractor.unit_frames == 4
    units = torch.rand(2, 4, 3, 32, 32)
    with torch.no_grad():
        own = model(units, output_hidden_states=True)
    maps = maps_of(extractor, units)
    prefix, rows = {"videomae": (0, 2), "timesformer": (1, 4), "vivit": (1, 2), "vjepa2": (0, 2)}[
        family
    ]

    def rearranged(tokens: Tensor) -> Tensor:
        tokens = tokens[:, prefix:]
        if family == "timesformer":
            return tokens.reshape(2, 4, 4, rows, 24).permute(0, 3, 4, 1, 2)
        return tokens.reshape(2, rows, 4, 4, 24).permute(0, 1, 4, 2, 3)

    assert set(maps) == set(PLAIN) and all(
        values.shape == (2, rows, 24, 4, 4) for values in maps.values()
    )
    torch.testing.assert_close(maps["last"], rearranged(own.last_hidden_state))
    for name, block in {"c2": 2, "c3": 3, "c4": 5, "c5": 6}.items():
        torch.testing.assert_close(maps[name], rearranged(own.hidden_states[block]))
    with pytest.raises(
        UsageError,
        match="cannot take frames of 48 pixels; its own size is 32; leave resolutions out",
    ):
        maps_of(extractor, torch.rand(1, 4, 3, 48, 48))


@pytest.mark.parametrize("family", VIDEOS)
def test_rows_depend_most_on_their_own_frames_and_positions(family: str, tmp_path: Path) -> None:
    """Checks the order of tokens without the library's code: a change in one corner of one frame
    changes its own token most.
    """
    import transformers

    config_class, model_class, sizes = VIDEOS[family]
    config = getattr(transformers, config_class)(**{**sizes, "initializer_range": 0.002})
    torch.manual_seed(0)
    model = getattr(transformers, model_class)(config).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    extractor = built(f"video_transformer:model={tmp_path}", "temporal")
    units = torch.rand(1, 4, 3, 32, 32)
    changed = units.clone()
    changed[:, 2, :, 8:16, 24:] += 3  # third frame, second row, last column
    change = (maps_of(extractor, changed)["c2"] - maps_of(extractor, units)["c2"]).abs().sum(2)[0]
    row, line, column = (int(index) for index in torch.nonzero(change == change.max())[0])
    assert (row * 4 // len(change), line, column) == (2, 1, 3)


@pytest.mark.long
def test_default_video_transformer_needs_no_download() -> None:
    extractor = built("video_transformer:weights=none", "temporal")
    assert extractor.unit_frames == 16 and extractor.of_clips
    assert str(extractor.preprocessing).startswith("crop to 224, bilinear")
    assert sum(p.numel() for p in extractor.network.parameters()) == 86_227_200
    config = extractor.network.config
    assert (config.num_hidden_layers, config.tubelet_size, config.use_mean_pooling) == (
        12,
        2,
        False,
    )


def test_video_transformer_without_temporal_attention_is_refused(tmp_path: Path) -> None:
    import transformers

    sizes = {**SMALL, "patch_size": 8, "num_frames": 4}
    _, folder = saved(
        tmp_path,
        transformers.TimesformerConfig(**sizes, attention_type="space_only"),
        transformers.TimesformerModel,
    )
    with pytest.raises(UsageError, match="looks at each frame alone"):
        built(f"video_transformer:model={folder}", "temporal")


@pytest.mark.parametrize(
    "what", ["resnet18", "test_vit3", "mambaout_femto", "vit", "videomae", "timesformer"]
)
def test_networks_can_be_exported_for_other_runtimes(what: str, tmp_path: Path) -> None:
    import transformers

    frames, side = 1, 32
    if what in VIDEOS:
        config_class, model_class, sizes = VIDEOS[what]
        _, folder = saved(
            tmp_path,
            getattr(transformers, config_class)(**sizes),
            getattr(transformers, model_class),
        )
        extractor, frames = built(f"video_transformer:model={folder}", "temporal"), 4
    elif what in VITS:
        _, folder = saved(
            tmp_path, transformers.ViTConfig(**SMALL, patch_size=8), transformers.ViTModel
        )
        extractor = built(f"vit:model={folder}")
    else:
        extractor, side = built(f"timm_model:model={what},weights=none"), 64
    network = Pooled(extractor).eval()
    with torch.no_grad():
        exported = torch.export.export(
            network, (torch.rand(2, frames, 3, side, side),), strict=False
        ).module()
        units = torch.rand(2, frames, 3, side, side)
        outputs, expected = exported(units), network(units)
    assert list(outputs) == list(expected)
    for name, values in expected.items():
        torch.testing.assert_close(outputs[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["optimized", "baseline", "offline"])
def test_presets_set_valid_options_that_agree_between_the_stages(name: str) -> None:
    about = presets.available()[name]
    assert about and "\n" not in about
    extract, fuse = (
        ExtractOptions.from_mapping(presets.load(name, "extract"), name),
        TrainOptions(**presets.load(name, "fuse")),
    )
    assert (fuse.spatial, fuse.temporal) == (extract.spatial, extract.temporal)
    kinds = [
        *(("spatial", text) for text in extract.spatial),
        ("temporal", extract.temporal[0]),
        ("samplers", extract.sampler),
    ]
    for kind, text in kinds:
        spec.resolve(f"extract.{kind}", text)
    spec.resolve("fuse.fusion", fuse.fusion)
