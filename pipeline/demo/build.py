"""Builds the demo dataset: every content in every version, with its pseudo-MOS (VMAF), complete or
absent.

* ``recipe.json``: what the rest was made with; another recipe there means that all is built anew
* ``videos/<content>/<version>``: the videos
* ``parts/<content>.json``: a finished content's label rows, from which an interrupted build goes on
* ``labels.csv``: written last, in one step
* ``work/``: undistorted contents and half-made files; gone at the end
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

RECIPE = 1  # raised when the same tables would give other files
LABEL = "pseudo-MOS (VMAF)"
COLUMNS = ("id", "path", "mos", "group", "vmaf", "version")
NEEDED = {"-filters": ("libvmaf",), "-encoders": ("libx264", "libx265", "libvpx-vp9")}

Row = dict[str, str]


class _Stopped(Exception):
    """Another content failed, or the user interrupted: this one's work is not wanted any more."""


def build_demo(
    root: Path,
    *,
    workers: int = 2,
    limit_contents: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Build what is missing under `root` and return the path of its labels.csv.

    `on_progress(done, total)` is called after each video, from the workers' threads, one at a time.
    """
    contents = CONTENTS[:limit_contents]
    ffmpeg = find_ffmpeg()
    for content in contents:  # all missing packages show here, not after a minute's work
        locate(content.package, content.path)
    prepare(root, recipe(ffmpeg))

    parts = {content.name: read_part(root, content) for content in contents}
    todo = [content for content in contents if parts[content.name] is None]
    stop, lock = threading.Event(), threading.Lock()
    total = len(contents) * len(LADDER)
    done = total - len(todo) * len(LADDER)

    def report() -> None:
        nonlocal done
        with lock:
            done += 1
            if on_progress is not None:
                on_progress(done, total)

    pool = ThreadPoolExecutor(max_workers=max(1, workers))
    try:
        futures = [
            pool.submit(build_content, root, content, ffmpeg, stop, report) for content in todo
        ]
        finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
        for future in finished:
            future.result()
    # after a failure or Ctrl-C: what is finished stays, what runs is killed, the rest is not begun
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(root / "work", ignore_errors=True)

    rows = [row for content in contents for row in read_part(root, content) or []]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["id"]))
    return publish(root / "labels.csv", text.getvalue())


def build_content(
    root: Path, content: Content, ffmpeg: str, stop: threading.Event, report: Callable[[], None]
) -> None:
    """All versions of one content, then its part."""
    work, videos = root / "work" / content.name, root / "videos" / content.name
    work.mkdir(parents=True, exist_ok=True)
    videos.mkdir(parents=True, exist_ok=True)
    arguments, stdin = source(content)
    # y4m: lossless, and nothing to decode
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
        report()
    publish(root / "parts" / f"{content.name}.json", json.dumps(rows, indent=1))
    shutil.rmtree(work)


def build_version(
    work: Path, version: Version, width: int, ffmpeg: str, stop: threading.Event
) -> float:
    """Encode one version into `work` and measure its VMAF, 0 to 100, against the reference beside
    it.
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
    # relative names, run inside `work`: no path has to survive the filter's quoting
    measure = "libvmaf=n_threads=1:log_fmt=json:log_path=vmaf.json:shortest=1"
    inputs = ["-threads", "1", "-i", file, "-threads", "1", "-i", "reference.y4m"]
    run([ffmpeg, *inputs, "-lavfi", measure, "-f", "null", "-"], work, stop)
    log = json.loads((work / "vmaf.json").read_text())
    if len(log["frames"]) != FRAMES:
        raise RuntimeError(f"{file} of {work.name} has {len(log['frames'])} frames, not {FRAMES}")
    return float(log["pooled_metrics"]["vmaf"]["mean"])


def run(command: list[str], cwd: Path, stop: threading.Event, stdin: bytes | None = None) -> None:
    """Run ffmpeg to its end, or kill it as soon as `stop` is set."""
    if stop.is_set():
        raise _Stopped
    program, *arguments = command
    # a file and no pipe: what `communicate` has not sent when its timeout ends, it never sends
    # (Python 3.11)
    with tempfile.TemporaryFile() as feed:
        feed.write(stdin or b"")
        feed.seek(0)
        process = subprocess.Popen(
            [program, "-nostdin", "-y", "-v", "error", *arguments],
            cwd=cwd,
            stdin=feed,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the terminal's Ctrl-C is ours to handle
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
        last = (stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
        raise RuntimeError(
            f"ffmpeg failed on {arguments[-1]} of {cwd.name} (exit {process.returncode}): {last}"
        )


def find_ffmpeg() -> str:
    """imageio-ffmpeg's ffmpeg, once it is known to have what the demo uses."""
    try:
        importlib.import_module("PIL")
        ffmpeg = str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except ImportError as error:
        raise UsageError(
            f"the demo dataset needs {error.name}, which is not installed: {INSTALL}"
        ) from None
    except RuntimeError as error:  # a wheel for a machine that imageio-ffmpeg has no ffmpeg for
        raise UsageError(f"the demo dataset needs an ffmpeg with libvmaf: {error}") from None
    for question, names in NEEDED.items():
        answer = subprocess.run(
            [ffmpeg, "-hide_banner", question], capture_output=True, text=True
        ).stdout
        if missing := [name for name in names if name not in answer]:
            raise UsageError(
                f"{ffmpeg} has no {', '.join(missing)}, which the demo dataset needs. The ffmpeg "
                "of imageio-ffmpeg's "
                f"wheel has it: {INSTALL}, and leave IMAGEIO_FFMPEG_EXE unset"
            )
    return ffmpeg


def recipe(ffmpeg: str) -> dict[str, Any]:
    """Everything that decides what the files are, and its digest."""
    import PIL

    version = subprocess.run([ffmpeg, "-version"], capture_output=True, text=True).stdout.split(
        "\n"
    )[0]
    made = {
        "recipe": RECIPE,
        "label": LABEL,
        "ffmpeg": version,
        "pillow": PIL.__version__,
        "contents": [{"kind": type(c).__name__, **dataclasses.asdict(c)} for c in CONTENTS],
        "versions": [dataclasses.asdict(v) for v in LADDER],
    }
    digest = hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
    return {"digest": digest, **made}


def prepare(root: Path, made: dict[str, Any]) -> None:
    """Leave under `root` only what this recipe made."""
    path = root / "recipe.json"
    if path.is_file():
        try:
            same = json.loads(path.read_text()).get("digest") == made["digest"]
        except ValueError:
            same = False
        if not same:
            (root / "labels.csv").unlink(missing_ok=True)
            shutil.rmtree(root / "parts", ignore_errors=True)
            shutil.rmtree(root / "videos", ignore_errors=True)
    elif root.exists() and not (
        root.is_dir() and all(file.name == "recipe.json.part" for file in root.iterdir())
    ):
        raise UsageError(
            f"{root} holds something else than a demo dataset: name an empty or a new folder"
        )
    shutil.rmtree(root / "work", ignore_errors=True)
    root.mkdir(parents=True, exist_ok=True)
    publish(path, json.dumps(made, indent=1, ensure_ascii=False))
    (root / "parts").mkdir(exist_ok=True)


def read_part(root: Path, content: Content) -> list[Row] | None:
    """A finished content's rows; None where it is not finished or one of its videos is gone."""
    try:
        rows: list[Row] = json.loads((root / "parts" / f"{content.name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    whole = len(rows) == len(LADDER) and all((root / row["path"]).is_file() for row in rows)
    return rows if whole else None


def reference_width(y4m: Path) -> int:
    """The width out of a y4m file's first line, for example ``YUV4MPEG2 W426 H240 F25:1``."""
    with y4m.open("rb") as file:
        return int(next(word[1:] for word in file.readline().split() if word.startswith(b"W")))


def publish(path: Path, text: str) -> Path:
    """Write a text file in one step: it is there whole, or not at all."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path
