"""A preset is a name or an own file, and a file with an error is refused with the reason."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from commands import called, document
from hypothesis import given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline import presets
from vqa_twostage.pipeline.errors import UsageError

OWN = """
about = "what we use"

[extract]
spatial = ["efficientnet_lite0"]
temporal = "tsm"
sampler = "uniform:frames=2"

[fuse]
fusion = "gated"
epochs = 3
"""


@pytest.mark.parametrize("about", [True, False])
@pytest.mark.parametrize("name", ["mine.toml", "folder/mine.TOML"])
def test_own_file_sets_options_of_both_stages(name: str, about: bool, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(OWN if about else OWN.replace('about = "what we use"', ""), "utf-8-sig")
    assert presets.load(str(path), "extract") == {
        "spatial": ("efficientnet_lite0",),
        "temporal": "tsm",
        "sampler": "uniform:frames=2",
    }
    assert presets.load(str(path), "fuse") == {"fusion": "gated", "epochs": 3}


def test_own_file_of_one_stage_sets_nothing_of_the_other(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[fuse]\nfusion = "gated"\n')
    assert presets.load(str(path), "extract") == {}


@pytest.mark.parametrize("name", ["optimized", "baseline", "offline"])
def test_copy_of_a_preset_sets_the_same_as_its_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "copy.toml"
    path.write_bytes((presets.FOLDER / f"{name}.toml").read_bytes())
    for stage in presets.STAGES:
        assert presets.load(str(path), stage) == presets.load(name, stage) != {}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[extract", "is not a TOML file in UTF-8"),
        (b'about = "\xff"', "is not a TOML file in UTF-8"),
        (b"[extraction]\n[fuse]\n", "unknown key extraction; a preset has [extract], [fuse]"),
        (b'spatial = "resnet"\n[extract]\n', "unknown key spatial; a preset has"),
        (b"", "sets no options; a preset has [extract], [fuse] or both"),
        (b'about = "nothing else"', "sets no options"),
        (b'extract = "resnet"', "extract must be a table, [extract]"),
        (b"[[fuse]]\n", "fuse must be a table, [fuse]"),
        (b"about = 3\n[fuse]\n", "about must be a text, not 3"),
    ],
)
def test_file_that_is_no_preset_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        presets.load(str(path), "extract")
    assert str(path) in str(refused.value) and message in str(refused.value)


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8")))
def test_no_content_of_a_file_is_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(content)
    with suppress(UsageError):
        presets.load(str(path), "extract")


@pytest.mark.parametrize("stage", presets.STAGES)
def test_file_that_does_not_exist_is_refused(stage: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.toml does not exist; give the path of a \.toml"):
        presets.load(str(tmp_path / "none.toml"), stage)
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"folder\.toml cannot be read: Is a directory"):
        presets.load(str(tmp_path / "folder.toml"), stage)
    with pytest.raises(UsageError, match=r"'offlin'; choose from baseline, offline, optimized, or"):
        presets.load("offlin", stage)


@pytest.mark.long
def test_both_stages_take_a_file_and_options_beside_it_win(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(OWN)
    own = ["--preset", "mine.toml"]
    words = ["vqa-extract", "--dataset", clips / "mos.csv", *own, "--sampler", "uniform:frames=3"]
    plan = document(called(*words, "--dry-run", "--json", cwd=tmp_path))
    assert plan["extract"]["sampler"] == "uniform:frames=3"
    assert plan["extract"]["temporal"] == ["tsm"]
    assert plan["fuse"] == {"fusion": "gated", "epochs": 3}


def test_wrong_option_in_a_file_is_told_with_the_file(toy_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[fuse]\nepoch = 3\n")
    words = ["vqa-fuse", "train", "--cache", toy_cache, "--preset", "mine.toml"]
    refused = called(*words, cwd=tmp_path)
    assert refused.returncode == 2
    assert "mine.toml: unknown option epoch; options are fusion, pooling" in refused.stderr
    (tmp_path / "mine.toml").write_text(OWN)
    trained = called(*words, "--fusion", "concat", "--protocol", "random:n=1", cwd=tmp_path)
    assert trained.returncode == 0 and "concat" in trained.stdout, trained.stderr


def test_lists_tell_that_a_file_may_be_given(tmp_path: Path) -> None:
    assert "or the path of a .toml" in called("vqa-extract", "--list", cwd=tmp_path).stdout
