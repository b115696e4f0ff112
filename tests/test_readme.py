"""The plug-ins that the docs show work as they are shown, and the README's tree of files is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from plugin_files import install

from fuse.streams import Channels, Stream
from pipeline import spec

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = {
    match["path"]: match["code"]
    for page in ("backbone", "head")
    for match in re.finditer(
        r"```python\n# (?P<path>\S+\.py).*?\n(?P<code>.*?)```",
        (ROOT / "docs" / "how-to" / f"{page}.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plug-ins of the how-to pages, as if saved where they say."""
    for path, code in SNIPPETS.items():
        install(path, code, tmp_path, monkeypatch)


@pytest.mark.usefixtures("installed")
def test_the_backbone_of_the_docs_is_one_file() -> None:
    assert "MobileNetV3" in spec.available("extract.spatial")["mobilenet"]
    with pytest.warns(UserWarning, match="random weights"):
        extractor = spec.resolve("extract.spatial", "mobilenet:weights=none").build()
    assert extractor.maps(torch.rand(2, 1, 3, 64, 64))["c3"].shape == (2, 1, 40, 8, 8)


@pytest.mark.usefixtures("installed")
def test_the_head_of_the_docs_is_one_file() -> None:
    head = spec.resolve("fuse.fusion", "product:hidden=5").build(Channels(3, (3,)), Channels(4, (4,)))
    mask = torch.ones(2, 6, dtype=torch.bool)
    streams = (Stream([tokens], tokens, mask / 6, mask) for tokens in (torch.rand(2, 6, 3), torch.rand(2, 6, 4)))
    assert head(*streams).vector.shape == (2, 5)


def test_every_file_in_the_readmes_tree_exists_and_every_plugin_is_in_it() -> None:
    tree = README.split("## What is where")[1].split("```")[1]
    folder = ""
    for line in tree.strip().splitlines():
        names = re.findall(r"[\w./]+\.(?:py|toml|md)\b|[\w]+/", line)
        if not line.startswith(" "):
            folder = line.split("/")[0]
        inside = next((name for name in names if name.endswith("/")), "") if line.startswith(" ") else ""
        for name in names:
            if name.endswith("/"):
                assert (ROOT / folder / name).is_dir() or (ROOT / name).is_dir(), name
            else:
                places = [ROOT / folder / inside / name, ROOT / folder / name]
                assert any(place.is_file() for place in places), f"{folder}/{inside}{name}"
    for path in ROOT.glob("[pef]*/*/[a-z]*.py"):
        if path.parts[-3] in ("extract", "fuse"):
            assert path.name in tree, f"{path.name} is not in the README's tree"
