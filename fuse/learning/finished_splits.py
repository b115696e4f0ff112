"""The splits that a training has finished, kept in the run's folder until the run is whole.

``RUN/splits/<place of the split in the plan>`` holds one `Fitted`: eight bytes of checksum, then an
.npz. Its key is a digest of everything that decides the result, so that nothing of another training
is taken up. A file that is damaged is as good as none: that split is fitted again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from vqa_twostage.fuse.averaging import Setting
from vqa_twostage.fuse.learning.fit import AxisFit, Fitted
from vqa_twostage.fuse.streams import Streams
from vqa_twostage.pipeline.checksum import content_of, with_checksum
from vqa_twostage.pipeline.files import replaced

ABOUT, PREDICTED, GATE, AXIS = "about", "predicted", "gate ", "axis "
WEIGHTS = Streams("weights spatial", "weights temporal")


class FinishedSplits:
    """Those in ``folder`` that belong to the training of that ``key``."""

    def __init__(self, folder: Path, *key: str) -> None:
        self.folder = folder
        self.key = hashlib.sha256(json.dumps(key).encode()).hexdigest()

    def load(self, splits: int) -> dict[int, Fitted]:
        """By the place of the split in the plan, of as many as the plan has."""
        found = {place: self._load_one(self._path(place)) for place in range(splits)}
        return {place: fitted for place, fitted in found.items() if fitted is not None}

    def save(self, place: int, fitted: Fitted) -> None:
        """Keeps one, in one step."""
        about = {
            "key": self.key,
            "epoch": fitted.epoch,
            "oracle_srcc": fitted.oracle_srcc,
            "seconds": fitted.seconds,
            "validation_curve": list(fitted.validation_curve.items()),
            "settings": fitted.settings,
            "joint": fitted.joint,
            "axes": {name: of_axis.settings for name, of_axis in fitted.axes.items()},
        }
        arrays = {
            PREDICTED: fitted.predicted,
            WEIGHTS.spatial: fitted.weights.spatial,
            WEIGHTS.temporal: fitted.weights.temporal,
            **{f"{GATE}{name}": gate for name, gate in fitted.gates.items()},
            **{f"{AXIS}{name}": of_axis.predicted for name, of_axis in fitted.axes.items()},
        }
        content = BytesIO()
        np.savez(content, **{ABOUT: np.array(json.dumps(about))}, **arrays)  # type: ignore[arg-type]
        with replaced(self._path(place)) as aside:
            aside.write_bytes(with_checksum(content.getvalue()))

    def remove(self) -> None:
        """All of them, of other trainings as well."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, place: int) -> Path:
        return self.folder / f"{place:05d}"

    def _load_one(self, path: Path) -> Fitted | None:
        try:
            content = content_of(path.read_bytes())
        except OSError:
            return None
        if content is None:
            return None
        try:
            with np.load(BytesIO(content), allow_pickle=False) as stored:
                about = json.loads(str(stored[ABOUT]))
                if about["key"] != self.key:
                    return None
                gates = {
                    name.removeprefix(GATE): stored[name]
                    for name in stored.files
                    if name.startswith(GATE)
                }
                return Fitted(
                    stored[PREDICTED],
                    about["epoch"],
                    WEIGHTS.map(lambda name: stored[name]),
                    gates,
                    about["oracle_srcc"],
                    {int(epoch): srcc for epoch, srcc in about["validation_curve"]},
                    _settings(about["settings"]),
                    about["seconds"],
                    about["joint"],
                    {
                        name: AxisFit(stored[f"{AXIS}{name}"], _settings(settings))
                        for name, settings in about["axes"].items()
                    },
                )
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile):  # of an early version
            return None


def _settings(of_regressors: dict[str, list[Any]]) -> dict[str, Setting]:
    return {name: Setting(*chosen) for name, chosen in of_regressors.items()}
