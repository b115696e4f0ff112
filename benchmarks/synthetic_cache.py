"""A cache of any size with features as the presets store them, whose labels can be learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.identity import Kind, TrackIdentity

FRAMES = 8
# what is stored of each frame: level -> channels, of which mean and deviation, and the maximum of
# the last
EFFICIENTNET_B4 = {"c2": 32, "c3": 56, "c4": 160, "c5": 448, "last": 1792}
RES2NET_50 = {"c2": 256, "c3": 512, "c4": 1024, "c5": 2048, "last": 2048}
# independent properties of a video that its features show; quality is one of them
PROPERTIES = 24
# of the columns, how much is noise of the video, and how much of the frame
NOISE = 1.0, 0.5
# parts of LSVQ: its release counts 28056 + 7182 + 3573 videos
OFFICIAL_PARTS = {"train": 28056, "test": 7182, "test_1080p": 3573}


def make_cache(cache: Path, name: str, videos: int, official: bool = False) -> None:
    """``official``: with the parts of LSVQ, in its proportions."""
    generator = np.random.default_rng(0)
    properties = generator.standard_normal((videos, PROPERTIES), np.float32)
    manifest = _manifest(cache, name, properties, generator, official)
    for kind, extractor, channels in (
        ("spatial", "efficientnet:model=b4", EFFICIENTNET_B4),
        ("temporal", "tea", RES2NET_50),
    ):
        _write_track(cache, manifest, _identity(kind, extractor, FRAMES), channels, properties)


def make_part(cache: Path, name: str, videos: int, rows: slice) -> None:
    """What a machine of several leaves, that extracted the videos ``rows`` of so many: a spatial
    track.
    """
    generator = np.random.default_rng(0)
    properties = generator.standard_normal((videos, PROPERTIES), np.float32)
    manifest = _manifest(cache, name, properties, generator, official=False)
    identity = _identity("spatial", "efficientnet:model=b4", FRAMES)
    _write_track(cache, manifest, identity, EFFICIENTNET_B4, properties, rows)


def make_columns(cache: Path, name: str, videos: int) -> None:
    """One row of numbers for each video, as hand-made features are: VIDEVAL's 60, of which 8 are
    temporal.
    """
    generator = np.random.default_rng(0)
    properties = generator.standard_normal((videos, PROPERTIES), np.float32)
    manifest = _manifest(cache, name, properties, generator, official=False)
    for kind, extractor, columns in (("spatial", "videval", 52), ("temporal", "tlvqm", 8)):
        identity = _identity(kind, extractor, 1)
        _write_track(cache, manifest, identity, {extractor: columns}, properties)


def _manifest(
    cache: Path,
    name: str,
    properties: np.ndarray,
    generator: np.random.Generator,
    official: bool,
) -> Manifest:
    """Saved in the cache, with labels that the properties decide."""
    videos = len(properties)
    quality = properties[:, 0] + 0.5 * np.tanh(properties[:, 1]) * properties[:, 2]
    mos = np.clip(3 + 0.6 * quality + 0.3 * generator.standard_normal(videos), 1, 5)
    ids = [f"{number:06d}" for number in range(videos)]
    parts = np.array(list(OFFICIAL_PARTS))
    share = np.cumsum(list(OFFICIAL_PARTS.values())) / sum(OFFICIAL_PARTS.values())
    part = parts[np.searchsorted(share, np.arange(videos) / videos, side="right")]
    rows = pd.DataFrame(
        {
            "id": ids,
            "path": [f"{video_id}.mp4" for video_id in ids],
            "mos": mos,
            "mos_std": np.nan,
            "group": ids,
            "split": part if official else "",
        }
    )
    manifest = Manifest(name, name, "MOS", (1.0, 5.0), rows)
    save_manifest(cache, manifest)
    return manifest


def _identity(kind: Kind, extractor: str, frames: int) -> TrackIdentity:
    return TrackIdentity(kind, spec.parse(extractor), spec.parse(f"uniform:frames={frames}"))


def _write_track(
    cache: Path,
    manifest: Manifest,
    identity: TrackIdentity,
    channels: Mapping[str, int],
    properties: np.ndarray,
    rows: slice = slice(None),
) -> None:
    generator = np.random.default_rng(1)
    frames = int(identity.sampler.options["frames"])
    names = [ArrayName.of(level, name) for level in channels for name in ("mean", "std")]
    names += [ArrayName("last/max")] if "last" in channels else []
    columns = sum(channels[name.level] for name in names)
    shown = generator.standard_normal((PROPERTIES, columns), np.float32) / PROPERTIES**0.5
    edges = np.cumsum([channels[name.level] for name in names])[:-1]
    # drawn once and shifted: noise of its own for each video would take minutes to draw
    noise = generator.standard_normal(frames * columns + 1_000_003, np.float32)
    index = np.arange(frames)
    path = TrackPath.of(cache, manifest.name, identity.extractor.filename, identity)
    with write_track(path, identity, {}, videos=len(manifest)) as track:
        for number, video_id in list(enumerate(manifest.rows["id"]))[rows]:
            shift = number * 7919 % 1_000_003
            of_frames = noise[shift : shift + frames * columns].reshape(frames, columns)
            of_video = properties[number] @ shown + NOISE[0] * of_frames[0]
            values = np.exp(0.3 * (of_video + NOISE[1] * of_frames))
            arrays = dict(zip(names, np.split(values, edges, axis=1), strict=True))
            attributes = VideoAttributes(f"{number:064x}")
            track.write(video_id, VideoFeatures(arrays, index, index / 2, attributes))
