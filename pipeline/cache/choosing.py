"""Which dataset and which tracks of a cache are meant, where there are several."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, datasets, tracks
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import Kind


def choose_dataset(cache: Path, wanted: str | None) -> str:
    """``wanted``, which may also be the file that the dataset was extracted from; the only one for
    None.
    """
    names = datasets(cache)
    if not names:
        raise UsageError(f"{cache} holds no dataset; run vqa-extract --cache {cache} first")
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None:
        raise UsageError(
            f"{cache} holds several datasets; choose one with --dataset: {', '.join(names)}"
        )
    name = Path(wanted).stem if wanted.endswith((".csv", ".toml")) else wanted
    if name not in names:
        raise UsageError(f"{cache} holds no dataset {name!r}; it holds {', '.join(names)}")
    return name


def choose_tracks(
    cache: Path,
    dataset: str,
    spatial: str | None,
    temporal: str | None,
    kinds: Collection[Kind] | None = None,
) -> dict[Kind, TrackPath]:
    """A track of each of ``kinds``, which by default are those that a head reads: the spatial one,
    and the temporal one where the dataset has one or one was asked for.

    UsageError lists the tracks where it is not clear which is meant.
    """
    paths: dict[Kind, list[TrackPath]] = {"spatial": [], "temporal": []}
    for path in tracks(cache, dataset):
        with open_track(path) as track:
            if len(track):
                paths[track.identity.kind].append(path)
    wanted: dict[Kind, str | None] = {"spatial": spatial, "temporal": temporal}
    read: set[Kind] = {"spatial"} if kinds is None else set(kinds)
    if kinds is None and (paths["temporal"] or temporal is not None):
        read.add("temporal")
    for kind, name in wanted.items():
        if name is not None and kind not in read:
            raise UsageError(
                f"--{kind} {name} names a track of a stream that was left out; "
                f"leave out --{kind}, or add {kind} to --streams"
            )
    return {
        kind: _choose_track(cache, dataset, kind, wanted[kind], paths[kind])
        for kind in paths
        if kind in read
    }


def _choose_track(
    cache: Path, dataset: str, kind: Kind, wanted: str | None, tracks: list[TrackPath]
) -> TrackPath:
    """Of ``tracks`` the one that ``wanted`` names: by the spec that it was extracted with, or by
    its file's name with or without the digest. None is the only one.
    """
    names = set() if wanted is None else {wanted, _filename(wanted)}
    choices = [path for path in tracks if wanted is None or {path.stem, path.name} & names]
    if len(choices) == 1:
        return choices[0]
    listed = "\n".join(
        f"  --{kind} {path.stem}   (sampler {path.sampler}{_beside(path, choices)})"
        for path in choices or tracks
    )
    if not tracks:
        raise UsageError(
            f"{cache / dataset} holds no {kind} track; run vqa-extract with --{kind}, or vqa-cache "
            "import"
        )
    if not choices:
        raise UsageError(
            f"no {kind} track of {dataset} is called {wanted!r}; choose from\n{listed}"
        )
    raise UsageError(f"several {kind} tracks of {dataset}; choose one:\n{listed}")


def _beside(path: TrackPath, choices: list[TrackPath]) -> str:
    """What tells a track from the first of those choices that have its name."""
    first = next((other for other in choices if other.name == path.name), path)
    if first == path:
        return ""
    with open_track(first) as one, open_track(path) as track:
        return f"; as {first.stem} but for {one.identity.differs_in(track.identity)}"


def _filename(text: str) -> str:
    try:
        return spec.parse(text).filename
    except UsageError:
        return text
