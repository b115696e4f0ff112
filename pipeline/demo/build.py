"""Build the demo dataset: every content in every version, with its pseudo-MOS (VMAF).

A build can be interrupted at any time, and goes on from the contents that are finished. It writes

* ``recipe.json``: everything that decides what the other files contain; if it differs from the
  recipe of this program, the dataset is built again from the start
* ``videos/<content>/<version>``: the videos
* ``parts/<content>.json``: the label rows of a finished content
* ``labels.csv``: written last, in one step
* ``work/``: undistorted contents and unfinished files; removed at the end
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import importlib
import io
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from vqa_twostage.pipeline.demo.contents import CONTENTS, FRAMES, INSTALL, Content, locate, source
from vqa_twostage.pipeline.demo.distortions import LADDER, Version, encoding, file_name, filters
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import write_text

RECIPE = 1  # to be increased when the same tables give other files
LABEL = "pseudo-MOS (VMAF)"
COLUMNS = ("id", "path", "mos", "group", "vmaf", "version")
NEEDED = {"-filters": ("libvmaf",), "-encoders": ("libx264", "libx265", "libvpx-vp9")}

Row = dict[str, str]


class _Stopped(Exception):
    """The build was interrupted, or another content failed, so this one is not finished."""


def build_demo(
    root: str | Path,
    *,
    workers: int = 2,
    limit_contents: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Build what is missing in the folder ``root``, and return the path of its labels.csv.

    Args:
        root: The folder of the dataset; a new one, an empty one, or an earlier build.
        workers: Number of contents that are built at the same time.
        limit_contents: Build only the first contents, for tests.
        on_progress: Is called with (done, total) after each video. It runs in the threads of the
            workers, in one at a time.

    Raises:
        UsageError: A package or an encoder is missing, or ``root`` contains something else.
        RuntimeError: ffmpeg failed.
    """
    root = Path(root)
    contents = CONTENTS[:limit_contents]
    ffmpeg = find_ffmpeg()
    for content in contents:  # a missing package is an error now, not after a minute
        locate(content.package, content.path)
    prepare(root, recipe(ffmpeg))

    parts = {content.name: read_part(root, content) for content in contents}
    pending = [content for content in contents if parts[content.name] is None]
    stop, lock = threading.Event(), threading.Lock()
    total = len(contents) * len(LADDER)
    done = total - len(pending) * len(LADDER)

    def count_video() -> None:
        nonlocal done
        with lock:
            done += 1
            if on_progress is not None:
                on_progress(done, total)

    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        futures = [
            pool.submit(build_content, root, content, ffmpeg, stop, count_video)
            for content in pending
        ]
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
    finally:
        # after a failure or Ctrl-C: running encoders are killed, and no other content is started
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(root / "work", ignore_errors=True)

    rows = [row for content in contents for row in read_part(root, content) or []]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["id"]))
    labels = root / "labels.csv"
    write_text(labels, text.getvalue())
    return labels


def build_content(
    root: Path,
    content: Content,
    ffmpeg: str,
    stop: threading.Event,
    on_video: Callable[[], None],
) -> None:
    """Build all versions of one content, and write its part. ``on_video`` is called after each."""
    work, videos = root / "work" / content.name, root / "videos" / content.name
    work.mkdir(parents=True, exist_ok=True)
    videos.mkdir(parents=True, exist_ok=True)
    arguments, stdin = source(content)
    # y4m is lossless and needs no decoding
    run(
        [
            ffmpeg,
            *arguments,
            "-pix_fmt",
            "yuv420p",
            "-sws_flags",
            "accurate_rnd+full_chroma_int",
            "reference.y4m",
        ],
        work,
        stop,
        stdin,
    )
    width = reference_width(work / "reference.y4m")
    rows = []
    for version in LADDER:
        vmaf = build_version(work, version, width, ffmpeg, stop)
        os.replace(work / file_name(version), videos / file_name(version))
        rows.append(
            {
                "id": f"{content.name}-{version.name}",
                "path": f"videos/{content.name}/{file_name(version)}",
                "mos": f"{1 + 4 * vmaf / 100:.4f}",
                "group": content.name,
                "vmaf": f"{vmaf:.4f}",
                "version": version.name,
            }
        )
        on_video()
    write_text(root / "parts" / f"{content.name}.json", json.dumps(rows, indent=1))
    shutil.rmtree(work)


def build_version(
    work: Path, version: Version, width: int, ffmpeg: str, stop: threading.Event
) -> float:
    """Encode one version into ``work`` and return its VMAF, 0 to 100, against the reference
    there.
    """
    file = file_name(version)
    chain = filters(version, width)
    run(
        [
            ffmpeg,
            "-i",
            "reference.y4m",
            "-filter_threads",
            "1",
            "-vf",
            chain,
            *encoding(version),
            file,
        ],
        work,
        stop,
    )
    # names are relative to `work`, because a path would have to be quoted for the filter
    measure = "libvmaf=n_threads=1:log_fmt=json:log_path=vmaf.json:shortest=1"
    inputs = ["-threads", "1", "-i", file, "-threads", "1", "-i", "reference.y4m"]
    run([ffmpeg, *inputs, "-lavfi", measure, "-f", "null", "-"], work, stop)
    log = json.loads((work / "vmaf.json").read_text())
    if len(log["frames"]) != FRAMES:
        raise RuntimeError(f"{file} of {work.name} has {len(log['frames'])} frames, not {FRAMES}")
    return float(log["pooled_metrics"]["vmaf"]["mean"])


def run(command: list[str], cwd: Path, stop: threading.Event, stdin: bytes | None = None) -> None:
    """Run ffmpeg to its end, or kill it as soon as ``stop`` is set."""
    if stop.is_set():
        raise _Stopped
    program, *arguments = command
    # the input is a file, not a pipe: after a timeout, `communicate` of Python 3.11 never sends
    # the rest
    with tempfile.TemporaryFile() as feed:
        feed.write(stdin or b"")
        feed.seek(0)
        process = subprocess.Popen(
            [program, "-nostdin", "-y", "-v", "error", *arguments],
            cwd=cwd,
            stdin=feed,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal reaches only this program
        )
    while True:
        try:
            _, stderr = process.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            if stop.is_set():
                process.kill()
                process.communicate()
                raise _Stopped from None
    if process.returncode != 0:
        last = (stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(
            f"ffmpeg failed on {arguments[-1]} of {cwd.name} (exit {process.returncode}): {last}"
        )


def find_ffmpeg() -> str:
    """The path of imageio-ffmpeg's ffmpeg; UsageError if it lacks what the demo needs."""
    try:
        importlib.import_module("PIL")
        ffmpeg = str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except ImportError as error:
        raise UsageError(
            f"the demo dataset needs {error.name}, which is not installed: {INSTALL}"
        ) from None
    except RuntimeError as error:  # imageio-ffmpeg has no ffmpeg for this machine
        raise UsageError(f"the demo dataset needs an ffmpeg with libvmaf: {error}") from None
    for question, names in NEEDED.items():
        answer = subprocess.run(
            [ffmpeg, "-hide_banner", question], capture_output=True, text=True
        ).stdout
        if missing := [name for name in names if name not in answer]:
            raise UsageError(
                f"{ffmpeg} has no {', '.join(missing)}, which the demo dataset needs. The ffmpeg "
                f"in the wheel of imageio-ffmpeg has it: run {INSTALL}, and unset "
                "IMAGEIO_FFMPEG_EXE"
            )
    return ffmpeg


def recipe(ffmpeg: str) -> dict[str, Any]:
    """Everything that decides what the files contain, and the digest of it."""
    import PIL

    version = subprocess.run([ffmpeg, "-version"], capture_output=True, text=True).stdout.split(
        "\n"
    )[0]
    contents = {
        "recipe": RECIPE,
        "label": LABEL,
        "ffmpeg": version,
        "pillow": PIL.__version__,
        "contents": [{"kind": type(c).__name__, **dataclasses.asdict(c)} for c in CONTENTS],
        "versions": [dataclasses.asdict(v) for v in LADDER],
    }
    digest = hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, **contents}


def prepare(root: Path, recipe: dict[str, Any]) -> None:
    """Remove everything from ``root`` that another recipe made; UsageError if it contains files of
    anybody else.
    """
    path = root / "recipe.json"
    if path.is_file():
        if _digest_in(path) != recipe["digest"]:
            (root / "labels.csv").unlink(missing_ok=True)
            shutil.rmtree(root / "parts", ignore_errors=True)
            shutil.rmtree(root / "videos", ignore_errors=True)
    elif root.exists() and not root.is_dir():
        raise UsageError(f"{root} is a file; give an empty or a new folder for the demo dataset")
    elif root.exists() and not all(
        # what is left of a recipe that was being written when a build was killed
        file.name.startswith(".recipe.json.")
        for file in root.iterdir()
    ):
        raise UsageError(
            f"{root} contains something else than a demo dataset; give an empty or a new folder"
        )
    shutil.rmtree(root / "work", ignore_errors=True)
    write_text(path, json.dumps(recipe, indent=1, ensure_ascii=False))
    (root / "parts").mkdir(exist_ok=True)


def _digest_in(path: Path) -> str:
    """The digest in a recipe.json; empty if the file is damaged."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("digest"))
    except (ValueError, AttributeError):
        return ""


def read_part(root: Path, content: Content) -> list[Row] | None:
    """The label rows of a finished content; None if it is not finished or lacks a video."""
    try:
        rows: list[Row] = json.loads((root / "parts" / f"{content.name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if len(rows) < len(LADDER) or not all((root / row["path"]).is_file() for row in rows):
        return None
    return rows


def reference_width(y4m: Path) -> int:
    """The width in the first line of a y4m file, for example ``YUV4MPEG2 W426 H240 F25:1``."""
    with y4m.open("rb") as file:
        return int(next(word[1:] for word in file.readline().split() if word.startswith(b"W")))
