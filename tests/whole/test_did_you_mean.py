"""A name that is none is answered with the closest one there is, whatever it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from commands import called
from hypothesis import given, settings
from hypothesis import strategies as st

import vqa_twostage as vqa
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.learning.loss_spec import parse_loss
from vqa_twostage.pipeline import presets, spec
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError, close_to

USES: dict[str, tuple[str, Callable[[], object]]] = {
    "fusion": ("dynamic", lambda: spec.resolve("fuse.fusion", "dynamc")),
    "backbone": ("convnext", lambda: spec.resolve("extract.spatial", "ConvNeXt")),
    "temporal model": ("slowfast", lambda: spec.resolve("extract.temporal", "slow_fast")),
    "sampler": ("uniform", lambda: spec.resolve("extract.samplers", "unifrom:frames=8")),
    "option of a plug-in": ("experts", lambda: spec.resolve("fuse.fusion", "dynamic:expert=3")),
    "protocol": ("random", lambda: spec.resolve("fuse.protocols", "radnom:n=3")),
    "baseline": ("ridge", lambda: spec.resolve("fuse.baselines", "rigde")),
    "variant": ("tiny", lambda: spec.resolve("extract.spatial", "convnext:variant=tny").build()),
    "loss": ("plcc", lambda: parse_loss("l1+plc")),
    "dataset": ("konvid", lambda: load_manifest("konvd")),
    "preset": ("offline", lambda: presets.load("ofline", "extract")),
    "precision": ("bf16", lambda: ExtractOptions(precision="bf1").limit),
    "option of an extraction": (
        "spatial",
        lambda: ExtractOptions.from_mapping({"spacial": "resnet"}, "x.toml"),
    ),
    "named model": ("demo", lambda: vqa.load(model="dmo")),
}


@pytest.mark.parametrize("use", USES)
def test_misspelt_name_is_answered_with_the_one_meant(use: str) -> None:
    meant, function = USES[use]
    with pytest.raises(UsageError) as refused:
        function()
    assert str(refused.value).endswith(f"; did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["vqa-fuse", "trian"], "'train'"),
        (["vqa-fuse", "train", "--fuson", "x"], "--fusion"),
        (["vqa-extract", "--datset", "x"], "--dataset"),
        (["vqa-cache", "inof"], "'info'"),
        (["vqa-data", "chek"], "'check'"),
        (["vqa-fuse", "train", "--dataset", "kovnid", "--cache", "cache"], "'konvid'"),
        (["vqa-fuse", "evaluate", "runs/concta"], "'runs/concat'"),
    ],
)
def test_misspelt_word_of_a_command_is_answered_with_the_one_meant(
    words: list[str], meant: str, tmp_path: Path
) -> None:
    (tmp_path / "cache" / "konvid").mkdir(parents=True)
    (tmp_path / "cache" / "konvid" / "manifest.json").write_text("{}")
    (tmp_path / "runs" / "concat").mkdir(parents=True)
    done = called(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean" in done.stderr.lower() and meant in done.stderr


@settings(deadline=None)
@given(wanted=st.text(max_size=20), names=st.lists(st.text(max_size=10), max_size=6))
def test_suggestion_is_one_of_the_names_or_nothing(wanted: str, names: list[str]) -> None:
    said = close_to(wanted, names)
    assert said in ["", *(f"; did you mean {name!r}?" for name in names)]
