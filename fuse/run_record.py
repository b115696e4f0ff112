"""The record of a run, ``run.json``: what was trained, on what, by what, and what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from vqa_twostage.fuse.options import ADDED, TrainOptions
from vqa_twostage.pipeline.cache.layout import SUFFIX, TrackPath
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import is_text
from vqa_twostage.pipeline.identity import TrackIdentity

KINDS = ("spatial", "temporal")

T = TypeVar("T")


@dataclass(frozen=True)
class RunSpecs:
    """Short specs of what was trained; all but ``fusion`` and ``protocol`` are empty for a
    baseline.
    """

    fusion: str
    pooling: str
    temporal_pooling: str
    temporal_encoder: str
    loss: str
    protocol: str
    average_with: str = field(default="none", metadata=ADDED)

    @property
    def name(self) -> str:
        """A variant in a table: its fusion, and those other parts that are not the default."""
        parts = [self.fusion]
        if self.pooling not in ("", "avg"):
            parts.append(self.pooling)
        if self.temporal_pooling != self.pooling:
            parts.append(f"temporal {self.temporal_pooling}")
        if self.temporal_encoder not in ("", "mean"):
            parts.append(self.temporal_encoder)
        if self.average_with not in ("", TrainOptions.average_with):
            parts.append("alone" if self.average_with == "none" else f"with {self.average_with}")
        return " + ".join(parts)


@dataclass(frozen=True)
class StartIdentity:
    """The run whose heads a training started from, and what was done with them."""

    model: str
    """SHA-256 of its model's file."""
    learnt_from: list[str]
    """The datasets that its heads were trained on; its own is the last."""
    tune: str
    preparation: str
    recipe: dict[str, int | float]
    """Constants of the recipe, those of `fuse.learning.fine_tune`."""


@dataclass(frozen=True)
class JointDataset:
    """Another dataset that the heads of a run were trained on as well."""

    dataset: str
    manifest: str
    """Digest of its labels."""
    content: list[str]
    """Checksums of its features."""
    videos: int
    left_out: int
    """Of its videos those that the run's own dataset has as well."""
    mirrored: bool
    """Whether better quality is the other end of its scale than of the run's own dataset."""


@dataclass(frozen=True)
class AxisIdentity:
    """A further label that the heads of a run were trained for."""

    name: str
    manifest: str
    """Digest of its labels."""


@dataclass(frozen=True)
class RunIdentity:
    """Everything that decides a run's predictions: equal identities, equal predictions."""

    full_specs: list[str]
    """Of each plug-in, with every option written out."""
    plugin_versions: list[int]
    recipe: dict[str, int | float]
    """Constants of the training recipe; empty for a baseline."""
    loss: str
    protocol: str
    seed: int
    oracle_epoch: bool
    manifest: str
    """Digest of the labels."""
    splits: list[str]
    """Digest of each split."""
    spatial: list[TrackIdentity]
    temporal: list[TrackIdentity]
    """The spatial ones again where the dataset has no temporal track."""
    start: StartIdentity | None = field(default=None, metadata=ADDED)
    """None where training started from random weights."""
    joint: list[JointDataset] | None = field(default=None, metadata=ADDED)
    """None where the heads were trained on the dataset alone."""
    axes: list[AxisIdentity] | None = field(default=None, metadata=ADDED)
    """None where they were trained for the main label alone."""

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits, the end of a run's default name."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {kind: [track.to_json() for track in values[kind]] for kind in KINDS}
        # keys that an ordinary run has nothing for are left out, so that its digest stays
        start, joint, axes = (values.pop(name) for name in ("start", "joint", "axes"))
        if start is not None:
            values["start"] = asdict(start)
        if joint is not None:
            values["joint"] = [asdict(other) for other in joint]
        if axes is not None:
            values["axes"] = [asdict(axis) for axis in axes]
        return values


@dataclass(frozen=True)
class CacheLocation:
    """Where a run's features were, so that they can be found again.

    ``absolute`` and ``from_run`` (relative to the run's folder) both name the cache: the first
    survives a move of the run alone, the second a move of both together. ``spatial`` and
    ``temporal`` are the track files relative to the cache, the same ones twice where the dataset
    has no temporal track.
    """

    absolute: str
    from_run: str
    spatial: list[str]
    temporal: list[str]

    def __post_init__(self) -> None:
        if not (self.spatial and self.temporal):
            raise UsageError("it names no track of one of the streams")
        for track in (*self.spatial, *self.temporal):
            parts = track.split("/")
            if len(parts) != 3 or {"", ".", ".."} & set(parts) or not parts[-1].endswith(SUFFIX):
                raise UsageError(f"{track!r} is no track in a cache: DATASET/SAMPLER/NAME{SUFFIX}")

    @staticmethod
    def of(run: Path, spatial: Sequence[TrackPath], temporal: Sequence[TrackPath]) -> CacheLocation:
        cache = spatial[0].cache.resolve()
        try:
            from_run = Path(os.path.relpath(cache, run.resolve())).as_posix()
        except ValueError:  # another drive of Windows
            from_run = str(cache)
        files = (
            [path.path.relative_to(path.cache).as_posix() for path in paths]
            for paths in (spatial, temporal)
        )
        return CacheLocation(str(cache), from_run, *files)


@dataclass(frozen=True)
class RunRecord:
    """What ``run.json`` holds: what was trained, on what, by what, and what came of it."""

    dataset: str
    label: str
    scale: tuple[float, float]
    """Lowest and highest label that the dataset's scale allows."""
    specs: RunSpecs
    options: TrainOptions
    identity: RunIdentity
    content: list[str]
    """Checksums of the features, of every spatial and then of every temporal track."""
    cache: CacheLocation
    n_dataset: int
    missing: list[str]
    not_finite: dict[str, int]
    notes: list[str]
    chosen_epochs: list[int]
    """One a split: the last, or 0 where fine-tuning stayed at its start; 0 for a baseline."""
    oracle_srcc: list[float] | None
    versions: dict[str, str]
    """Of this program, Python and the libraries that compute."""
    seconds: float
    date: str = field(default="", metadata=ADDED)
    """When it was written, UTC, as ISO 8601; empty where a record of before has none."""
    command: str = field(default="", metadata=ADDED)
    """The command line as it was typed, or the function of Python; empty as ``date``."""
    n_videos: int | None = field(default=None, metadata=ADDED)
    """N, the videos that are in a part of a split; None as ``date``."""
    medians: dict[str, float | None] | None = field(default=None, metadata=ADDED)
    """The median of each metric over the splits; None as ``date``. This and ``n_videos`` are for
    tables of many runs (`fuse.run_list`); all else computes metrics from the predictions."""

    def to_json(self) -> dict[str, Any]:
        nested = {"scale": list(self.scale), "identity": self.identity.to_json()}
        return {**asdict(self), **nested}

    @staticmethod
    def from_json(document: Mapping[str, Any], path: Path) -> RunRecord:
        """UsageError, naming ``path``, where a key is missing, unknown, or of the wrong type."""
        where = f"{path} is not the record of a run of this program"
        next_step = "; train again with vqa-fuse train, or give another folder"
        try:
            nested: dict[str, Any] = {
                "specs": _dataclass_of(RunSpecs, document.get("specs"), "specs"),
                "options": _dataclass_of(TrainOptions, document.get("options"), "options"),
                "identity": _identity_of(document.get("identity"), path),
                "cache": _dataclass_of(CacheLocation, document.get("cache"), "cache"),
            }
            match document.get("scale"):
                case [low, high] if _is_number(low, float) and _is_number(high, float):
                    nested["scale"] = (float(low), float(high))
                case other:
                    raise TypeError(f"scale is {other!r}")
            record = _dataclass_of(RunRecord, {**document, **nested}, "")
            chosen, splits = len(record.chosen_epochs), len(record.identity.splits)
            if chosen != splits:
                raise ValueError(
                    f"chosen_epochs is of {chosen} splits, identity.splits of {splits}"
                )
        except (TypeError, ValueError, UsageError) as error:
            raise UsageError(f"{where}: {error}{next_step}") from None
        return record


def _identity_of(document: Any, path: Path) -> RunIdentity:
    if isinstance(document, Mapping):
        for kind in KINDS:
            if document.get(kind) == []:
                raise ValueError(f"identity.{kind} names no track")
        tracks = {
            kind: [
                TrackIdentity.from_json(track, str(path)) if isinstance(track, Mapping) else track
                for track in document[kind]
            ]
            for kind in KINDS
            if isinstance(document.get(kind), list)
        }
        document = {**document, **tracks}
        if document.get("start") is not None:
            start = _dataclass_of(StartIdentity, document["start"], "identity.start")
            document = {**document, "start": start}
        if isinstance(document.get("joint"), list):
            joint = [_dataclass_of(JointDataset, o, "identity.joint") for o in document["joint"]]
            document = {**document, "joint": joint}
        if isinstance(document.get("axes"), list):
            axes = [_dataclass_of(AxisIdentity, axis, "identity.axes") for axis in document["axes"]]
            document = {**document, "axes": axes}
    return _dataclass_of(RunIdentity, document, "identity")


def _dataclass_of(kind: type[T], mapping: Any, where: str) -> T:
    """``kind`` with the values of ``mapping``; TypeError where keys or types are not its own."""
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{where} is missing or not an object")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    added = {
        field.name: field.metadata.get("before", field.default)
        for field in fields(kind)  # type: ignore[arg-type]
        if field.metadata.get("added")
    }
    mapping = {**added, **mapping}
    if lacking := sorted(hints.keys() - mapping.keys()):
        raise TypeError(f"it lacks {', '.join(prefix + key for key in lacking)}")
    if unknown := sorted(mapping.keys() - hints.keys()):
        raise TypeError(f"it has unknown keys: {', '.join(prefix + key for key in unknown)}")
    for key, hint in hints.items():
        if not _fits(mapping[key], hint):
            raise TypeError(f"{prefix}{key} is {mapping[key]!r}")
    return kind(**mapping)


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value``, which JSON may hold, is of the type ``hint``."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is list:
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in value)
    if kind is dict:
        return isinstance(value, dict) and all(
            _fits(key, parts[0]) and _fits(item, parts[1]) for key, item in value.items()
        )
    if kind is Sequence:  # of texts
        return isinstance(value, list) and all(_fits(item, parts[0]) for item in value)
    if kind is tuple:
        return isinstance(value, tuple) and all(map(_fits, value, parts))
    if parts:
        return any(_fits(value, part) for part in parts)
    if hint is int or hint is float:
        return _is_number(value, hint)
    return is_text(value) if hint is str else isinstance(value, hint)


def _is_number(value: Any, kind: type) -> bool:
    """Of a size that counts and measurements can have; floats may be NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
        return False
    return not abs(value) > (sys.float_info.max if kind is float else sys.maxsize)
