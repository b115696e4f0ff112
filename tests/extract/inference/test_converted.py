"""A converted network is kept for the next run, and what is kept never changes a feature."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vqa_twostage.extract.inference import converted
from vqa_twostage.pipeline.checksum import content_of, with_checksum

pytest.importorskip("openvino")

EXAMPLE = torch.zeros(2, 1, 3, 32, 32, dtype=torch.uint8)
UNITS = torch.randint(
    0, 256, EXAMPLE.shape, generator=torch.Generator().manual_seed(1), dtype=torch.uint8
)


class Small(nn.Module):
    def __init__(self, seed: int = 0, stride: int = 2) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(3, 8, 3)
        self.stride = stride

    def forward(self, units: Tensor) -> dict[str, Tensor]:
        maps = self.conv(units.flatten(0, 1) / 255)[..., :: self.stride, :]
        means = maps.relu().mean(dim=(-2, -1)).unflatten(0, units.shape[:2])
        return {"c1/mean": means, "c1/max": maps.amax(dim=(-2, -1)).unflatten(0, units.shape[:2])}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / converted.FOLDER


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that were converted."""
    done: list[nn.Module] = []
    convert = converted._convert

    def counted(network: nn.Module, example: Tensor, precision: str) -> object:
        done.append(network)
        return convert(network, example, precision)

    monkeypatch.setattr(converted, "_convert", counted)
    return done


def features(network: nn.Module, precision: str = "fp32") -> dict[str, bytes]:
    found = converted.load(network.eval(), EXAMPLE, precision)(UNITS)
    return {name: array.tobytes() for name, array in found.items()}


def test_next_run_reads_what_was_converted_and_gives_the_same_bits(
    folder: Path, conversions: list[nn.Module]
) -> None:
    first = features(Small())
    assert features(Small()) == first
    assert len(conversions) == len(list(folder.iterdir())) == 1
    wanted = Small()(UNITS)
    for name, content in first.items():
        found = np.frombuffer(content, np.float32)
        np.testing.assert_allclose(found, wanted[name].detach().numpy().ravel(), rtol=1e-4)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "other",
    [lambda: Small(seed=1), lambda: Small(stride=4), lambda: nn.Sequential(Small())],
    ids=["weights", "an option", "another network"],
)
def test_other_networks_are_converted_themselves(
    other: Callable[[], nn.Module], conversions: list[nn.Module]
) -> None:
    features(Small())
    features(other())
    features(Small(), "bf16")
    assert len(conversions) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: content[:-50] + bytes([content[-50] ^ 128]) + content[-49:],
        lambda content: bytes(len(content)),
    ],
    ids=["shorter", "empty", "a bit of the header", "a bit of the network", "zeros"],
)
def test_damaged_file_is_converted_again(
    damage: Callable[[bytes], bytes], folder: Path, conversions: list[nn.Module]
) -> None:
    first = features(Small())
    (file,) = folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert features(Small()) == first and len(conversions) == 2
    assert features(Small()) == first and len(conversions) == 2


def test_file_that_openvino_refuses_is_converted_again(
    folder: Path, conversions: list[nn.Module]
) -> None:
    first = features(Small())
    (file,) = folder.iterdir()
    content = content_of(file.read_bytes())
    assert content is not None
    file.write_bytes(with_checksum(content.partition(b"\n")[0] + b"\nno network"))
    assert features(Small()) == first and len(conversions) == 2


def test_network_that_the_key_takes_for_another_is_converted_again(
    folder: Path, conversions: list[nn.Module], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converted, "_key", lambda *_: "same")
    features(Small(seed=1))
    mine = features(Small())
    assert len(conversions) == 2 and features(Small()) == mine
    assert len(conversions) == 2 and len(list(folder.iterdir())) == 1


@pytest.mark.usefixtures("folder")
def test_conversion_that_gives_other_features_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    convert = converted._convert
    monkeypatch.setattr(converted, "_convert", lambda _, *more: convert(Small(seed=1), *more))
    with pytest.raises(ValueError, match=r"its features differ from those of torch by [0-9.]+%"):
        features(Small())


def test_network_that_cannot_be_kept_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conversions: list[nn.Module]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert features(Small()) == features(Small()) and len(conversions) == 2
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert features(Small()) and len(conversions) == 3


def no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_networks_that_were_used_last_are_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converted, "MOST_KEPT", 2)
    features(Small(seed=0))
    (first,) = folder.iterdir()
    os.utime(first, (1, 1))
    features(Small(seed=1))
    (second,) = set(folder.iterdir()) - {first}
    os.utime(second, (2, 2))
    features(Small(seed=0))  # used again
    features(Small(seed=2))
    assert first in folder.iterdir() and second not in folder.iterdir()
    assert len(list(folder.iterdir())) == 2
