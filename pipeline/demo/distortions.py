"""The ladder of distorted versions that every content is turned into: data, and its words for
ffmpeg.
"""

from __future__ import annotations

from dataclasses import dataclass

from vqa_twostage.pipeline.demo.contents import FPS, FRAMES, LINES

NOISE_SEED = 7
# One thread each: with more, an encoder may decide otherwise from run to run. Fast presets: a demo
# is waited for.
ENCODERS: dict[str, tuple[str, ...]] = {
    "h264": ("-c:v", "libx264", "-preset", "veryfast"),
    "h265": (
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-tag:v",
        "hvc1",
        "-x265-params",
        "pools=none:frame-threads=1:log-level=error",
    ),
    "vp9": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "7", "-row-mt", "0"),
}
EXACT = (
    "-threads",
    "1",
    "-pix_fmt",
    "yuv420p",
    "-fflags",
    "+bitexact",
    "-flags:v",
    "+bitexact",
    "-map_metadata",
    "-1",
)


@dataclass(frozen=True)
class Version:
    """What is done to a content, in this order: lines, blur, noise, drop, codec."""

    name: str
    lines: int = LINES  # scaled down to this many lines and back
    blur: float = 0  # gaussian, sigma in pixels
    # ffmpeg's strength, of 100; new in every frame; luma only, for VMAF would not see it in colour
    noise: int = 0
    drop: int = 1  # only every n-th frame is kept, and shown n times: count and timing stay
    codec: str = "h264"
    crf: int = 8  # close to lossless, for versions that are about something else than the codec
    kbps: int = 0  # a rate instead of crf


# Chosen by measuring: over all contents the labels spread about evenly from 10 to 98.
LADDER: tuple[Version, ...] = (
    Version("h264-crf20", crf=20),
    Version("h264-crf33", crf=33),
    Version("h264-crf39", crf=39),
    Version("h264-crf45", crf=45),
    Version("h265-crf28", codec="h265", crf=28),
    Version("h265-crf37", codec="h265", crf=37),
    Version("h265-crf44", codec="h265", crf=44),
    Version("vp9-crf50", codec="vp9", crf=50),
    Version("vp9-15k", codec="vp9", kbps=15),
    Version("scale-80", lines=80),
    Version("blur-2.2", blur=2.2),
    Version("noise-45", noise=45),
    Version("drop-2", drop=2),
    Version("blur-1.5-h264-crf37", blur=1.5, crf=37),
    Version("noise-20-h265-crf40", noise=20, codec="h265", crf=40),
    Version("scale-80-vp9-crf57", lines=80, codec="vp9", crf=57),
    Version("drop-2-h264-crf38", drop=2, crf=38),
)


def file_name(version: Version) -> str:
    return version.name + (".webm" if version.codec == "vp9" else ".mp4")


def filters(version: Version, width: int) -> str:
    """ffmpeg's filter chain for a reference of this width; `null` where only the codec distorts."""
    chain = []
    if version.lines != LINES:
        # up as players do it: bilinear, whose softness VMAF sees as people do (it forgives a
        # bicubic 3x almost wholly)
        chain.append(f"scale=-2:{version.lines}:flags=bicubic,scale={width}:{LINES}:flags=bilinear")
    if version.blur:
        chain.append(f"gblur=sigma={version.blur}")
    if version.noise:
        chain.append(f"noise=c0s={version.noise}:c0f=t:c0_seed={NOISE_SEED}")
    if version.drop > 1:
        # framestep thins, fps repeats, tpad and trim bring back the exact count
        n = version.drop
        chain.append(
            f"framestep={n},fps={FPS},tpad=stop={n}:stop_mode=clone,trim=end_frame={FRAMES}"
        )
    return ",".join(chain) or "null"


def encoding(version: Version) -> list[str]:
    """ffmpeg's arguments for the codec and its container, the same bytes every time."""
    if version.kbps:
        quality = [
            "-b:v",
            f"{version.kbps}k",
            "-maxrate",
            f"{version.kbps}k",
            "-bufsize",
            f"{version.kbps}k",
        ]
    else:
        quality = ["-crf", str(version.crf), *(["-b:v", "0"] if version.codec == "vp9" else [])]
    # B-frames would blend a repeated frame with its neighbours, and smooth the very fault away
    order = ["-bf", "0"] if version.drop > 1 else []
    return [*ENCODERS[version.codec], *quality, *order, *EXACT]
