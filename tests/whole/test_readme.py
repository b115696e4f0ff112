"""The plug-ins that the docs show work as shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from places import REPOSITORY
from plugin_files import install

from vqa_twostage.fuse.streams import Channels, Stream
from vqa_twostage.pipeline import spec

ROOT = REPOSITORY
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
    head = spec.resolve("fuse.fusion", "product:hidden=5").build(
        Channels(3, (3,)), Channels(4, (4,))
    )
    mask = torch.ones(2, 6, dtype=torch.bool)
    streams = (
        Stream([tokens], tokens, mask / 6, mask)
        for tokens in (torch.rand(2, 6, 3), torch.rand(2, 6, 4))
    )
    assert head(*streams).vector.shape == (2, 5)
