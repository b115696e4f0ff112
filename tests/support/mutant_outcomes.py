"""What becomes of changed videos: here, watched from outside, and in the ffmpeg program."""

from __future__ import annotations

import functools
import hashlib
import json
import operator
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from places import REPOSITORY

from vqa_twostage.extract.decoding.containers import container_kind, decoded, open_container
from vqa_twostage.extract.decoding.pixels import RGB, display_matrix, upright_size

PROGRAM = Path(__file__).parent / "decode_files.py"
CALLS = "open,openat,openat2,creat,rename,unlink,mkdir,socket,connect,sendto,sendmsg,execve"
# how strace writes a call that another process interrupts, and where it goes on
UNFINISHED, RESUMED = " <unfinished ...>", re.compile(r"\d+ +<\.\.\. \w+ resumed>(.*)")
CALL = re.compile(r'^(\d+) +(\w+)\((?:[^"]*"([^"]*)")?(.*)')
# where libraries and modules lie; of processes, what they ask of themselves
LIBRARIES = ("/lib", "/usr/lib", "/etc/ld.so", "/etc/localtime", "/proc/", "/sys/", "/dev/")
SECONDS = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a file: ``reason``, or its frames as MD5 digests of RGB, their size in pixels
    (width, height), and what is wrong with the file. ``scanned``: why a sampler that looks at every
    frame could not use it, or "". ``seconds``: the longer of both times that it took.
    """

    reason: str = ""
    frames: tuple[str, ...] = ()
    length: int = 0
    size: tuple[int, int] = (0, 0)
    damage: str = ""
    scanned: str = ""
    seconds: float = 0.0


def decode_watched(
    folder: Path, names: Sequence[str], scratch: Path
) -> tuple[dict[str, Outcome], list[str]]:
    """What an extraction makes of files of ``folder``, by name; and each call of the system by
    which it opened a file or asked for an address, where strace is installed.
    """
    empty, result, log = scratch / "empty", scratch / "result.json", scratch / "calls.txt"
    empty.mkdir()
    (scratch / "names.json").write_text(json.dumps([str(folder / name) for name in names]))
    command: list[str | Path] = [sys.executable, "-B", PROGRAM, scratch / "names.json", result]
    if strace := shutil.which("strace"):
        command = [strace, "-f", "-qq", "-e", f"trace={CALLS}", "-o", log, *command]
    places = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command,
        cwd=empty,
        env=os.environ | {"PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=SECONDS + 10 * len(names),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # what Python says of a process that is ended while it ends by itself, as pools do
    said = "" if "ignored due to race condition" in done.stderr else done.stderr.strip()
    assert not said, said[-3000:]
    outcomes = {
        name: Outcome(**(found | {"frames": tuple(found["frames"]), "size": tuple(found["size"])}))
        for name, found in json.loads(result.read_text()).items()
    }
    return outcomes, log.read_text(errors="replace").splitlines() if strace else []


def reached_elsewhere(calls: Sequence[str], folder: Path, names: set[str]) -> Iterator[str]:
    """The calls that opened anything but these files of ``folder``, modules and libraries, or asked
    for an address, from the moment on at which the first of the files was opened.
    """
    libraries = (*LIBRARIES, sys.prefix, sys.base_prefix, *filter(None, sys.path))
    matches = [match for line in whole_calls(calls) if (match := CALL.match(line))]
    first: dict[str, int] = {}  # of a process, its first call that opens one of the files
    for place, match in enumerate(matches):
        if match[3] and str(Path(match[3]).parent) == str(folder):
            first.setdefault(match[1], place)
    begin = min(first.values(), default=len(matches))
    for place, match in enumerate(matches):
        process, call, path, rest = match.groups()
        # a process that took another's place may read what it needs before its first file
        if place < first.get(process, begin):
            continue
        if not _is_expected(call, path or "", rest, folder, names, libraries):
            yield f"not expected: {match[0][:300]}"


def whole_calls(calls: Sequence[str]) -> list[str]:
    """The lines of a log, a call that another process interrupted on one line with its result."""
    lines: list[str] = []
    interrupted: dict[str, int] = {}  # of a process, the line of its unfinished call
    for line in calls:
        process = line.partition(" ")[0]
        if resumed := RESUMED.match(line):
            if process in interrupted:
                lines[interrupted.pop(process)] += resumed[1]
            continue
        if line.endswith(UNFINISHED):
            interrupted[process] = len(lines)
        lines.append(line.removesuffix(UNFINISHED))
    return lines


def _is_expected(
    call: str, path: str, rest: str, folder: Path, names: set[str], libraries: tuple[str, ...]
) -> bool:
    if call == "execve":  # of a process that takes the place of another
        return path.startswith((sys.prefix, sys.base_prefix)) or Path(path).name == "ldconfig"
    if path.startswith("/dev/shm/sem."):  # locks of the program that started the processes
        return True
    if call not in ("open", "openat", "openat2"):
        return False
    writes = "O_WRONLY" in rest or "O_RDWR" in rest or "O_CREAT" in rest
    if Path(path).parent == folder:
        return Path(path).name in names and not writes
    if path == str(folder):  # what is a link is looked up, before any file is opened
        return "O_DIRECTORY" in rest
    if writes:  # frames on their way, and at the end the result
        return path.startswith(("/proc/", "/dev/null")) or path == str(
            folder.parent / "result.json"
        )
    # the loader of shared libraries also looks below the current folder, which is empty, where a
    # search path of the system ends with a colon
    if not path.startswith("/") and re.search(r"\.so(\.|$)", path) and "ENOENT" in rest:
        return True
    # of errors Python looks for the source
    return path.startswith(libraries) or path == "<unknown>" or path.endswith((".py", ".pyx"))


def unexplained_frames(path: Path, ours: Sequence[str]) -> str:
    """Which of ``ours``, the digests of a damaged file's frames, neither the ffmpeg program gives
    nor a plain loop over FFmpeg's library, in words; "" where there are none.

    Their order is not compared. What a decoder cannot read has no right value: where it writes
    nothing, a frame holds what was in its buffer before. As many frames may be others as are of
    packets that it cannot read, or depend on one, or differ in the program from run to run.
    """
    kind = str(container_kind(path))
    theirs = ffmpeg_decodes(path, kind)
    if not theirs or Counter(theirs) == Counter(ours):
        return ""
    again = [ffmpeg_decodes(path, kind) or () for _ in range(3)]
    loop = library_decodes(path, kind)
    known = functools.reduce(operator.or_, map(Counter, (theirs, *again, loop)))
    unlike = sum(len(set(digests)) > 1 for digests in zip_longest(theirs, *again))
    undefined = max(unlike, undefined_frames(path, kind))
    strange = sum((Counter(ours) - known).values())
    if strange <= undefined and len(ours) in (len(theirs), len(loop)):
        return ""
    return (
        f"{len(ours)} frames, {len(theirs)} in the program and {len(loop)} in the library; "
        f"{strange} are in neither, {undefined} are undefined"
    )


def digest(image: UInt8[np.ndarray, "height width 3"]) -> str:
    return hashlib.md5(image.tobytes()).hexdigest()


def library_decodes(path: Path, kind: str) -> tuple[str, ...]:
    """The same of a loop over all packets."""
    digests: list[str] = []
    with open_container(path, kind) as (container, stream):
        for frame in decoded(container, stream):
            if not digests:
                height, width = upright_size(frame.height, frame.width, display_matrix(frame))
                rgb = RGB(height, width, display_matrix(frame))
            digests.append(digest(rgb(frame)))
    return tuple(digests)


def undefined_frames(path: Path, kind: str) -> int:
    """How many frames are of packets that the decoder cannot read as a whole, or depend on one:
    those from there to the next keyframe.
    """
    faults: list[int] = []
    keys: list[int] = []
    with open_container(path, kind) as (container, stream):
        stream.codec_context.options = {"err_detect": "explode"}
        packets_and_frames = decoded(container, stream, numbered=True, on_fault=faults.append)
        for frame in packets_and_frames:
            if frame.is_corrupt and frame.pts is not None:
                faults.append(frame.pts)
            keys += [frame.pts] if frame.key_frame and frame.pts is not None else []
    with open_container(path, kind) as (container, stream):
        shown = [frame.pts for frame in decoded(container, stream, numbered=True)]
    return sum(number is None or _after_fault(number, faults, keys) for number in shown)


def _after_fault(number: int, faults: Sequence[int], keys: Sequence[int]) -> bool:
    start = max((key for key in keys if key <= number), default=0)
    return any(start <= fault <= number for fault in faults)


def ffmpeg_decodes(path: Path, kind: str) -> tuple[str, ...] | None:
    """The MD5 digests of all frames as the ffmpeg program gives them, in RGB, of a file that it
    reads as that ``kind`` (its name of a demuxer); None where it does not end in time.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    how = "-map 0:v:0 -fps_mode passthrough -pix_fmt rgb24 -f framemd5 -"
    safe = f"-v quiet -nostdin -threads 1 -protocol_whitelist file -f {kind} -i"
    command = [get_ffmpeg_exe(), *safe.split(), str(path), *how.split()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return None
    lines = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    return tuple(line.rpartition(",")[2].strip() for line in lines)
