"""The model that a run ends with: refitted on all videos, calibrated to the dataset's scale, saved as safetensors.

Letters: N videos, T frames.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from fuse import metrics
from fuse.data import Dataset, Features
from fuse.fit import Ensemble, Fitted, mean_answer, one_thread
from fuse.losses import parse_loss
from fuse.model import Head, QualityModel
from fuse.options import TrainOptions
from fuse.prepare import Preparation, Squash
from fuse.protocols import Split
from fuse.weighed import tested_share
from pipeline.errors import UsageError

FILE = "model.safetensors"
# raised when older files cannot be read any more
FORMAT_VERSION = 1
SQUASH = ("fill", "scale", "mean", "std", "keep")


@dataclass(frozen=True)
class Scorer:
    """Features in, scores on the scale of the training labels out. ``curve``: the logistic of `fuse.metrics`, or None.

    ``shapes``: of each track's arrays, once prepared.
    """

    options: TrainOptions
    preparations: list[Preparation]
    models: list[QualityModel]
    shapes: list[dict[str, tuple[int, ...]]]
    mean: float
    std: float
    curve: Float[np.ndarray, " 4"] | None

    def scores(self, spatial: Features, temporal: Features) -> Float[np.ndarray, " N"]:
        """UsageError where a track lacks an array that the model was trained on, or has another number of columns."""
        with one_thread():
            arrays = []
            for prepare, track in zip(self.preparations, (spatial, temporal), strict=True):
                _check_arrays(prepare, track)
                arrays.append(prepare(track))
            masks = [torch.from_numpy(np.array(track.mask)) for track in (spatial, temporal)]
            answer = mean_answer(self.models, arrays, masks)
        return metrics.apply_logistic(self.curve, answer.scores.double().numpy() * self.std + self.mean)


def refit(data: Dataset, options: TrainOptions, divided: list[Split], fitted: list[Fitted]) -> Scorer:
    """The head on all videos, for the median of the chosen epochs.

    It is calibrated by the logistic from predictions to labels that was right for videos the models had not seen: each
    video's mean over the splits that tested it.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        ensemble = Ensemble(data, np.arange(len(data.mos)), Head.of(options))
        epoch = int(np.median([result.epoch for result in fitted]))
        ensemble.train(divided[0].seed, options.members, parse_loss(options.loss), options.epochs, epoch)
    tested = np.unique(np.concatenate([split.test for split in divided]))
    unseen = np.einsum("sn,sn->n", np.stack([r.predicted for r in fitted]), tested_share(len(data.mos), divided))
    curve = metrics.fit_logistic(unseen[tested], data.mos[tested])
    return Scorer(options, ensemble.preparations, ensemble.models, ensemble.shapes, ensemble.mean, ensemble.std, curve)


def save(scorer: Scorer, run: Path) -> None:
    tensors: dict[str, np.ndarray] = {}
    for number, prepare in enumerate(scorer.preparations):
        for name, squash in prepare.squash.items():
            tensors |= {f"prepare.{number}.{name}.{field}": getattr(squash, field) for field in SQUASH}
        tensors |= {f"basis.{number}.{level}": basis for level, basis in prepare.basis.items()}
    for number, model in enumerate(scorer.models):
        tensors |= {f"member.{number}.{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    about = {
        "format_version": FORMAT_VERSION,
        "options": asdict(scorer.options),
        "shapes": scorer.shapes,
        "mean": scorer.mean,
        "std": scorer.std,
        "curve": None if scorer.curve is None else list(scorer.curve),
    }
    aside = run / f".{FILE}.part"
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(contiguous, aside, metadata={"about": json.dumps(about)})
    aside.replace(run / FILE)


def load(run: Path) -> Scorer:
    """The model of a run; UsageError where it has none, or one that a newer program wrote."""
    path = run / FILE
    if not path.is_file():
        raise UsageError(f"{run} has no {FILE}; vqa-fuse train writes one at its end, ablate and baselines have none")
    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dictionary
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read ({error}); train again") from None
    if about["format_version"] > FORMAT_VERSION:
        raise UsageError(
            f"{path} has format version {about['format_version']}, and this program reads {FORMAT_VERSION}"
        )
    options = TrainOptions(**about["options"])
    shapes = [{name: tuple(shape) for name, shape in track.items()} for track in about["shapes"]]
    preparations = []
    for number, track in enumerate(shapes):
        squash = {name: Squash(*(tensors[f"prepare.{number}.{name}.{field}"] for field in SQUASH)) for name in track}
        start = f"basis.{number}."
        basis = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
        preparations.append(Preparation(squash, basis))
    models = []
    for member in range(options.members):
        start = f"member.{member}."
        with torch.random.fork_rng(devices=[]):
            model = Head.of(options).build(*shapes).eval()
        state = {name.removeprefix(start): torch.from_numpy(t) for name, t in tensors.items() if name.startswith(start)}
        model.load_state_dict(state)
        models.append(model)
    curve = None if about["curve"] is None else np.array(about["curve"])
    return Scorer(options, preparations, models, shapes, about["mean"], about["std"], curve)


def _check_arrays(prepare: Preparation, track: Features) -> None:
    for name, squash in prepare.squash.items():
        if name not in track.arrays:
            raise UsageError(
                f"{track.path} has no array {name}, which the model was trained on; it has {', '.join(track.arrays)}"
            )
        columns = track.arrays[name].shape[2]
        if columns != len(squash.fill):
            raise UsageError(f"{track.path}: {name} has {columns} columns, the model knows {len(squash.fill)}")
