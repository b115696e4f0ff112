"""Plug-ins of other distributions are found by entry points, listed, resolved and trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import called, run
from distributions import install

from vqa_twostage.fuse.testing import check_fusion
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

HEAD = '''"""Product of both streams, from another distribution."""

import torch
from torch import nn

from vqa_twostage.fuse.streams import Channels, Fused, Stream, fused

VERSION = 3


def build(spatial: Channels, temporal: Channels, *, hidden: int = 8) -> nn.Module:
    return Product(spatial.tokens, temporal.tokens, hidden)


class Product(nn.Module):
    def __init__(self, spatial: int, temporal: int, hidden: int) -> None:
        super().__init__()
        self.out_channels = hidden
        self.spatial, self.temporal = nn.Linear(spatial, hidden), nn.Linear(temporal, hidden)

    def forward(self, spatial: Stream, temporal: Stream) -> Fused:
        return fused(torch.tanh(self.spatial(spatial.vector)) * self.temporal(temporal.vector))
'''

Distribution = Callable[[str, str], Path]


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distribution:
    """Makes an installed distribution with one module and its entry points."""

    def make(entry_points: str, code: str = HEAD) -> Path:
        install(tmp_path / "site", monkeypatch, entry_points, code)
        return tmp_path / "site"

    return make


@pytest.mark.long
def test_a_head_of_another_distribution_is_listed_and_trained(
    distribution: Distribution, toy_cache: Path, tmp_path: Path
) -> None:
    distribution("[vqa_twostage.fuse.fusion]\nproduct = acme_product\n")
    listed = called("vqa-fuse", "train", "--list", cwd=tmp_path)
    assert "product " in listed.stdout and "from another distribution" in listed.stdout
    done = called(
        *("vqa-fuse", "train", "--fusion", "product:hidden=4", "--cache", toy_cache),
        *("--protocol", "random:n=2", "--epochs", "2", "--members", "2", "--workers", "1"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("toy-product-hidden4-")


def test_head_of_another_distribution_passes_the_contract_check(
    distribution: Distribution,
) -> None:
    distribution("[vqa_twostage.fuse.fusion]\nproduct = acme_product\n")
    check_fusion("product")
    check_fusion("product:hidden=4")


def test_plug_in_that_is_installed_while_the_program_runs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert "product" not in spec.available("fuse.fusion")
    install(tmp_path, monkeypatch, "[vqa_twostage.fuse.fusion]\nproduct = acme_product\n", HEAD)
    assert spec.resolve("fuse.fusion", "product").version == 3


def test_other_processes_find_it_too(distribution: Distribution, tmp_path: Path) -> None:
    folder = distribution("[vqa_twostage.fuse.fusion]\nproduct = acme_product\n")
    listed = run("vqa-fuse", "train", "--list", cwd=tmp_path, PYTHONPATH=str(folder))
    assert "product " in listed.stdout


def test_a_plug_in_of_an_own_name_is_refused_with_both_modules(
    distribution: Distribution,
) -> None:
    distribution("[vqa_twostage.fuse.fusion]\nconcat = acme_product\n")
    with pytest.raises(
        UsageError, match=r"two plug-ins are called 'concat' \(fusion\).*acme_product"
    ):
        spec.resolve("fuse.fusion", "concat")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import a_module_that_is_not_there", "cannot be imported: No module named"),
        ("def build(): ...", "has no VERSION"),
        ("VERSION = 1", "has no build"),
    ],
)
def test_a_broken_plug_in_is_listed_and_refused_only_when_it_is_used(
    distribution: Distribution, code: str, message: str
) -> None:
    distribution("[vqa_twostage.fuse.fusion]\nproduct = acme_product\n", code)
    assert "product" in spec.available("fuse.fusion")
    assert spec.resolve("fuse.fusion", "concat").version
    with pytest.raises((UsageError, TypeError), match=message):
        spec.resolve("fuse.fusion", "product")


def test_a_plug_in_whose_module_is_missing_is_listed_as_not_importable(
    distribution: Distribution,
) -> None:
    distribution("[vqa_twostage.fuse.fusion]\nproduct = acme_missing\n")
    assert spec.available("fuse.fusion")["product"] == "(not importable: acme_missing)"


def test_plug_in_is_found_where_the_backport_of_importlib_metadata_has_taken_over(
    distribution: Distribution,
) -> None:
    """As after MLflow was imported: entry points are of another type then."""
    pytest.importorskip("importlib_metadata", reason="comes with mlflow-skinny")
    distribution("[vqa_twostage.fuse.fusion]\nproduct = acme_product\n")
    assert spec.resolve("fuse.fusion", "product:hidden=4").options["hidden"] == 4
    assert "from another distribution" in spec.available("fuse.fusion")["product"]
