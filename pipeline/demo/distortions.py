"""The distorted versions of every content: a table, and its translation to ffmpeg's arguments."""

from __future__ import annotations

from dataclasses import dataclass

from vqa_twostage.pipeline.demo.contents import FPS, FRAMES, LINES

NOISE_SEED = 7
# One thread each, because the output of an encoder with several threads can differ from run to
# run. Fast presets, because somebody waits for the demo.
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
    """The distortions of a version, applied in this order: lines, blur, noise, drop, codec."""

    name: str
    lines: int = LINES  # scaled down to this many lines and back
    blur: float = 0  # gaussian, sigma in pixels
    # ffmpeg's strength, at most 100; different in every frame; luma only, because VMAF ignores
    # chroma
    noise: int = 0
    drop: int = 1  # every n-th frame is kept and shown n times, so the number of frames stays
    codec: str = "h264"
    crf: int = 8  # close to lossless, for versions with other distortions
    kbps: int = 0  # bit rate, used instead of crf if not 0


# Chosen by measurement: over all contents the labels are spread about evenly over 10 to 98.
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
    """ffmpeg's filter chain for a reference of this width; ``null`` if only the codec distorts."""
    chain = []
    if version.lines != LINES:
        # scaled up bilinearly, as players do: VMAF sees its softness as people do, and hardly
        # notices bicubic scaling by 3
        chain.append(f"scale=-2:{version.lines}:flags=bicubic,scale={width}:{LINES}:flags=bilinear")
    if version.blur:
        chain.append(f"gblur=sigma={version.blur}")
    if version.noise:
        chain.append(f"noise=c0s={version.noise}:c0f=t:c0_seed={NOISE_SEED}")
    if version.drop > 1:
        # framestep drops frames, fps repeats the others, tpad and trim restore the exact number
        n = version.drop
        chain.append(
            f"framestep={n},fps={FPS},tpad=stop={n}:stop_mode=clone,trim=end_frame={FRAMES}"
        )
    return ",".join(chain) or "null"


def encoding(version: Version) -> list[str]:
    """ffmpeg's arguments for the codec and its container; their output is the same every time."""
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
    # B-frames would blend a repeated frame with its neighbours, and so hide the distortion
    order = ["-bf", "0"] if version.drop > 1 else []
    return [*ENCODERS[version.codec], *quality, *order, *EXACT]
