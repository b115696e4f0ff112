"""Small videos of every kind that people have, made with the ffmpeg program and by hand.

Each is one file of a group; the group says what is particular about it. Where ffmpeg leaves it open
when frames are shown, `Made.seconds` is what is right here (docs/decisions/0003-decoders.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.ffmpeg_program import ffmpeg
from benchmarks.field_pictures import field_stream

Make = Callable[[Path], object]

SIZE = "96x64"
X264 = "-c:v libx264 -preset veryfast -g 8"
X265 = "-c:v libx265 -preset ultrafast -x265-params log-level=error:keyint=8"
VPX = "-deadline realtime -cpu-used 8 -g 8"
FRAMES = 20

# codec -> (how ffmpeg encodes it, the containers that it is tried in)
CODECS: dict[str, tuple[str, str]] = {
    "h264": (f"{X264} -bf 2 -pix_fmt yuv420p", "mp4 mov m4v 3gp mkv ts m2ts flv avi h264"),
    "h264_baseline": (f"{X264} -profile:v baseline -pix_fmt yuv420p", "mp4 mkv mxf"),
    "h264_pyramid": (f"{X264} -bf 5 -x264-params b-pyramid=normal -pix_fmt yuv420p", "mp4 ts"),
    "h264_opengop": (f"{X264} -bf 3 -x264-params open-gop=1 -pix_fmt yuv420p", "mp4 ts"),
    "h264_refresh": (f"{X264} -x264-params intra-refresh=1 -pix_fmt yuv420p", "mp4 mkv"),
    "hevc": (f"{X265} -pix_fmt yuv420p", "mp4 mov mkv ts hevc"),
    "hevc_ten": (f"{X265} -pix_fmt yuv420p10le", "mp4 mkv"),
    "av1": ("-c:v libsvtav1 -preset 12 -pix_fmt yuv420p", "mp4 webm mkv ivf"),
    "vp8": (f"-c:v libvpx {VPX}", "webm mkv ivf"),
    "vp9": (f"-c:v libvpx-vp9 {VPX} -pix_fmt yuv420p", "webm mp4 mkv ivf"),
    "mpeg2": ("-c:v mpeg2video -bf 2 -g 8 -q:v 4", "mpg vob ts m2v mkv mxf"),
    "mpeg1": ("-c:v mpeg1video -bf 2 -g 8 -q:v 4", "mpg m1v"),
    "mpeg4": ("-c:v mpeg4 -bf 2 -g 8 -q:v 4", "mp4 mkv avi ts"),
    "mjpeg": ("-c:v mjpeg -q:v 4 -pix_fmt yuvj420p", "avi mov mkv mjpeg"),
    "prores": ("-c:v prores -pix_fmt yuv422p10le", "mov mkv"),
    "ffv1": ("-c:v ffv1", "mkv avi"),
    "huffyuv": ("-c:v huffyuv -pix_fmt yuv422p", "avi"),
    "png": ("-c:v png", "mov avi"),
    "theora": ("-c:v libtheora -q:v 6", "ogv mkv"),
    "wmv2": ("-c:v wmv2 -q:v 4", "wmv asf"),
    "flv1": ("-c:v flv1 -q:v 4", "flv"),
    "gif": ("-c:v gif", "gif"),
    "raw": ("-c:v rawvideo -pix_fmt yuv420p", "avi y4m"),
}
RATES = ("24000/1001", "12", "30000/1001", "50")
RATED = ("h264.mp4", "h264.ts", "h264.h264", "hevc.mkv", "vp9.webm", "mpeg2.mpg", "mpeg4.avi")
MATRICES = ("bt709", "smpte170m", "bt2020nc")
COLOURED = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuvj420p")


@dataclass(frozen=True)
class Made:
    """A video, made by calling ``make`` with a path whose name is ``name``.

    ``seconds``: when its frames are shown, where ffmpeg's answer is not the right one; "" in
    ``damage`` where nothing is missing, else words that must be told. ``stream``: the right one,
    where ffmpeg takes another.
    """

    group: str
    name: str
    make: Make
    seconds: Sequence[float] | None = None
    damage: str = ""
    stream: int | None = None


def source(size: str = SIZE, rate: str = "25", frames: int = FRAMES) -> str:
    return f"-f lavfi -i testsrc2=s={size}:r={rate} -frames:v {frames}"


def encoded(options: str, size: str = SIZE, rate: str = "25") -> Make:
    return lambda path: ffmpeg(source(size, rate), options, path)


def copied(name: str, options: str, codec: str = "h264_baseline", before: str = "") -> Make:
    """A video of that codec and container, copied with ``options``."""

    def make(path: Path) -> None:
        whole = path.with_name(f"of_{path.stem}_{name}")
        ffmpeg(source(), CODECS[codec][0], whole)
        ffmpeg(before, "-i", whole, "-c copy", options, path)
        whole.unlink()

    return make


def joined(*parts: str) -> Make:
    """The bytes of several videos, one after the other: options of each."""

    def make(path: Path) -> None:
        whole = b""
        for number, options in enumerate(parts):
            part = path.with_name(f"{number}_{path.name}")
            size = options.partition(" ")[0]
            ffmpeg(source(size), options.partition(" ")[2], part)
            whole += part.read_bytes()
            part.unlink()
        path.write_bytes(whole)

    return make


def altered(make: Make, change: Callable[[bytes], bytes]) -> Make:
    def altered_make(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return altered_make


def every_video() -> list[Made]:
    return [*_codecs(), *_rates(), *_fields(), *_packets(), *_clocks(), *_joins(), *_changes(),
            *_streams(), *_colours()]  # fmt: skip


def _codecs() -> Iterator[Made]:
    for codec, (options, containers) in CODECS.items():
        for ending in containers.split():
            yield Made("codec and container", f"{codec}.{ending}", encoded(options))
    dv = "-c:v dvvideo -pix_fmt yuv420p"
    for ending in ("dv", "avi", "mov"):
        yield Made("codec and container", f"dv.{ending}", encoded(dv, "720x576"))


def _rates() -> Iterator[Made]:
    for name in RATED:
        codec, _, ending = name.rpartition(".")
        for rate in RATES:
            if codec == "mpeg2" and rate == "12":
                continue  # no rate of MPEG-2
            label = rate.replace("/", "_")
            yield Made("rate", f"{codec}_{label}.{ending}", encoded(CODECS[codec][0], rate=rate))
    uneven = "testsrc2=s=96x64:r=25:d=0.8,settb=1/1000,setpts=N*N/100/TB"
    options = f"-enc_time_base 1:1000 {X264} -bf 2"
    for ending in ("mp4", "mkv", "flv"):
        yield Made("rate", f"uneven.{ending}", _lavfi(uneven, options))


def _lavfi(graph: str, options: str) -> Make:
    return lambda path: ffmpeg("-f lavfi -i", graph, "-fps_mode passthrough", options, path)


def _fields() -> Iterator[Made]:
    for ending in ("ts", "mp4", "mkv", "m2ts", "h264"):
        for bottom_first in (False, True):
            order = "bottom" if bottom_first else "top"
            yield Made("fields", f"paff_{order}.{ending}", field_coded(bottom_first))
        yield Made("fields", f"paff_mixed.{ending}", field_coded(mixed=True))
    for ending in ("mp4", "ts"):
        yield Made("fields", f"mbaff.{ending}", encoded(f"{X264} -x264-params interlaced=1"))
    for ending in ("mpg", "ts"):
        options = "-c:v mpeg2video -q:v 4 -flags +ilme+ildct"
        yield Made("fields", f"mpeg2_fields.{ending}", encoded(options))
    yield Made("fields", "hevc_fields.mp4", encoded(f"{X265}:field=1 -pix_fmt yuv420p"))


def field_coded(bottom_first: bool = False, mixed: bool = False) -> Make:
    """H.264 with two fields a frame, 12 frames at 25 a second."""

    def make(path: Path) -> None:
        ramp = np.add.outer(np.arange(64), np.arange(64))
        frames = np.stack(
            [(16 + (ramp + 7 * number) % 200).astype(np.uint8) for number in range(12)]
        )
        stream = field_stream(frames, bottom_first, mixed)
        if path.suffix == ".h264":
            path.write_bytes(stream)
        else:
            ffmpeg("-f h264 -framerate 50 -i - -c copy", path, standard_input=stream)

    return make


def _packets() -> Iterator[Made]:
    """Packets that hold several pictures, or none that is shown."""
    for name, encoder in (("vp8_hidden", "libvpx"), ("vp9_hidden", "libvpx-vp9")):
        for ending in ("webm", "mkv", "ivf"):
            yield Made("packets", f"{name}.{ending}", _hidden(encoder))
    yield Made("packets", "av1_split.ivf", _av1_split)
    for ending in ("mp4", "avi"):
        yield Made("packets", f"mpeg4_empty.{ending}", _with_empty_pictures)


def _hidden(encoder: str) -> Make:
    """With reference frames that are never shown: these encoders make them in a second pass."""

    def make(path: Path) -> None:
        log = path.with_name(f"log_{path.name}")
        options = "-auto-alt-ref 1 -lag-in-frames 25 -b:v 200k -g 60 -pix_fmt yuv420p -cpu-used 4"
        for number in (1, 2):
            passed = f"-c:v {encoder} {options} -pass {number} -passlogfile"
            ffmpeg(source(frames=60), passed, log, path)

    return make


def _av1_split(path: Path) -> None:
    """AV1 whose frames that are never shown have packets of their own."""
    whole = path.with_name("whole.mp4")
    ffmpeg(source(frames=60), "-c:v libsvtav1 -preset 10 -pix_fmt yuv420p", whole)
    ffmpeg("-i", whole, "-c copy -bsf:v av1_frame_split", path)
    whole.unlink()


def _with_empty_pictures(path: Path) -> None:
    """MPEG-4 in which every fifth packet says that nothing changed."""
    import av

    whole = path.with_name(f"of_{path.name}")
    ffmpeg(source(), "-c:v mpeg4 -g 100 -q:v 4", whole)
    with av.open(str(whole)) as given, av.open(str(path), "w") as written:
        stream = written.add_stream_from_template(given.streams.video[0])
        for number, packet in enumerate(given.demux(video=0)):
            if packet.dts is None:
                continue
            if number % 5 == 4:
                empty = av.Packet(bytes.fromhex("000001b656d5c2bf")[:7])
                empty.pts, empty.dts, empty.time_base = packet.pts, packet.dts, packet.time_base
                empty.duration = packet.duration
                packet = empty
            packet.stream = stream
            written.mux(packet)
    whole.unlink()


def _clocks() -> Iterator[Made]:
    after = "gt(N\\,9)"
    for ending in ("ts", "mp4", "mkv", "flv"):
        yield Made("clock", f"pause.{ending}",
                   copied("x.mp4", f"-bsf:v setts=ts=TS+if({after}\\,5/TB\\,0)"))  # fmt: skip
    gap = f"-bsf:v setts=ts=TS+if({after}\\,20/TB\\,0)"
    for ending in ("ts", "m2ts"):
        yield Made("clock", f"gap.{ending}", copied("x.mp4", gap))
    yield Made(
        "clock", "hour.mkv", copied("x.mp4", f"-bsf:v setts=ts=TS+if({after}\\,3600/TB\\,0)")
    )
    for ending in ("ts", "mp4", "mkv"):
        yield Made("clock", f"equal.{ending}",
                   copied("x.mp4", "-bsf:v setts=pts=if(eq(N\\,9)\\,PREV_OUTPTS\\,PTS)"),
                   [(8 if number == 9 else number) / 25 for number in range(FRAMES)])  # fmt: skip
        yield Made("clock", f"alone.{ending}",
                   copied("x.mp4", "-bsf:v setts=pts=if(eq(N\\,9)\\,PTS+3/TB\\,PTS)"),
                   [number / 25 for number in range(FRAMES)])  # fmt: skip
    yield Made("clock", "start.ts", copied("x.mp4", "-output_ts_offset 5000"))
    yield Made("clock", "wrap.ts", copied("x.mp4", "-output_ts_offset 95443"))
    yield Made("clock", "wrap.mpg", copied("x.mpg", "-output_ts_offset 95443", codec="mpeg2"))
    late = [number / 25 for number in range(FRAMES)]
    for ending in ("mkv", "flv", "mov"):
        yield Made("clock", f"late.{ending}", copied("x.mp4", "-output_ts_offset 5"), late)
    for ending in ("mp4", "mov", "m4v"):
        yield Made("edits", f"cut.{ending}", copied("x.mp4", "", codec="h264", before="-ss 0.4"))


def _joins() -> Iterator[Made]:
    steady = [number / 25 for number in range(2 * FRAMES)]
    parts = {
        "ts": CODECS["h264"][0], "m2ts": CODECS["h264"][0], "mpg": CODECS["mpeg2"][0],
        "h264": CODECS["h264"][0], "hevc": CODECS["hevc"][0], "mjpeg": CODECS["mjpeg"][0],
        "gif": CODECS["gif"][0], "mkv": CODECS["ffv1"][0], "webm": CODECS["vp8"][0],
    }  # fmt: skip
    for ending, options in parts.items():
        part = f"{SIZE} {options}"
        yield Made("joined", f"joined.{ending}", joined(part, part), steady)
    part = f"{SIZE} {CODECS['mpeg2'][0]}"
    yield Made("joined", "thrice.ts", joined(part, part, part))
    part = f"{SIZE} {CODECS['h264'][0]}"
    for ending in ("ts", "m2ts"):
        later = f"{part} -output_ts_offset 100"
        yield Made("joined", f"back.{ending}", joined(later, part), steady)
        yield Made("joined", f"ahead.{ending}", joined(part, later), steady)
    mpeg2 = f"{SIZE} {CODECS['mpeg2'][0]}"
    yield Made("joined", "back.mpg", joined(f"{mpeg2} -output_ts_offset 100", mpeg2), steady)
    yield Made("joined", "mid.ts", altered(joined(part), lambda data: data[4001:]))
    yield Made("joined", "mid.m2ts", altered(joined(part), lambda data: data[4001:]))


def _changes() -> Iterator[Made]:
    h264, hevc, mpeg2 = CODECS["h264"][0], CODECS["hevc"][0], CODECS["mpeg2"][0]
    yield Made("changes", "size.ts", joined(f"{SIZE} {h264}", f"64x48 {h264}"))
    yield Made("changes", "size.h264", joined(f"{SIZE} {h264}", f"64x48 {h264}"))
    yield Made("changes", "larger.ts", joined(f"64x48 {h264}", f"{SIZE} {h264}"))
    yield Made("changes", "size_hevc.ts", joined(f"{SIZE} {hevc}", f"64x48 {hevc}"))
    yield Made("changes", "size_mpeg2.ts", joined(f"{SIZE} {mpeg2}", f"64x48 {mpeg2}"))
    for codec, ending in (("vp8", "webm"), ("vp9", "webm"), ("vp9", "mp4"), ("vp9", "mkv")):
        yield Made("changes", f"size_{codec}.{ending}", _two_sizes(codec))
    yield Made("changes", "format.ts", joined(f"{SIZE} {h264}", f"{SIZE} {X264} -pix_fmt yuv444p"))
    full = f"{SIZE} {X264} -pix_fmt yuvj420p"
    yield Made("changes", "range.ts", joined(f"{SIZE} {h264}", full))
    yield Made("changes", "range_back.ts", joined(full, f"{SIZE} {h264}"))
    marked = f"{SIZE} {h264} -colorspace bt709 -color_primaries bt709 -color_trc bt709"
    yield Made("changes", "matrix.ts", joined(f"{SIZE} {h264}", marked))


def _two_sizes(codec: str) -> Make:
    """Packets of two encodings of different size, in one stream."""

    def make(path: Path) -> None:
        import av

        halves = []
        for size in (SIZE, "64x48"):
            half = path.with_name(f"{size}_{path.name}")
            ffmpeg(source(size), CODECS[codec][0], half)
            halves.append(half)
        with av.open(str(path), "w") as written:
            stream, offset = None, 0
            for half in halves:
                with av.open(str(half)) as given:
                    stream = stream or written.add_stream_from_template(given.streams.video[0])
                    base = given.streams.video[0].time_base
                    for packet in given.demux(video=0):
                        if packet.dts is None:
                            continue
                        packet.pts += offset
                        packet.dts += offset
                        packet.stream = stream
                        written.mux(packet)
                    offset += round(FRAMES / 25 / base)
                half.unlink()

    return make


def _streams() -> Iterator[Made]:
    for ending in ("mp4", "mkv", "flv"):
        yield Made("streams", f"long_sound.{ending}", _with_sound())
    yield Made("streams", "two.mp4", _two_streams("-disposition:v 0"))
    yield Made("streams", "two.mkv", _two_streams("-disposition:v 0"))
    yield Made(
        "streams", "default.mkv", _two_streams("-disposition:v:0 default -disposition:v:1 0")
    )
    for ending in ("mp4", "mkv"):
        yield Made("streams", f"cover.{ending}", _with_cover, stream=1)
    for ending, codec in (("mp4", "h264"), ("mkv", "ffv1"), ("avi", "mpeg4"), ("ts", "h264")):
        make = encoded(CODECS[codec][0])
        yield Made("streams", f"trailing.{ending}", altered(make, lambda data: data + bytes(5000)))


def _with_sound() -> Make:
    def make(path: Path) -> None:
        inputs = f"-f lavfi -i testsrc2=s={SIZE}:r=25:d=0.8 -f lavfi -i sine=d=4"
        ffmpeg(inputs, f"{X264} -bf 2 -pix_fmt yuv420p -c:a aac", path)

    return make


def _two_streams(options: str) -> Make:
    def make(path: Path) -> None:
        inputs = f"-f lavfi -i testsrc2=s=64x48:r=25 -f lavfi -i testsrc=s={SIZE}:r=25"
        ffmpeg(inputs, f"-map 0 -map 1 -t 0.8 {X264} -pix_fmt yuv420p", options, path)

    return make


def _with_cover(path: Path) -> None:
    """A picture larger than the video, which is not marked as its cover."""
    cover, video = path.with_name(f"{path.name}.png"), path.with_name(f"of_{path.name}")
    ffmpeg("-f lavfi -i testsrc=s=320x240 -frames:v 1", cover)
    ffmpeg(source(), CODECS["h264"][0], video)
    ffmpeg("-i", cover, "-i", video, "-map 0 -map 1 -c copy -disposition:v 0", path)
    cover.unlink()
    video.unlink()


def _colours() -> Iterator[Made]:
    for matrix in MATRICES:
        for pixels in COLOURED:
            for full in (False, True):
                if pixels == "yuvj420p" and not full:
                    continue
                name = f"{matrix}_{pixels}_{'full' if full else 'limited'}.mp4"
                yield Made("colour", name, _coloured(pixels, matrix, full))
    yield Made(
        "colour", "bt709_gbrp.mkv", _lavfi("testsrc2=s=96x64:d=0.4", "-c:v ffv1 -pix_fmt gbrp")
    )


def _coloured(pixels: str, matrix: str, full: bool) -> Make:
    range_ = "pc" if full else "tv"
    scale = matrix.removesuffix("nc")
    graph = (
        f"testsrc2=s={SIZE}:d=0.4,scale=out_color_matrix={scale}:out_range={range_},format={pixels}"
    )
    return _lavfi(graph, f"{X264} -colorspace {matrix} -color_range {range_}")
