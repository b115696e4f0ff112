"""`features`: what a cache holds of a dataset, for NumPy, pandas, scikit-learn and torch.

Training reads the same tracks by `fuse/data.py`. No torch here until `torch_dataset` is called.

Dimensions: N videos, T frames of a video, D columns of all arrays side by side.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args, overload

import numpy as np
import pandas as pd
from jaxtyping import Float32, Float64, Int64

from vqa_twostage.fuse import opinions
from vqa_twostage.pipeline.cache.choosing import as_names, choose_dataset, choose_tracks
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest
from vqa_twostage.pipeline.cache.track import Track, open_track
from vqa_twostage.pipeline.cache.track_index import FEATURES, FRAME_INDEX, TIMESTAMP
from vqa_twostage.pipeline.cache.video_rows import VideoRows, ids_with_rows
from vqa_twostage.pipeline.datasets.axes import axis_in
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import AVERAGES, STATISTICS, ArrayName
from vqa_twostage.pipeline.identity import Kind

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from vqa_twostage.fuse.video_dataset import VideoDataset


@dataclass(frozen=True)
class StoredArray:
    """An array of a track: ``columns`` is how many numbers a row has, of maps all of them."""

    kind: Kind
    track: TrackPath
    name: ArrayName
    columns: int


@dataclass(frozen=True, repr=False, eq=False)
class DatasetFeatures:
    """Features and labels of the N videos of a dataset that have both, in the order of the labels.

    ``labels`` has a row for each video: ``id``, ``path``, ``mos``, ``mos_std``, ``group`` (videos
    of one content, which belong on one side of a split) and ``split``; of each further label of the
    dataset ``mos_<axis>``, NaN where a video has none. ``missing`` are the ids that
    have no features. ``arrays`` stand side by side, in this order, as D columns. ``opinions`` are
    the datasets from whose opinions the features learnt.

    Arrays are read from the cache when a method is called, and nothing is kept.
    """

    dataset: str
    labels: pd.DataFrame
    missing: list[str]
    arrays: tuple[StoredArray, ...]
    opinions: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        count = len(self) + len(self.missing)
        tracks = ", ".join(dict.fromkeys(array.track.stem for array in self.arrays))
        return (
            f"<{self.dataset}: features of {len(self)} of {count} videos, "
            f"{len(self.columns)} columns of {tracks}>"
        )

    @property
    def ids(self) -> list[str]:
        """The N ids."""
        return self.labels["id"].tolist()

    @property
    def mos(self) -> Float64[np.ndarray, " N"]:
        """The N labels, on the scale of the dataset."""
        return self.labels["mos"].to_numpy(np.float64)

    @property
    def groups(self) -> list[str]:
        """What each of the N videos shows: the ``groups`` of scikit-learn's ``GroupKFold``."""
        return self.labels["group"].tolist()

    @property
    def columns(self) -> list[str]:
        """The names of the D columns: ``spatial/last/mean[0]``, and
        ``spatial/vit/last/mean[0]`` where there are several tracks of the kind, with the digest of
        the file (``vit-0123456789``) where two have one name.
        """
        tracks = {(array.kind, array.track) for array in self.arrays}
        of_kind = Counter(kind for kind, _ in tracks)
        called = Counter((kind, track.name) for kind, track in tracks)
        names = []
        for array in self.arrays:
            track, kind = array.track, array.kind
            told_apart = track.name if called[kind, track.name] == 1 else track.stem
            parts = [kind, told_apart, array.name] if of_kind[kind] > 1 else [kind, array.name]
            names.append("/".join(parts))
        return [
            f"{name}[{column}]"
            for name, array in zip(names, self.arrays, strict=True)
            for column in range(array.columns)
        ]

    @overload
    def numpy(self, per_frame: Literal[False] = False) -> Float32[np.ndarray, "N D"]: ...
    @overload
    def numpy(self, per_frame: Literal[True]) -> list[Float32[np.ndarray, "_ D"]]: ...
    def numpy(
        self, per_frame: bool = False
    ) -> Float32[np.ndarray, "N D"] | list[Float32[np.ndarray, "_ D"]]:
        """The features in float32.

        Imported features may hold NaN and infinite values.

        Args:
            per_frame: Give the features of each sampled frame instead of their means.

        Returns:
            The means over the frames of each video, ``[N, D]``; with ``per_frame`` a list of N
            arrays ``[T, D]``, where each video may have another T.

        Raises:
            UsageError: A track is damaged, or, with ``per_frame``, the spatial and the temporal
                track are of different frames.
        """
        if not per_frame:
            matrix = np.empty((len(self), len(self.columns)), np.float32)
            self._fill(matrix, pooled=True)
            return matrix
        edges = self._edges()
        matrix = np.empty((edges[-1], len(self.columns)), np.float32)
        self._fill(matrix, pooled=False)
        return [matrix[first:last] for first, last in pairwise(edges)]

    def to_dataframe(self, per_frame: bool = False) -> pd.DataFrame:
        """A table with the columns ``mos``, those of further labels (``mos_<axis>``), ``group``
        and the D features, in float32.

        Args:
            per_frame: A row for each sampled frame, with ``frame_index`` and ``timestamp`` (in
                seconds) before the features, instead of one for each video.

        Returns:
            N rows, or those of all frames; the index is ``id``.

        Raises:
            UsageError: As of `numpy`.
        """
        axes = [name for name in map(str, self.labels) if axis_in(name) is not None]
        labels = self.labels.set_index("id")[["mos", *axes, "group"]]
        if not per_frame:
            table = pd.DataFrame(self.numpy(), labels.index, self.columns)
            return pd.concat([labels, table], axis=1)
        rows = self.numpy(per_frame=True)
        repeated = labels.loc[np.repeat(self.ids, [len(each) for each in rows])]
        with open_track(self.arrays[0].track) as track:
            frames = self._frames(track)
        table = pd.DataFrame(np.concatenate(rows), repeated.index, self.columns)
        return pd.concat([repeated.assign(**frames), table], axis=1)

    def torch_dataset(self, per_frame: bool = False) -> VideoDataset:
        """A `torch.utils.data.Dataset` of N items ``(features, mos)``, in memory, in float32.

        Args:
            per_frame: Features of each sampled frame, ``[T, D]``, instead of their means, ``[D]``.
                Videos of different T are put into one batch with
                ``DataLoader(dataset, collate_fn=dataset.padded)``.

        Raises:
            UsageError: As of `numpy`.
        """
        from vqa_twostage.fuse.video_dataset import VideoDataset

        return VideoDataset(
            list(self.numpy(per_frame=True) if per_frame else self.numpy()), self.mos
        )

    def _fill(self, matrix: Float32[np.ndarray, "rows D"], pooled: bool) -> None:
        at = 0
        for array, rows in self._stored():
            part = matrix[:, at : at + array.columns]
            at += array.columns
            done = 0
            for first, last in rows.blocks():
                block = (rows.means if pooled else rows.read)(
                    f"{FEATURES}{array.name}", first, last
                )
                part[done : done + len(block)] = block.reshape(len(block), -1)
                done += len(block)

    def _stored(self) -> Iterator[tuple[StoredArray, VideoRows]]:
        """Every array with the rows of its track; a track is opened once."""
        with ExitStack() as stack:
            opened: dict[TrackPath, VideoRows] = {}
            for array in self.arrays:
                if array.track not in opened:
                    track = stack.enter_context(open_track(array.track))
                    opened[array.track] = self._rows_of(track)
                yield array, opened[array.track]

    def _rows_of(self, track: Track) -> VideoRows:
        try:
            return VideoRows.of(track, self.ids)
        except KeyError as error:
            raise UsageError(
                f"{error.args[0]} any more; ask for the features of {self.dataset} again"
            ) from None

    def _frames(self, track: Track) -> dict[str, np.ndarray]:
        rows = self._rows_of(track)
        return {
            name: np.concatenate([rows.read(name, *block) for block in rows.blocks()])
            for name in (FRAME_INDEX, TIMESTAMP)
        }

    def _edges(self) -> list[int]:
        """The first row of each video, and the number of rows; UsageError unless all tracks have
        rows of the same times.
        """
        tracks = list(dict.fromkeys(array.track for array in self.arrays))
        times: list[np.ndarray] = []
        lengths: list[Int64[np.ndarray, " N"]] = []
        for path in tracks:
            with open_track(path) as track:
                lengths.append(self._rows_of(track).lengths)
                times.append(self._frames(track)[TIMESTAMP])
        for path, other, time in zip(tracks, lengths, times, strict=True):
            if not (np.array_equal(lengths[0], other) and np.array_equal(times[0], time)):
                raise UsageError(
                    f"the frames of {tracks[0]} and of {path} are not the same, so they make no "
                    'rows together; choose one track with only="spatial" or only="temporal", or '
                    "tracks of one sampler"
                )
        return [0, *np.cumsum(lengths[0]).tolist()]


def features(
    cache: str | Path,
    dataset: str | None = None,
    *,
    spatial: str | Sequence[str] | None = None,
    temporal: str | Sequence[str] | None = None,
    only: str | None = None,
    arrays: Collection[str] | None = None,
) -> DatasetFeatures:
    """What ``cache`` holds of a dataset: ids, labels and features, as a table or a torch dataset.

    Args:
        cache: The folder that ``vqa-extract`` or ``vqa-cache import`` wrote.
        dataset: Its name; None is the only one in the cache.
        spatial: Which spatial track or tracks, as ``vqa-fuse train --spatial`` takes them, ``all``
            for every one; None is the only one.
        temporal: Which temporal tracks; None is the only one, or none where there is none.
        only: ``spatial`` or ``temporal``: take tracks of this kind alone.
        arrays: Names of arrays, such as ``last/mean``; None are those that training reads by
            default: the averages (``mean``, ``std``, ``cls``) of every level.

    Returns:
        The videos that have labels, and features in every track. Where these learnt from opinions
        a warning is logged that says whose.

    Raises:
        UsageError: There is no such dataset, track or array, or it is not clear which is meant; the
            message lists the choices.
    """
    cache = Path(cache)
    kinds: list[Kind] | None = None
    if only is not None:
        kinds = [kind for kind in get_args(Kind) if kind == only != "score"]
        if not kinds:
            raise UsageError(f'only must be "spatial", "temporal" or None, not {only!r}')
    name = choose_dataset(cache, dataset)
    manifest = load_cached_manifest(cache, name)
    wanted: dict[Kind, tuple[str, ...] | None] = {
        "spatial": as_names(spatial),
        "temporal": as_names(temporal),
    }
    chosen = choose_tracks(cache, name, wanted, kinds)
    paths = [(kind, path) for kind, of_kind in chosen.items() for path in of_kind]
    ids = manifest.rows["id"].tolist()
    found: list[StoredArray] = []
    identities = []
    for kind, path in paths:
        with open_track(path) as track:
            identities.append(track.identity)
            ids = ids_with_rows(track, ids)
            found += _arrays_of(kind, path, track)
    if not ids:
        listed = " and ".join(str(path) for _, path in paths)
        raise UsageError(f"no video of {name} that has a label is in {listed}")
    learnt = opinions.names_in(identities)
    for sentence in opinions.sentences(learnt, name):
        log.warning("%s: %s", name, sentence)
    present = manifest.rows["id"].isin(ids)
    return DatasetFeatures(
        dataset=name,
        labels=manifest.rows[present].reset_index(drop=True),
        missing=manifest.rows["id"][~present].tolist(),
        arrays=tuple(_wanted(found, arrays)),
        opinions=tuple(learnt),
    )


def _arrays_of(kind: Kind, path: TrackPath, track: Track) -> Iterator[StoredArray]:
    shapes = {column.name: column.shape for column in track.index.columns}
    for name in track.array_names:
        columns = int(np.prod(shapes[f"{FEATURES}{name}"], dtype=np.int64))
        yield StoredArray(kind, path, name, columns)


def _wanted(found: Sequence[StoredArray], names: Collection[str] | None) -> list[StoredArray]:
    """The arrays that were asked for; by default those that training reads."""
    known = ", ".join(dict.fromkeys(array.name for array in found))
    if names is None:
        chosen = [
            array
            for array in found
            if array.name.statistic in AVERAGES or array.name.statistic not in STATISTICS
        ]
    else:
        wanted = {names} if isinstance(names, str) else set(names)
        if unknown := sorted(wanted - {array.name for array in found}):
            raise UsageError(f"there is no array {', '.join(unknown)}; choose from {known}")
        chosen = [array for array in found if array.name in wanted]
    if not chosen:
        raise UsageError(f"no array is chosen; choose with arrays= from {known}")
    return chosen
