"""Options of stage one are checked before weights are loaded and before the cache is touched."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import called

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.extract.run import extract_dataset
from vqa_twostage.pipeline import presets
from vqa_twostage.pipeline.datasets.loading import load_manifest
from vqa_twostage.pipeline.errors import UsageError

WRONG = [
    ("spatial", None, r"spatial must be a spec or several, as in 'resnet' or .*, not None"),
    ("spatial", 3, r"spatial must be a spec or several"),
    ("spatial", ["resnet", 3], r"spatial must be a spec, as in 'resnet', not 3"),
    ("spatial", " ", r"spatial must be a spec"),
    ("sampler", 8, r"sampler must be a spec, as in 'uniform:frames=8', not 8"),
    ("temporal", None, r"temporal must be a spec or several, as in 'tsm' or .*, not None"),
    ("temporal", 3, r"temporal must be a spec or several"),
    ("temporal", ("tsm", 3), r"temporal must be a spec, as in 'tsm', not 3"),
    ("temporal", "", r"temporal must be a spec, as in 'tsm', not ''"),
    ("decoder", "ffmpeg", r"unknown decoder 'ffmpeg'; choose from auto, decord, pyav"),
    ("decoder", None, r"unknown decoder None; choose from auto"),
    ("precision", "fp8", r"unknown precision 'fp8'; choose from fp32, bf16, fp16"),
    ("precision", 16, r"unknown precision 16; choose from fp32"),
    ("runtime", "onnx", r"unknown runtime 'onnx'; choose from auto, torch, openvino"),
    ("device", "gpu", r"unknown device 'gpu'; choose auto, cpu, cuda or cuda:N"),
    ("device", "cuda:first", r"unknown device 'cuda:first'; choose auto"),
    ("device", 0, r"unknown device 0; choose auto"),
    ("batch_size", -1, r"batch_size must be a whole number from 0 to 4096, not -1"),
    ("batch_size", "8", r"batch_size must be a whole number from 0 to 4096, not '8'"),
    ("batch_size", True, r"batch_size must be a whole number .* not True"),
    ("batch_size", 5000, r"batch_size must be a whole number .* not 5000"),
    ("workers", -2, r"workers must be a whole number of 0 or more, not -2"),
    ("workers", 1.5, r"workers must be a whole number of 0 or more, not 1.5"),
    ("workers", None, r"workers must be a whole number of 0 or more, not None"),
    ("limit", 0, r"limit must be a whole number of 1 or more, not 0"),
    ("limit", "10", r"limit must be a whole number of 1 or more, not '10'"),
    ("shard", "9/2", r"shard '9/2' is not understood; give I/N, as in 2/4"),
    ("shard", "0/3", r"shard '0/3' is not understood"),
    ("shard", "a/b", r"shard 'a/b' is not understood"),
    ("shard", "²/3", r"shard '²/3' is not understood"),
    ("shard", (1, 2), r"shard \(1, 2\) is not understood; give I/N"),
]


SCRIPT = """
import sys
from ast import literal_eval
from functools import partial
from dataclasses import replace
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.pipeline.errors import UsageError
for name, value in literal_eval(sys.argv[1]):
    for make in (ExtractOptions, partial(replace, ExtractOptions())):
        try:
            print(make(**{name: value}))
        except UsageError as error:
            print(error)
assert "torch" not in sys.modules
"""


def test_invalid_options_are_refused() -> None:
    """Run in a separate process, because the type checker of the tests would find values of a
    wrong type first in this one.
    """
    pairs = repr([(name, value) for name, value, _ in WRONG])
    command = [sys.executable, "-c", SCRIPT, pairs]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    messages = [message for *_, message in WRONG for _ in range(2)]
    for line, message in zip(lines, messages, strict=True):
        assert re.match(message, line), line


@pytest.mark.parametrize("kind", ["spatial", "temporal"])
@pytest.mark.parametrize("given", ["net", ["net"], ("net",)])
def test_extractors_may_be_one_spec_or_several(given: Any, kind: str) -> None:
    options = ExtractOptions(**{kind: given})
    assert getattr(options, kind) == ("net",) and options == ExtractOptions(**{kind: ("net",)})
    assert getattr(ExtractOptions(**{kind: ["net", "other"]}), kind) == ("net", "other")
    assert getattr(ExtractOptions(**{kind: []}), kind) == ()


def test_options_without_any_extractor_are_refused() -> None:
    with pytest.raises(UsageError, match="name a backbone at least, such as spatial='efficient"):
        ExtractOptions(spatial=[], temporal=[])


def test_options_from_a_mapping_are_checked_and_errors_name_their_source() -> None:
    options = ExtractOptions.from_mapping({"temporal": ["tea"], "limit": 3}, "my.toml")
    assert options == ExtractOptions(temporal="tea", limit=3)
    with pytest.raises(
        UsageError,
        match=r"my\.toml: unknown option tempral, frames; choose from "
        r"spatial, temporal, sampler",
    ):
        ExtractOptions.from_mapping({"tempral": "tea", "frames": 8}, "my.toml")
    with pytest.raises(UsageError, match=r"my\.toml: shard '9/2' is not understood"):
        ExtractOptions.from_mapping({"shard": "9/2"}, "my.toml")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ('tempral = ["tea"]', r"mine.toml: unknown option tempral; choose from spatial, temporal"),
        ('decoder = "ffmpeg"', r"mine.toml: unknown decoder 'ffmpeg'; choose from auto, decord"),
        ('shard = "9/2"', r"mine.toml: shard '9/2' is not understood"),
    ],
)
def test_preset_with_an_error_is_refused_with_its_name(
    written: str, message: str, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(f'about = "mine"\n[extract]\n{written}\n')
    monkeypatch.setattr(presets, "FOLDER", tmp_path)
    cache = tmp_path / "cache"
    words = ["--dataset", str(clips / "mos.csv"), "--preset", "mine", "--cache", str(cache)]
    result = called("vqa-extract", *words, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr
    assert not cache.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--shard", "9/2"],
        ["--shard", "0/3"],
        ["--shard", "a/b"],
        ["--device", "gpu"],
        ["--temporal", "nothing"],
        ["--temporal", "tsm:frames=8"],
        ["--temporal", "tsm:fit=squash"],
        ["--sampler", "uniform:frames=0"],
    ],
)
def test_invalid_option_is_refused_before_weights_are_loaded_and_the_cache_is_touched(
    words: list[str], clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "vqa_twostage.extract.networks.weights.read_state",
        lambda path: pytest.fail(f"{path} was read"),
    )
    cache = tmp_path / "cache"
    dataset = ["--dataset", str(clips / "mos.csv"), "--preset", "offline", "--cache", str(cache)]
    result = called("vqa-extract", *dataset, *words, cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.splitlines()[-1].startswith("Error: "), (
        result.stderr
    )
    assert not cache.exists()


def test_manifest_without_a_root_is_refused_before_weights_are_loaded(
    clips: Path, tmp_path: Path
) -> None:
    manifest = replace(load_manifest(str(clips / "mos.csv")), root=None)
    with pytest.raises(UsageError, match=r"the manifest of mos has no root.*load_manifest"):
        extract_dataset(manifest, tmp_path / "cache", ExtractOptions(spatial="nothing"))
    assert not (tmp_path / "cache").exists()
