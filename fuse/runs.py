"""A run: the folder that training writes, its record, and the metrics of its saved predictions.

Every file name of a run, and of an ablation's folder, stands here and nowhere else. Metrics are
always computed from the saved predictions, never from a model in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import numpy as np
import pandas as pd

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.pipeline import attention_table
from vqa_twostage.pipeline.cache import CACHE_VARIABLE
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import read_json, write_json, write_text
from vqa_twostage.pipeline.identity import TrackIdentity

RECORD = "run.json"
PREDICTIONS = "predictions.csv"
ATTENTION = attention_table.FILE
GATES = "gates.csv"
VALIDATION_CURVE = "learning.csv"
MODEL = "model.safetensors"
SCATTER = "scatter.png"
METRICS_TABLE = "metrics.md"
TENSORBOARD = "tensorboard"
EVENTS = "events.out.tfevents.*"

PREDICTION_COLUMNS = {
    "split": int,
    "part": str,
    "id": str,
    "group": str,
    "mos": float,
    "predicted": float,
}
KINDS = ("spatial", "temporal")
PARTS = ("train", "val", "test")
SMALL_TEST_PART = 10  # videos; correlations of fewer are mostly chance

T = TypeVar("T")


@dataclass(frozen=True)
class MetricSummary:
    """One value a metric. None where it is undefined, as the correlation of a constant is."""

    srcc: float | None
    """Spearman's rank correlation of the scores as they come."""
    plcc: float | None
    """Pearson's correlation after the four-parameter logistic."""
    krcc: float | None
    """Kendall's rank correlation (tau-b) of the scores as they come."""
    rmse: float | None
    """Root of the mean squared error after the logistic, on the scale of the labels."""
    plcc_raw: float | None
    """Pearson's correlation of the scores as they come."""

    @staticmethod
    def of(values: Mapping[str, Any] | pd.Series) -> MetricSummary:
        """From one number a metric, of which NaN means undefined."""
        return MetricSummary(**{name: defined(values[name]) for name in METRICS})

    def to_json(self) -> dict[str, float | None]:
        return asdict(self)


METRICS = tuple(field.name for field in fields(MetricSummary))
MAIN_METRICS = METRICS[:4]
"""Those that every table has: all but ``plcc_raw``."""


@dataclass(frozen=True)
class SplitMetrics:
    """Metrics of the test part of one split, and how many videos its parts have."""

    seed: int
    n_train: int
    n_val: int
    n_test: int
    metrics: MetricSummary

    def to_json(self) -> dict[str, Any]:
        counts = {name: getattr(self, name) for name in ("seed", "n_train", "n_val", "n_test")}
        return {**counts, **self.metrics.to_json()}


@dataclass(frozen=True)
class Oracle:
    """The SRCC that choosing the epoch on the test part would have reported: not a result."""

    srcc: float | None
    label: str = "epoch chosen on the test part: optimistic, not a result"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a run on the test part of every split, and on which videos they stand.

    `to_json` is the document of ``vqa-fuse train --json`` and ``vqa-fuse evaluate --json``.
    """

    dataset: str
    fusion: str
    """The spec of the fusion, or of a baseline."""
    protocol: str
    label: str
    """What the labels are: ``opinion``, or the name of the metric that made them."""
    n_videos: int
    """N, the videos that were used."""
    n_dataset: int
    """The videos of the dataset's manifest."""
    missing: list[str]
    """Ids of the manifest that have no features."""
    not_finite: dict[str, int]
    """Feature columns with values that are not finite, and in how many videos."""
    notes: list[str]
    """Cautions about the splits, such as contents that straddle them."""
    splits: list[SplitMetrics]
    median: MetricSummary
    """Over the splits."""
    std: MetricSummary
    """Standard deviation over the splits; the JSON document calls it ``spread``."""
    undefined: int
    """Splits that the median leaves out: a constant prediction has no correlation."""
    oracle: Oracle | None
    """None without ``oracle_epoch``."""
    run: Path
    """The folder of the run."""

    def to_json(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset,
            "fusion": self.fusion,
            "protocol": self.protocol,
            "label": self.label,
            "n_videos": self.n_videos,
            "n_dataset": self.n_dataset,
            "missing": self.missing,
            "not_finite": self.not_finite,
            "notes": self.notes,
            "splits": [split.to_json() for split in self.splits],
            "median": self.median.to_json(),
            "spread": self.std.to_json(),
            "undefined": self.undefined,
            "oracle": None if self.oracle is None else self.oracle.to_json(),
            "run": str(self.run),
        }


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
        return " + ".join(parts)


@dataclass(frozen=True)
class RunIdentity:
    """Everything that decides a run's predictions: equal identities, equal predictions."""

    full_specs: list[str]
    """Of each plug-in, with every option written out."""
    plugin_versions: list[int]
    recipe: dict[str, Any]
    """Constants of the training recipe; empty for a baseline."""
    loss: str
    protocol: str
    seed: int
    oracle_epoch: bool
    manifest: str
    """Digest of the labels."""
    splits: list[str]
    """Digest of each split."""
    spatial: TrackIdentity
    temporal: TrackIdentity
    """The spatial one again where the dataset has no temporal track."""

    @property
    def digest(self) -> str:
        """Ten hexadecimal digits, the end of a run's default name."""
        text = json.dumps(self.to_json(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:10]

    def to_json(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {kind: values[kind].to_json() for kind in KINDS}


@dataclass(frozen=True)
class CacheLocation:
    """Where a run's features were, so that they can be found again.

    ``absolute`` and ``from_run`` (relative to the run's folder) both name the cache: the first
    survives a move of the run alone, the second a move of both together. ``spatial`` and
    ``temporal`` are the track files relative to the cache, the same one twice where the dataset
    has no temporal track.
    """

    absolute: str
    from_run: str
    spatial: str
    temporal: str

    @staticmethod
    def of(run: Path, spatial: TrackPath, temporal: TrackPath) -> CacheLocation:
        cache = spatial.cache.resolve()
        try:
            from_run = Path(os.path.relpath(cache, run.resolve())).as_posix()
        except ValueError:  # another drive of Windows
            from_run = str(cache)
        files = (track.path.relative_to(track.cache).as_posix() for track in (spatial, temporal))
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
    cache: CacheLocation
    n_dataset: int
    missing: list[str]
    not_finite: dict[str, int]
    notes: list[str]
    chosen_epochs: list[int]
    """One a split; 0 for a baseline."""
    oracle_srcc: list[float] | None
    versions: dict[str, str]
    """Of this program, Python and the libraries that compute."""
    seconds: float

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
                case [(int() | float()) as low, (int() | float()) as high]:
                    nested["scale"] = (float(low), float(high))
                case other:
                    raise TypeError(f"scale is {other!r}")
            return _dataclass_of(RunRecord, {**document, **nested}, "")
        except (TypeError, ValueError, UsageError) as error:
            raise UsageError(f"{where}: {error}{next_step}") from None


@dataclass(frozen=True)
class TrackPaths:
    """The two tracks of a run in a cache that holds both."""

    spatial: TrackPath
    temporal: TrackPath

    @property
    def cache(self) -> Path:
        return self.spatial.cache


class Run:
    """The folder of a run. Properties are paths; methods read what is there.

    A folder with a record is a whole run: the record is written last.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"

    @property
    def record_file(self) -> Path:
        return self.folder / RECORD

    @property
    def predictions_file(self) -> Path:
        return self.folder / PREDICTIONS

    @property
    def attention_file(self) -> Path:
        """Only where the head attends to frames."""
        return self.folder / ATTENTION

    @property
    def gates_file(self) -> Path:
        """Only where the head has gates."""
        return self.folder / GATES

    @property
    def validation_curve_file(self) -> Path:
        """Not for a baseline, which has no epochs."""
        return self.folder / VALIDATION_CURVE

    @property
    def model_file(self) -> Path:
        """Not for a baseline, nor for a variant of an ablation."""
        return self.folder / MODEL

    @property
    def scatter_file(self) -> Path:
        return self.folder / SCATTER

    @property
    def metrics_file(self) -> Path:
        """The metrics as a Markdown table."""
        return self.folder / METRICS_TABLE

    @property
    def tensorboard_folder(self) -> Path:
        """Only with ``--tensorboard``."""
        return self.folder / TENSORBOARD

    @property
    def complete(self) -> bool:
        return self.record_file.is_file()

    def record(self) -> RunRecord:
        """UsageError where the folder is not a run, or its record is damaged or foreign."""
        self._require(self.record_file)
        return RunRecord.from_json(read_json(self.record_file), self.record_file)

    def predictions(self) -> pd.DataFrame:
        """Columns ``split, part, id, group, mos, predicted``; UsageError as `record`."""
        self._require(self.predictions_file)
        # read as text: ids keep their zeros, and Python's own float() is exact where pandas' fast
        # parser may not be
        table = pd.read_csv(self.predictions_file, dtype=str, keep_default_na=False)
        try:
            return pd.DataFrame(
                {name: table[name].map(kind) for name, kind in PREDICTION_COLUMNS.items()}
            )
        except (KeyError, ValueError) as error:
            raise UsageError(
                f"{self.predictions_file} is damaged ({type(error).__name__}: {error}); train again"
            ) from None

    def attention(self) -> pd.DataFrame | None:
        """Columns ``id, timestamp, importance``; None where the head does not attend."""
        return _table(self.attention_file)

    def gates(self) -> pd.DataFrame | None:
        """Columns ``id, mos`` and one for each gate; None where the head has none."""
        return _table(self.gates_file)

    def validation_curve(self) -> pd.DataFrame | None:
        """Columns ``split, epoch, srcc`` while epochs were chosen; None of a baseline."""
        path = self.validation_curve_file
        return pd.read_csv(path) if path.is_file() else None

    def metrics(self) -> Evaluation:
        """Metrics of each split's test part, from the saved predictions; UsageError as `record`."""
        return evaluate_predictions(self.record(), self.predictions(), self.folder)

    def cache(self, cache: str | Path | None = None) -> Path:
        """The cache that holds the run's features: ``cache`` where it is given, else the first of
        ``$VQA_CACHE`` and the two places that the record names that holds them. UsageError where
        none does.
        """
        return self.tracks(cache).cache

    def tracks(self, cache: str | Path | None = None) -> TrackPaths:
        """The track files that the run was trained on, in the cache that `cache` finds."""
        location = self.record().cache
        names = (location.spatial, location.temporal)
        place = self.find_cache(cache, names)
        return TrackPaths(*(TrackPath.parse(place / name) for name in names))

    def cache_places(self, cache: str | Path | None = None) -> list[Path]:
        """Where the run's cache may be, the likeliest first; ``cache`` alone where it is given."""
        if cache is not None:
            return [Path(cache)]
        location = self.record().cache
        named = os.environ.get(CACHE_VARIABLE)
        # a run that was moved with its cache is to find that one, not another at the old place
        return [
            *([Path(named)] if named else []),
            Path(os.path.normpath(self.folder.resolve() / location.from_run)),
            Path(location.absolute),
        ]

    def find_cache(self, cache: str | Path | None, files: Collection[str]) -> Path:
        """As `cache`, for any ``files``, given relative to the cache."""
        places = self.cache_places(cache)
        for place in places:
            if all((place / file).is_file() for file in files):
                return place
        missing = next(file for file in files if not (places[0] / file).is_file())
        searched = ", ".join(dict.fromkeys(map(str, places)))
        raise UsageError(
            f"{self.folder}: its features are not there: no {missing} in {searched}; "
            f"give --cache DIR, or set ${CACHE_VARIABLE}, to name the cache that holds them"
        )

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        # floats as their shortest exact text: what is read back is what was predicted, to the bit
        text = predictions[list(PREDICTION_COLUMNS)].to_csv(index=False)
        write_text(self.predictions_file, text)

    def write_record(self, record: RunRecord) -> None:
        """To be called last: it makes the run complete."""
        write_json(self.record_file, record.to_json())

    def clear(self) -> None:
        """Removes every file that a run may hold, the record first, and nothing else."""
        for name in (RECORD, PREDICTIONS, ATTENTION, GATES, VALIDATION_CURVE, MODEL):
            (self.folder / name).unlink(missing_ok=True)
        for name in (SCATTER, METRICS_TABLE):
            (self.folder / name).unlink(missing_ok=True)
        self.clear_events()

    def clear_events(self) -> None:
        """Removes TensorBoard's events, and nothing else that may lie in their folder."""
        for pattern in (EVENTS, f"split-*/{EVENTS}"):
            for path in self.tensorboard_folder.glob(pattern):
                path.unlink()

    def _require(self, path: Path) -> None:
        if not path.is_file():
            raise UsageError(
                f"{self.folder} is not a run: {path} does not exist; vqa-fuse train writes runs"
            )


class Ablation:
    """The folder of an ablation: its tables, and a run for each variant."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def json_file(self) -> Path:
        return self.folder / "ablation.json"

    @property
    def csv_file(self) -> Path:
        return self.folder / "ablation.csv"

    @property
    def markdown_file(self) -> Path:
        return self.folder / "ablation.md"

    @property
    def plot_file(self) -> Path:
        return self.folder / "ablation.png"

    @property
    def complete(self) -> bool:
        return self.json_file.is_file()

    def runs(self) -> list[Path]:
        """Folders of the variants, best first, wherever the ablation was moved since."""
        return [self._inside(row["run"]) for row in self._read()["rows"]]

    def reference(self) -> Path:
        """The run that differences are against."""
        return self._inside(self._read()["baseline"])

    def _inside(self, run: str) -> Path:
        return self.folder / Path(run).name

    def _read(self) -> dict[str, Any]:
        document = read_json(self.json_file)
        rows = document.get("rows")
        usable = isinstance(rows, list) and all(
            isinstance(row, dict) and isinstance(row.get("run"), str) for row in rows
        )
        if not usable or not isinstance(document.get("baseline"), str):
            raise UsageError(
                f"{self.json_file} is not a table of vqa-fuse ablate; run vqa-fuse ablate again, "
                "or give the folders of runs"
            )
        return document


def evaluate_predictions(record: RunRecord, predictions: pd.DataFrame, run: Path) -> Evaluation:
    """Metrics of ``predictions`` (columns as `Run.predictions`), with what the record says."""
    splits = []
    for seed, rows in predictions.groupby("split"):
        counts = {f"n_{part}": int((rows["part"] == part).sum()) for part in PARTS}
        test = rows[rows["part"] == "test"]
        measured = asdict(metrics.evaluate(test["predicted"].to_numpy(), test["mos"].to_numpy()))
        splits.append(SplitMetrics(int(str(seed)), **counts, metrics=MetricSummary.of(measured)))
    table = pd.DataFrame([split.metrics.to_json() for split in splits]).astype(float)
    return Evaluation(
        dataset=record.dataset,
        fusion=record.specs.fusion,
        protocol=record.specs.protocol,
        label=record.label,
        n_videos=predictions["id"].nunique(),
        n_dataset=record.n_dataset,
        missing=record.missing,
        not_finite=record.not_finite,
        notes=[*record.notes, *_small_test_parts(splits)],
        splits=splits,
        median=MetricSummary.of(table.median()),
        std=MetricSummary.of(table.std(ddof=1)),
        undefined=int(table["srcc"].isna().sum()),
        oracle=_oracle(record.oracle_srcc),
        run=run,
    )


def defined(value: float) -> float | None:
    """JSON has no NaN: an undefined metric is null there."""
    return None if np.isnan(value) else float(value)


def _small_test_parts(splits: list[SplitMetrics]) -> list[str]:
    smallest = min(split.n_test for split in splits)
    if smallest >= SMALL_TEST_PART:
        return []
    return [
        f"a test part has {smallest} videos: correlations of fewer than {SMALL_TEST_PART} are "
        "chance, whatever their median"
    ]


def _oracle(scores: list[float] | None) -> Oracle | None:
    if scores is None:
        return None
    finite = [score for score in scores if np.isfinite(score)]
    return Oracle(float(np.median(finite)) if finite else None)


def _table(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path, dtype={"id": str}, keep_default_na=False) if path.is_file() else None


def _identity_of(document: Any, path: Path) -> RunIdentity:
    if isinstance(document, Mapping):
        tracks = {
            kind: TrackIdentity.from_json(document[kind], str(path))
            for kind in KINDS
            if isinstance(document.get(kind), Mapping)
        }
        document = {**document, **tracks}
    return _dataclass_of(RunIdentity, document, "identity")


def _dataclass_of(kind: type[T], mapping: Any, where: str) -> T:
    """``kind`` with the values of ``mapping``; TypeError where keys or types are not its own."""
    if not isinstance(mapping, Mapping):
        raise TypeError(f"{where} is missing or not an object")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    if lacking := sorted(hints.keys() - mapping.keys()):
        raise TypeError(f"it lacks {', '.join(prefix + key for key in lacking)}")
    if unknown := sorted(mapping.keys() - hints.keys()):
        raise TypeError(f"it has unknown keys: {', '.join(prefix + key for key in unknown)}")
    for key, hint in hints.items():
        if not _fits(mapping[key], hint):
            raise TypeError(f"{prefix}{key} is {mapping[key]!r}")
    return kind(**mapping)


def _fits(value: Any, hint: Any) -> bool:
    """Whether ``value`` is of the outermost type of ``hint``."""
    kinds = tuple(get_origin(part) or part for part in getattr(hint, "__args__", ()))
    kind = get_origin(hint)
    if kind is None:
        return isinstance(value, (int, float) if hint is float else hint)
    if kind in (list, dict, tuple):
        return isinstance(value, kind)
    return isinstance(value, kinds)
