"""A run: the folder that training writes. An ablation: the folder of its runs.

Every file name of both stands here and nowhere else.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vqa_twostage.fuse.run_folder import RECORD
from vqa_twostage.fuse.run_record import RunRecord
from vqa_twostage.pipeline import attention_table
from vqa_twostage.pipeline.cache import CACHE_VARIABLE
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.datasets.videos import MODEL_FILE
from vqa_twostage.pipeline.errors import UsageError, close_to
from vqa_twostage.pipeline.files import (
    is_text,
    read_json,
    sealed,
    sha256_of,
    unsealed,
    write_json,
    write_text,
)

PREDICTIONS = "predictions.csv"
ATTENTION = attention_table.FILE
GATES = "gates.csv"
VALIDATION_CURVE = "learning.csv"
MODEL = MODEL_FILE
SOURCE_MODEL = "source.safetensors"
SCATTER = "scatter.png"
METRICS_TABLE = "metrics.md"
FINISHED_SPLITS = "splits"
TENSORBOARD = "tensorboard"
EVENTS = "events.out.tfevents.*"

# what a run may hold beside folders, the record first: without it the others are no run
FILES = (
    *(RECORD, PREDICTIONS, ATTENTION, GATES, VALIDATION_CURVE),
    *(MODEL, SOURCE_MODEL, SCATTER, METRICS_TABLE),
)
# tables that are read again, and the field of the record that holds their digests
TABLES = (PREDICTIONS, ATTENTION, GATES, VALIDATION_CURVE)
DIGESTS = "tables"
# squares and sums of scores are finite
LARGEST_SCORE = 1e100

PARTS = ("train", "val", "test")
PREDICTION_COLUMNS = {
    "split": int,
    "part": str,
    "id": str,
    "group": str,
    "mos": float,
    "predicted": float,
}


def label_columns(axis: str | None = None) -> tuple[str, str]:
    """The columns of predictions with the labels and the predicted ones: of an axis, or the main
    ones.
    """
    return ("mos", "predicted") if axis is None else (f"mos_{axis}", f"predicted_{axis}")


def axes_in(predictions: pd.DataFrame) -> list[str]:
    """The further labels that a table of predictions has, in its order."""
    names = [
        name.removeprefix("predicted_")
        for name in predictions.columns
        if name.startswith("predicted_")
    ]
    return [name for name in names if label_columns(name)[0] in predictions.columns]


@dataclass(frozen=True)
class TrackPaths:
    """The tracks of a run in a cache that holds them all."""

    spatial: list[TrackPath]
    temporal: list[TrackPath]

    @property
    def cache(self) -> Path:
        return self.spatial[0].cache


class Run:
    """The folder of a run. Properties are paths; methods read what is there.

    A folder with a record is a whole run: the record is written last. It holds the digest of each
    table that is read again.
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
    def source_model_file(self) -> Path:
        """The model that training started from; only with ``--from``."""
        return self.folder / SOURCE_MODEL

    @property
    def scatter_file(self) -> Path:
        return self.folder / SCATTER

    @property
    def metrics_file(self) -> Path:
        """The metrics as a Markdown table."""
        return self.folder / METRICS_TABLE

    @property
    def finished_splits_folder(self) -> Path:
        """Only while the run is not complete."""
        return self.folder / FINISHED_SPLITS

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
        document, _ = self._read_record()
        return RunRecord.from_json(document, self.record_file)

    def predictions(self) -> pd.DataFrame:
        """Columns ``split, part, id, group, mos, predicted``, and ``mos_<axis>`` and
        ``predicted_<axis>`` of each further label; UsageError as `record`.
        """
        self._require(self.predictions_file)
        predictions = self._typed(self._table(PREDICTIONS, PREDICTION_COLUMNS))
        identity = self.record().identity
        found, trained = predictions["split"].nunique(), len(identity.splits)
        if found != trained:
            raise self._damage(PREDICTIONS, f"it has {found} splits, and the run {trained}")
        if axes_in(predictions) != [axis.name for axis in identity.axes or ()]:
            raise self._damage(PREDICTIONS, "its further labels are not those of the run")
        return predictions

    def check_tables(self) -> None:
        """UsageError where a table is missing, or not the one that the record was written of."""
        for name, digest in self._read_record()[1].items():
            if name in TABLES:
                self._bytes_of(name, digest)

    def written_predictions(self) -> pd.DataFrame:
        """`predictions` of a run that has no record yet."""
        return self._typed(_read_table(self.predictions_file, self.predictions_file.read_bytes()))

    def attention(self) -> pd.DataFrame | None:
        """Columns ``id, timestamp, importance``; None where the head does not attend."""
        return self._optional(ATTENTION, attention_table.COLUMNS)

    def gates(self) -> pd.DataFrame | None:
        """Columns ``id, mos`` and one for each gate; None where the head has none."""
        return self._optional(GATES, ("id", "mos"))

    def validation_curve(self) -> pd.DataFrame | None:
        """Columns ``split, epoch, srcc`` on the validation part; None of a baseline."""
        return self._optional(VALIDATION_CURVE, ("split", "epoch", "srcc"))

    def cache(self, cache: str | Path | None = None) -> Path:
        """The cache that holds the run's features: ``cache`` where it is given, else the first of
        ``$VQA_CACHE`` and the two places that the record names that holds them. UsageError where
        none does.
        """
        return self.tracks(cache).cache

    def tracks(self, cache: str | Path | None = None) -> TrackPaths:
        """The track files that the run was trained on, in the cache that `cache` finds."""
        location = self.record().cache
        place = self.find_cache(cache, [*location.spatial, *location.temporal])
        return TrackPaths(
            *(
                [TrackPath.parse(place / name) for name in names]
                for names in (location.spatial, location.temporal)
            )
        )

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
        of_axes = [column for name in axes_in(predictions) for column in label_columns(name)]
        text = predictions[[*PREDICTION_COLUMNS, *of_axes]].to_csv(index=False)
        write_text(self.predictions_file, text)

    def write_record(self, record: RunRecord) -> None:
        """To be called last: it makes the run complete."""
        names = [name for name in TABLES if (self.folder / name).is_file()]
        digests = {name: sha256_of(self.folder / name) for name in names}
        write_json(self.record_file, sealed({**record.to_json(), DIGESTS: digests}))

    @property
    def finished_splits(self) -> int:
        """How many splits an interrupted training, or one that goes on, has finished."""
        return len(self._split_files())

    @property
    def has_predictions(self) -> bool:
        """Whether there is a table of predictions as runs have, by its first line."""
        if not self.predictions_file.is_file():
            return False
        with self.predictions_file.open("rb") as file:
            return file.readline(200).rstrip() == ",".join(PREDICTION_COLUMNS).encode()

    def clear(self) -> None:
        """Removes every file that a run may hold, the record first, and nothing else."""
        for name in FILES:
            (self.folder / name).unlink(missing_ok=True)
        self.clear_events()

    def clear_events(self) -> None:
        """Removes TensorBoard's events, and nothing else that may lie in their folder, nor in
        another one that a link leads to.
        """
        folder = self.tensorboard_folder
        for inside in () if folder.is_symlink() else (*folder.glob("split-*"), folder):
            if inside.is_symlink():
                continue
            for path in inside.glob(EVENTS):
                path.unlink()

    def remove(self) -> None:
        """Removes every file that a run writes, and folders that are empty then; what else lies
        in them stays, and so does what links lead to.
        """
        self.clear()
        aside = [path for name in FILES for path in self.folder.glob(f".{name}.*")]
        if not self.finished_splits_folder.is_symlink():
            aside += self.finished_splits_folder.glob(".[0-9]*.*")
        # what a killed training was about to write is of it too
        for path in (*self._split_files(), *aside):
            path.unlink()
        folder = Path(os.path.abspath(self.folder))  # the shell may stand in it
        inside = self.tensorboard_folder
        for empty in (*inside.glob("split-*"), inside, self.finished_splits_folder, folder):
            if empty.is_dir() and not empty.is_symlink() and not any(empty.iterdir()):
                empty.rmdir()

    def _split_files(self) -> list[Path]:
        folder = self.finished_splits_folder
        if folder.is_symlink() or not folder.is_dir():
            return []
        return [path for path in folder.iterdir() if path.name.isdecimal() and not path.is_dir()]

    def _read_record(self) -> tuple[dict[str, Any], Mapping[str, str]]:
        """What the record says, and the digests of the tables."""
        self._require(self.record_file)
        try:
            document = unsealed(read_json(self.record_file))
        except UsageError as error:
            raise UsageError(
                f"{self.record_file} cannot be used: {error}; train again with vqa-fuse train, or "
                "take the file from where the run came from"
            ) from None
        digests = document.pop(DIGESTS, None)
        found = digests.items() if isinstance(digests, dict) else ()
        return document, {name: text for name, text in found if isinstance(text, str)}

    def _optional(self, name: str, columns: Collection[str]) -> pd.DataFrame | None:
        """A table that not every run has: its ``id`` as text, everything else as numbers."""
        if not (self.folder / name).is_file() and name not in self._read_record()[1]:
            return None
        table = self._table(name, columns)
        kinds = {column: int if column == "split" else float for column in table if column != "id"}
        try:
            return table.replace({column: {"": "nan"} for column in kinds}).astype(kinds)
        except (ValueError, OverflowError) as error:
            raise self._damage(name, error) from None

    def _table(self, name: str, columns: Collection[str]) -> pd.DataFrame:
        """A table as text, whose bytes are those that the record was written of."""
        content = self._bytes_of(name, self._read_record()[1].get(name))
        table = _read_table(self.folder / name, content)
        if lacking := [column for column in columns if column not in table.columns]:
            raise self._damage(name, f"it lacks {', '.join(lacking)}")
        return table

    def _bytes_of(self, name: str, digest: str | None) -> bytes:
        path = self.folder / name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}; train again") from None
        if hashlib.sha256(content).hexdigest() != digest:
            raise UsageError(
                f"{path} is not the file that {self.record_file} is of: it is damaged, or edited "
                "by hand; train again, or take both files from where the run came from"
            )
        return content

    def _typed(self, table: pd.DataFrame) -> pd.DataFrame:
        # ids keep their zeros, and Python's own float() is exact where pandas' fast parser may not
        # be
        scores = [column for name in (None, *axes_in(table)) for column in label_columns(name)]
        kinds: dict[str, type] = {**PREDICTION_COLUMNS, **dict.fromkeys(scores, float)}
        try:
            typed = pd.DataFrame({name: table[name].map(kind) for name, kind in kinds.items()})
            typed = typed.astype({name: kind for name, kind in kinds.items() if kind is not str})
        except (KeyError, ValueError, OverflowError) as error:
            raise self._damage(PREDICTIONS, f"{type(error).__name__}: {error}") from None
        values = typed[scores].to_numpy()
        if not (np.abs(values) <= LARGEST_SCORE).all():  # also where one is NaN
            raise self._damage(PREDICTIONS, "it has values that are no scores")
        if typed.empty or not typed["id"].map(is_text).all():
            raise self._damage(PREDICTIONS, "it has no row, or an id that is no text")
        tested = typed.loc[typed["part"] == "test", "split"]
        if not typed["part"].isin(PARTS).all() or set(tested) != set(typed["split"]):
            raise self._damage(
                PREDICTIONS,
                f"a split has no test part, or a part that is none of {', '.join(PARTS)}",
            )
        return typed

    def _damage(self, name: str, reason: object) -> UsageError:
        return UsageError(f"{self.folder / name} is damaged ({reason}); train again")

    def _require(self, path: Path) -> None:
        if not path.is_file():
            raise UsageError(
                f"{self.folder} is not a run: {path} does not exist; vqa-fuse train writes runs"
                f"{close_to(self.folder, _beside(self.folder))}"
            )


def _beside(folder: Path) -> list[Path]:
    """The folders that lie where ``folder`` was looked for."""
    try:
        return [path for path in folder.parent.iterdir() if path.is_dir()]
    except OSError:
        return []


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

    @property
    def tables(self) -> list[Path]:
        return [self.csv_file, self.markdown_file, self.plot_file, self.json_file]

    def set_aside(self) -> Path:
        """Renames the tables, so that others can take their place: ``ablation-1.json`` …, the first
        number that is free. The new name of the JSON document.
        """
        number = next(
            n for n in itertools.count(1) if not self._numbered(self.json_file, n).exists()
        )
        for path in self.tables:
            if path.exists():
                path.rename(self._numbered(path, number))
        return self._numbered(self.json_file, number)

    @staticmethod
    def _numbered(path: Path, number: int) -> Path:
        return path.with_stem(f"{path.stem}-{number}")

    def runs(self) -> list[Path]:
        """Folders of the variants, best first, wherever the ablation was moved since."""
        return [self._inside(row["run"]) for row in self._read()["rows"]]

    def reference(self) -> Path:
        """The run that differences are against."""
        return self._inside(self._read()["baseline"])

    def _inside(self, run: str) -> Path:
        return self.folder / Path(run).name

    def _read(self) -> dict[str, Any]:
        try:
            document = unsealed(read_json(self.json_file))
        except UsageError as error:
            raise UsageError(
                f"{self.json_file} cannot be used: {error}; run vqa-fuse ablate again, or give the "
                "folders of runs"
            ) from None
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


class CurveFiles:
    """The folder of a learning curve: its tables, and a run for each of its points."""

    def __init__(self, folder: str | Path) -> None:
        self.json_file, self.csv_file, self.markdown_file, self.plot_file = (
            Path(folder) / f"learning_curve.{ending}" for ending in ("json", "csv", "md", "png")
        )


def _read_table(path: Path, content: bytes) -> pd.DataFrame:
    """Every cell as text."""
    try:
        # not the name of the file, whose end might ask for a decompression
        return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UsageError(f"{path} is damaged ({error}); train again") from None
