"""Every network that comes from a hub is fetched by the real client from a server on this machine:
repositories, names and sizes of files, and configurations are the real ones, the values random.

What is fetched must be what the same file gives as ``weights=FILE``; connections are cut on the
way, and bytes changed.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from hub_server import HubServer, hub_server
from safetensors.torch import save

from vqa_twostage.extract.networks.slowfast import SlowFast
from vqa_twostage.extract.temporal import slowfast
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

Files = dict[str, bytes]
# what the repositories of these two say of their input, as published
VIT_PROCESSOR = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "size": 224,
}
VIDEOMAE_PROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 224},
}


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with hub_server() as server:
        yield server


def of_timm(model: str, file: str = "model.safetensors") -> Files:
    """As timm publishes a network: with its classifier."""
    torch.manual_seed(7)
    state = timm.create_model(model, pretrained=False).state_dict()
    if file.endswith(".safetensors"):
        return {file: save(state), "config.json": b"{}"}
    content = io.BytesIO()
    torch.save(state, content)
    return {file: content.getvalue(), "config.json": b"{}"}


def of_transformers(network: Any, processor: dict[str, Any], folder: Path) -> Files:
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def vit(folder: Path) -> Files:
    """google/vit-base-patch16-224: a classifier of 1,000 classes, without a pooling layer."""
    torch.manual_seed(7)
    config = transformers.ViTConfig(num_labels=1000)
    return of_transformers(transformers.ViTForImageClassification(config), VIT_PROCESSOR, folder)


def videomae(folder: Path) -> Files:
    """MCG-NJU/videomae-base: pre-trained, with the decoder."""
    torch.manual_seed(7)
    config = transformers.VideoMAEConfig(use_mean_pooling=False)
    network = transformers.VideoMAEForPreTraining(config)
    return of_transformers(network, VIDEOMAE_PROCESSOR, folder)


def published(
    hub: HubServer, repository: str, make: Callable[[Path], Files] | None, place: Path
) -> Path:
    """A folder in ``place`` with the files that the hub has of a repository from now on."""
    folder = place / "files"
    folder.mkdir()
    files = make(folder) if make else of_timm(repository.partition("/")[2])
    for name, content in files.items():
        (folder / name).write_bytes(content)
    hub.repositories[repository] = files
    return folder


def digest_from(hub: HubServer, kind: str, text: str, kept: Path) -> tuple[str, str]:
    """The digest of the weights that a new process fetches, and what it said."""
    code = (
        "from vqa_twostage.pipeline import spec\n"
        "from vqa_twostage.pipeline.errors import UsageError\n"
        f"try: print(spec.resolve({kind!r}, {text!r}).build().weights_digest)\n"
        "except UsageError as error: print('UsageError', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **hub.environment(kept)},
    )
    return done.stdout.strip().splitlines()[-1], done.stderr


CASES: list[Any] = [
    ("extract.spatial", "efficientnet", "timm/efficientnet_b4.ra2_in1k", None),
    ("extract.spatial", "efficientnet_lite0:weights=hub", "timm/tf_efficientnet_lite0.in1k", None),
    ("extract.spatial", "convnext", "timm/convnext_base.fb_in22k_ft_in1k", None),
    ("extract.spatial", "resnet", "timm/resnet50.tv_in1k", None),
    ("extract.spatial", "vit", "google/vit-base-patch16-224", vit),
    ("extract.temporal", "tsm:weights=hub", "timm/tf_efficientnet_lite0.in1k", None),
    ("extract.temporal", "tea", "timm/res2net50_26w_4s.in1k", None),
    ("extract.temporal", "video_transformer", "MCG-NJU/videomae-base", videomae),
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "text", "repository", "make"), CASES, ids=[case[1] for case in CASES]
)
def test_network_of_the_hub_is_fetched_through_a_cut_connection_and_is_the_file(
    kind: str,
    text: str,
    repository: str,
    make: Callable[[Path], Files] | None,
    hub: HubServer,
    tmp_path: Path,
) -> None:
    folder = published(hub, repository, make, tmp_path)
    weights = folder if make else folder / "model.safetensors"
    plain = text.partition(":")[0]
    expected = spec.resolve(kind, f'{plain}:weights="{weights}"').build().weights_digest
    hub.cut = [1000]
    fetched, said = digest_from(hub, kind, text, tmp_path / "kept")
    assert fetched == expected, said
    assert f"fetching the weights of {repository}" in said
    # a second time from this machine's copy, without a word
    hub.repositories.clear()
    assert digest_from(hub, kind, text, tmp_path / "kept") == (expected, "")


@pytest.mark.long
def test_repository_without_safetensors_gives_its_torch_file(
    hub: HubServer, tmp_path: Path
) -> None:
    files = of_timm("resnet50.tv_in1k", "pytorch_model.bin")
    hub.repositories["timm/resnet50.tv_in1k"] = files
    (tmp_path / "file.bin").write_bytes(files["pytorch_model.bin"])
    expected = spec.resolve("extract.spatial", f"resnet:weights={tmp_path / 'file.bin'}").build()
    fetched, said = digest_from(hub, "extract.spatial", "resnet", tmp_path / "kept")
    assert fetched == expected.weights_digest, said


@pytest.mark.long
@pytest.mark.parametrize(("text", "repository", "make"), [CASES[3][1:], CASES[4][1:]])
def test_weights_that_were_changed_on_their_way_are_refused_and_fetched_anew(
    text: str,
    repository: str,
    make: Callable[[Path], Files] | None,
    hub: HubServer,
    tmp_path: Path,
) -> None:
    published(hub, repository, make, tmp_path)
    hub.changed = {"model.safetensors"}
    refused, _ = digest_from(hub, "extract.spatial", text, tmp_path / "kept")
    assert refused.startswith("UsageError model.safetensors of"), refused
    assert "was damaged on its way" in refused
    hub.changed = set()
    fetched, said = digest_from(hub, "extract.spatial", text, tmp_path / "kept")
    assert len(fetched) == 16, said


# --- SlowFast, which is a file on a server ---


@pytest.fixture
def slowfast_file(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    torch.manual_seed(7)
    content = io.BytesIO()
    torch.save({"model_state": SlowFast().state_dict()}, content)
    hub.repositories["kinetics/slowfast"] = {slowfast.FILE: content.getvalue()}
    monkeypatch.setattr(
        slowfast, "URL", f"{hub.url}/kinetics/slowfast/resolve/main/{slowfast.FILE}"
    )
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    return content.getvalue()


@pytest.mark.long
def test_slowfast_is_fetched_whole_or_not_at_all(
    slowfast_file: bytes, hub: HubServer, tmp_path: Path
) -> None:
    hub.cut = [100_000]
    with pytest.raises(
        UsageError, match=r"cannot be fetched \(the connection ended after 100000 of"
    ):
        slowfast.build()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    fetched = slowfast.build().weights_digest
    (tmp_path / "file.pyth").write_bytes(slowfast_file)
    assert fetched == slowfast.build(weights=str(tmp_path / "file.pyth")).weights_digest
    hub.repositories.clear()
    assert slowfast.build().weights_digest == fetched
