"""Every command that README and docs show is run here as it is shown, on small data that lies where
they say.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import author_layouts as miniatures
import click
import pytest
from commands import BIN, called
from places import REPOSITORY
from plugin_files import install, install_distribution

from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.demo.contents import CONTENTS
from vqa_twostage.pipeline.demo.distortions import LADDER

ROOT = REPOSITORY
STAGES = ("pipeline", "extract", "fuse")
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
FENCED = re.compile(
    r"^(?:## (?P<heading>[^\n]*)|```(?P<language>\w*)\n(?P<code>.*?)^```)", re.DOTALL | re.MULTILINE
)
# commands of other programs, around ours
NOT_RUN = ("git clone", "source ", "cd ", "pip install")
PROGRAMS = "vqa-[a-z]+|make|python|git|source|cd|pip"
# pages, and sections of the README, that need no features or runs of earlier pages
BARE = (
    "docs/tutorial.md",
    "docs/how-to/cluster.md",
    "docs/how-to/konvid.md",
    "docs/how-to/lsvq.md",
    "docs/how-to/own-videos.md",
    "docs/how-to/object-stores.md",
    "docs/how-to/axes.md",
)
BARE += ("docs/how-to/published-features.md", "docs/how-to/ten-minutes.md")
BARE += ("README.md KoNViD-1k", "README.md Your own videos")
# sections whose commands show options of heavy networks: one video is enough
ONE_VIDEO = ("README.md What can be extracted", "docs/how-to/backbone.md")
# networks whose weights came with pip; those of the others are random here, where there is no hub
WITH_WEIGHTS = ("efficientnet_lite0", "tf_efficientnet_lite0")


class Block(NamedTuple):
    """A fenced block: the heading it stands under, its language, its text."""

    heading: str
    language: str
    code: str

    @property
    def commands(self) -> list[str]:
        """Its lines that are commands, without comments; lines that end in a backslash go on."""
        if self.language not in ("", "bash", "sh"):
            return []
        lines = re.sub(r"\s+#\s.*", "", self.code.replace("\\\n", " ")).splitlines()
        return [line.strip() for line in lines if re.match(rf"({PROGRAMS})\s", line.strip())]


def blocks(page: str) -> Iterator[Block]:
    heading = ""
    for match in FENCED.finditer((ROOT / page).read_text(encoding="utf-8")):
        if match["heading"] is not None:
            heading = match["heading"]
        else:
            yield Block(heading, match["language"], match["code"])


def parts() -> dict[str, list[Block]]:
    """Blocks whose commands belong together: a page, and of the README a section."""
    found: dict[str, list[Block]] = {}
    for page in PAGES:
        for block in blocks(page):
            name = f"{page} {block.heading.split(',')[0]}" if page == "README.md" else page
            found.setdefault(name, []).append(block)
    return {
        name: inside for name, inside in found.items() if any(block.commands for block in inside)
    }


@pytest.fixture(scope="module")
def bare(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos and datasets where the pages say that they lie; nothing extracted."""
    folder = tmp_path_factory.mktemp("bare")
    videos = sorted(clips.glob("*.mp4"))
    miniatures.own(folder / "videos", videos)
    miniatures.konvid(folder / "data" / "konvid", videos)
    # of other pictures, since no run learns from a video that it is tested on
    negatives = [negative(video, tmp_path_factory.mktemp("negative")) for video in videos]
    miniatures.livevqc(folder / "data" / "livevqc", negatives)
    miniatures.lsvq(folder / "data" / "lsvq", videos)
    miniatures.videval(folder, 12)
    for name in ("clip.mp4", "holiday/beach.mp4", "holiday/dog.MP4", "uploads/new.mp4"):
        miniatures.put(videos[-1], folder / name)
    return folder


def negative(video: Path, folder: Path) -> Path:
    ffmpeg = pytest.importorskip("imageio_ffmpeg").get_ffmpeg_exe()
    made = folder / video.name
    words = [ffmpeg, "-v", "error", "-i", video, "-vf", "negate", "-threads", "1", made]
    subprocess.run(words, check=True)
    return made


@pytest.fixture(scope="module")
def trained(bare: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with features of KoNViD and LIVE-VQC, and two runs, as the pages that come before
    leave them.
    """
    folder = Path(shutil.copytree(bare, tmp_path_factory.mktemp("trained") / "world"))
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        for words in (
            "vqa-extract --dataset konvid --root /data/konvid --preset offline",
            "vqa-extract --dataset livevqc --root /data/livevqc --preset offline",
            "vqa-fuse train --dataset konvid --fusion concat --temporal-encoder attention",
            "vqa-fuse train --dataset konvid --fusion dynamic",
        ):
            assert ran(words, folder).returncode == 0, words
    return folder


def small(patch: pytest.MonkeyPatch, limit: int | None = None) -> None:
    """The same commands on little data: few epochs, one member and two splits, unless a command
    sets them.
    """
    less = {"epochs": 2, "members": 1, "protocol": "random:n=2"}
    for options, values in ((ExtractOptions, {"limit": limit}), (TrainOptions, less)):
        patch.setattr(options, "from_mapping", with_values(options.from_mapping, values))
    patch.setattr("vqa_twostage.pipeline.demo.build.CONTENTS", CONTENTS[5:10])
    patch.setattr("vqa_twostage.pipeline.demo.build.LADDER", LADDER[:3])
    build = spec.Plugin.build

    def without_hub(plugin: spec.Plugin, *given: Any) -> Any:
        network = plugin.options.get("network", plugin.spec.name)
        if plugin.options.get("weights") == "auto" and network not in WITH_WEIGHTS:
            plugin = replace(plugin, options={**plugin.options, "weights": "none"})
        return build(plugin, *given)

    patch.setattr(spec.Plugin, "build", without_hub)
    from vqa_twostage.fuse.cli import command

    for inside in command.commands.values():
        for option in inside.params:
            if option.name == "workers" and isinstance(option, click.Option):
                # other processes would not have these patches, and are slow to start
                patch.setattr(option, "default", 1)


def with_values(from_mapping: Callable[..., Any], values: dict[str, Any]) -> Any:
    """`from_mapping` with ``values`` for options that are not set."""
    return staticmethod(lambda options, where: from_mapping({**values, **options}, where))


def ran(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A command as a shell would run it: patterns become files, ``…`` stands for the rest of a
    name.
    """
    words: list[str] = []
    for word in shlex.split(line.replace("/data/", f"{folder}/data/")):
        quoted = f"'{word}'" in line
        pattern = word.replace("…", "*")
        found = (
            sorted(str(path.relative_to(folder)) for path in folder.glob(pattern))
            if "*" in pattern
            else []
        )
        words += found if found and not quoted and not pattern.startswith("/") else [word]
    if words[0] == "python":
        return subprocess.run(
            [sys.executable, *words[1:]], capture_output=True, text=True, check=False, cwd=folder
        )
    return called(*words, cwd=folder)


def watched_until_the_first_score(line: str, folder: Path) -> None:
    """A command that has no end of its own: it prints a score, and Ctrl-C ends it."""
    process = subprocess.Popen(
        [BIN / line.split()[0], *line.split()[1:]], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert '"score": ' in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0, line


def test_commands_are_found_in_readme_and_docs() -> None:
    found = parts()
    assert {
        "docs/tutorial.md",
        "docs/how-to/lsvq.md",
        "docs/how-to/score.md",
        "docs/datasets.md",
    } <= set(found)
    count = {name: sum(len(block.commands) for block in inside) for name, inside in found.items()}
    assert (
        sum(count.values()) > 60
        and sum(count[name] for name in count if name.startswith("README.md")) > 15
    )


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", parts())
def test_commands_work_as_they_are_shown(
    part: str,
    bare: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = bare if part in BARE else request.getfixturevalue("trained")
    folder = Path(shutil.copytree(start, tmp_path / "world"))
    small(monkeypatch, limit=1 if part in ONE_VIDEO else None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "kept"))
    fill_bucket(part, request, folder)
    for block in parts()[part]:
        if name := re.match(r"# (\S+\.(?:py|toml))\b", block.code):
            if name[1].split("/")[0] in STAGES:
                install(name[1], block.code, folder, monkeypatch)
            else:
                path = folder / name[1]
                path.parent.mkdir(exist_ok=True)
                path.write_text(block.code)
                if path.name == "pyproject.toml":
                    install_distribution(path.parent, monkeypatch)
        for line in block.commands:
            if line.startswith(NOT_RUN):
                continue
            if line.startswith("make"):
                target = line.split()[1]
                for inside in commands_of_make(target):
                    assert ran(inside, folder).returncode == 0, inside
            elif line.startswith("python -m benchmarks"):
                assert (
                    ROOT / "benchmarks" / f"{line.split('benchmarks.')[1].split()[0]}.py"
                ).is_file(), line
            elif "--watch" in line:
                watched_until_the_first_score(line, folder)
            else:
                done = ran(line, folder)
                assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def fill_bucket(part: str, request: pytest.FixtureRequest, folder: Path) -> None:
    """Puts the videos into a bucket where the page is about one."""
    if part == "docs/how-to/object-stores.md":
        service = request.getfixturevalue("s3")
        for name in ("videos", "uploads"):
            service.put_folder("my-bucket", folder / name, name)


def commands_of_make(target: str) -> list[str]:
    """The vqa commands of a target that exists."""
    planned = subprocess.run(
        ["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [
        line.removeprefix(".venv/bin/")
        for line in planned.splitlines()
        if line.startswith(".venv/bin/vqa-")
    ]


def test_the_tutorial_does_what_make_demo_does() -> None:
    commands = commands_of_make("demo")
    shown = [line for block in parts()["docs/tutorial.md"] for line in block.commands]
    assert len(commands) == 5 and set(commands) <= set(shown)


def test_every_script_that_is_shown_is_run() -> None:
    shown = {block.code for page in PAGES for block in blocks(page) if block.code.startswith("# ")}
    scripts = {code for code in shown if re.match(r"# \w+\.py\n", code)}
    shown_commands = {
        line for inside in parts().values() for block in inside for line in block.commands
    }
    assert scripts and all(f"python {code.split()[1]}" in shown_commands for code in scripts)
    names = [code.split()[1] for code in scripts]
    assert len(set(names)) == len(names), (
        "two scripts have one name; that of the README must equal that of the docs"
    )
