"""Which dataset and which tracks of a cache are meant, where there are several."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.cache.layout import TrackPath, datasets, load_cached_manifest, tracks
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.datasets.label_files import READERS as TABLES
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.identity import Kind

ALL = "all"  # in the place of a track's name


def as_names(wanted: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """Names of tracks as people give them: one, several, or None for the only one there is."""
    return (wanted,) if isinstance(wanted, str) else None if wanted is None else tuple(wanted)


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
    name = wanted
    if wanted not in names and wanted != name_of(wanted):
        name = _dataset_of_file(cache, names, wanted)
    if name not in names:
        raise UsageError(
            f"{cache} holds no dataset {name!r}; it holds {', '.join(names)}{close_to(name, names)}"
        )
    return name


def _dataset_of_file(cache: Path, names: Collection[str], file: str) -> str:
    """The dataset that was read from ``file``, by whatever name; else the one that has its name.

    UsageError where the one of its name is of another file, as ``labels.csv`` of another folder.
    """
    stem, origin = name_of(file), str(Path(file).resolve())
    named = load_cached_manifest(cache, stem).origin if stem in names else ""
    if named == origin:
        return stem
    others = []
    for name in names:
        with suppress(UsageError):  # damaged, and perhaps not meant
            if name != stem and load_cached_manifest(cache, name).origin == origin:
                others.append(name)
    if len(others) > 1:
        raise UsageError(
            f"{cache} holds several datasets of {file}; choose one with --dataset: "
            f"{', '.join(others)}"
        )
    if not others and named and Path(named).exists() and Path(file).exists():
        raise UsageError(
            f"{cache} holds {stem} of {named}, not of {file}: give --dataset {stem} if that is "
            f"meant, or extract {file} with --name NAME first"
        )
    return others[0] if others else stem


def name_of(dataset: str) -> str:
    """The name of a dataset, which may also be given as the file that describes it."""
    path = Path(dataset)
    return path.stem if path.suffix.lower() in (*TABLES, ".toml") else dataset


def choose_tracks(
    cache: Path,
    dataset: str,
    wanted: Mapping[Kind, Collection[str] | None],
    kinds: Collection[Kind] | None = None,
) -> dict[Kind, list[TrackPath]]:
    """The tracks of each of ``kinds``, which by default are those that a head reads: spatial ones,
    and temporal ones where the dataset has some or some were asked for.

    ``wanted``: names of each kind, among them ``all`` for every track of it; None is the only one
    there is, and no name of a temporal track is none. Tracks come in the order of their names,
    whatever the order in which they were asked for. UsageError lists the tracks where it is not
    clear which is meant.
    """
    paths: dict[Kind, list[TrackPath]] = {"spatial": [], "temporal": [], "score": []}
    for path in tracks(cache, dataset):
        with open_track(path) as track:
            if len(track):
                paths[track.identity.kind].append(path)
    read: set[Kind] = {"spatial"} if kinds is None else set(kinds)
    temporal = wanted.get("temporal")
    if kinds is None and (paths["temporal"] if temporal is None else temporal):
        read.add("temporal")
    for kind, names in wanted.items():
        if names and kind not in read:
            raise UsageError(
                f"--{kind} {' '.join(names)} names a track of a stream that was left out; "
                f"leave out --{kind}, or add {kind} to --streams"
            )
    return {
        kind: _choose_of_kind(cache, dataset, kind, wanted.get(kind), paths[kind])
        for kind in paths
        if kind in read
    }


def _choose_of_kind(
    cache: Path,
    dataset: str,
    kind: Kind,
    wanted: Collection[str] | None,
    tracks: list[TrackPath],
) -> list[TrackPath]:
    """Of ``tracks`` those that are ``wanted``, each once."""
    names: list[str | None] = [*wanted] if wanted else [None]
    chosen = set(tracks if ALL in names else ())
    # also beside `all`: a name that is wrong is told
    chosen |= {
        _choose_track(cache, dataset, kind, name, tracks)
        for name in names
        if name != ALL or not tracks
    }
    return sorted(chosen, key=lambda path: path.stem)


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
        how = f"run vqa-extract with --{kind}, or vqa-cache import"
        if kind == "score":
            how = "run vqa-fuse import-scores"
        raise UsageError(f"{cache / dataset} holds no {kind} track; {how}")
    if not choices:
        raise UsageError(
            f"no {kind} track of {dataset} is called {wanted!r}; choose from\n{listed}"
            f"{close_to(wanted, (path.stem for path in tracks))}"
        )
    raise UsageError(
        f"several {kind} tracks of {dataset}; choose one, several (--{kind} A --{kind} B), or all "
        f"(--{kind} {ALL}):\n{listed}"
    )


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
