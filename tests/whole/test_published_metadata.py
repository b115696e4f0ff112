"""The page of the published package: its links lead to the project, and its README renders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from places import REPOSITORY

URL = "https://forge.example/owner/vqa"
METADATA = (
    "import sys; from setuptools.build_meta import prepare_metadata_for_build_wheel as prepare; "
    "print(prepare(sys.argv[1]))"
)


def built(folder: Path, url: str | None) -> subprocess.CompletedProcess[str]:
    """The metadata that a wheel has, in ``folder / "metadata"``."""
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, source)
    (folder / "metadata").mkdir()
    (source / "vqa_twostage").mkdir()
    shutil.copy(REPOSITORY / "vqa_twostage" / "__init__.py", source / "vqa_twostage")
    environment = {name: value for name, value in os.environ.items() if name != "PROJECT_URL"}
    if url is not None:
        environment["PROJECT_URL"] = url
    return subprocess.run(
        [sys.executable, "-c", METADATA, folder / "metadata"],
        cwd=source,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def metadata(folder: Path, url: str | None) -> Message:
    result = built(folder, url)
    assert result.returncode == 0, result.stderr
    (path,) = (folder / "metadata").glob("*.dist-info/METADATA")
    return message_from_string(path.read_text(encoding="utf-8"))


def description(found: Message) -> str:
    text = found.get_payload()
    assert isinstance(text, str)
    return text


def rendered(text: str) -> str:
    markdown = pytest.importorskip("readme_renderer.markdown")
    html = markdown.render(text, variant="GFM")
    assert html
    return str(html)


def test_readme_renders_where_packages_are_published(tmp_path: Path) -> None:
    """With the renderer of PyPI, which leaves out what it does not know."""
    html = rendered(description(metadata(tmp_path, None)))
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for heading in re.findall(r"^#+ (\w+)", readme, re.MULTILINE):
        assert heading in html
    assert html.count("<table>") == len(re.findall(r"^\|[-|: ]+\|$", readme, re.MULTILINE)) > 0
    assert html.count("<img") == readme.count("<img") + readme.count("![") > 0
    assert "<pre" in html and "```" not in html


def test_published_pages_and_pictures_are_absolute_addresses_of_files_that_are_there(
    tmp_path: Path,
) -> None:
    found = metadata(tmp_path, f"{URL}/")
    html = rendered(description(found))
    sources = re.findall(r'src="([^"]*)"', html)
    targets = re.findall(r'href="([^"#][^"]*)"', html)
    assert sources and all(source.startswith(f"{URL}/raw/HEAD/") for source in sources)
    assert all(re.match("https?:", target) for target in targets)
    ours = [address for address in (*sources, *targets) if address.startswith(URL)]
    assert len(ours) > 20
    for address in ours:
        path = address.removeprefix(URL).split("#")[0]
        assert (REPOSITORY / re.sub("^/(raw|blob)/HEAD/", "", path)).is_file(), address


def test_published_package_names_its_project(tmp_path: Path) -> None:
    links = dict(line.split(", ") for line in metadata(tmp_path, URL).get_all("Project-URL", []))
    assert links["Source"] == URL
    assert links.keys() == {"Source", "Documentation", "Changelog", "Issues"}
    for name in ("Documentation", "Changelog"):
        assert (REPOSITORY / links[name].removeprefix(f"{URL}/blob/HEAD/")).is_file()


def test_package_that_is_published_nowhere_names_no_address(tmp_path: Path) -> None:
    found = metadata(tmp_path, None)
    assert found.get_all("Project-URL") is None
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert description(found).strip() == readme.strip()


@pytest.mark.parametrize(
    "url", ["forge.example/owner/vqa", "http://forge.example", "https://", "https://a/b?token=1"]
)
def test_address_that_cannot_be_one_is_refused(url: str, tmp_path: Path) -> None:
    result = built(tmp_path, url)
    assert result.returncode != 0
    assert f"PROJECT_URL {url!r} is not understood; give https://HOST/OWNER/NAME" in result.stderr
