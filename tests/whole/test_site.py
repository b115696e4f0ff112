"""The site of `make docs` is built without a warning, and works from its folder, without a network:
nothing is fetched, and the search finds pages.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from commands import BIN
from places import REPOSITORY

pytestmark = pytest.mark.long
ELSEWHERE = re.compile(r"\s*(?:[a-z]+:)?//", re.IGNORECASE)
# links that people follow are no part of a page; what it says of itself for search engines neither
NOT_FETCHED = {"a", "form"}
NOT_FETCHED_LINKS = {"canonical", "next", "prev", "edit"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("a folder") / "site"
    command = [BIN / "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder


class Fetched(HTMLParser):
    """What a page makes a browser fetch."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in NOT_FETCHED or (tag == "link" and values.get("rel") in NOT_FETCHED_LINKS):
            return
        named = ("src", "href", "srcset", "data", "poster", "action")
        self.addresses += [values[name] or "" for name in named if name in values]


def test_the_reference_is_that_of_the_code(site: Path) -> None:
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    assert "--temporal-encoder" in commands and "vqa-cache merge" in commands
    functions = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "vqa_twostage.extract.run.extract_dataset" in functions and "UsageError" in functions
    assert "mixture of experts" in (site / "reference" / "plugins.html").read_text(encoding="utf-8")


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    fetched = {page: Fetched(page).addresses for page in pages}
    assert len(pages) > 30 and all(fetched.values())
    foreign = {
        f"{page.name}: {address}"
        for page, addresses in fetched.items()
        for address in addresses
        if ELSEWHERE.match(address)
    }
    assert not foreign
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        named = re.findall(r"(?:@import\s*|url\()\s*[\"']?([^\"')\s]+)", text)
        assert not [address for address in named if ELSEWHERE.match(address)], sheet


def test_search_finds_a_page_from_its_folder_without_a_network(site: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed (apt-get install chromium)")

    def opened(address: str) -> str:
        """A page as it is after its scripts have run; no name resolves."""
        words = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
        words += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000"]
        words += [f"--user-data-dir={tmp_path}", address]
        done = subprocess.run(
            [browser, *words], capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout

    found = opened(f"{site.as_uri()}/how-to/score.html?q=krcc")
    results = re.findall(r'<a href="(file:[^"]+)" class="md-search-result__link"', found)
    assert results and all("krcc" in opened(result).lower() for result in results[:2])
