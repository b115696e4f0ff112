"""The model that a run ends with: refitted on all videos, calibrated to the dataset's scale, saved
as safetensors.

The file alone is enough to score a video: it says which features the model reads, by their whole
identity, what its scale means, and what it was trained on. Letters: N videos, T frames.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vqa_twostage.fuse import metrics
from vqa_twostage.fuse.data import Dataset, Features
from vqa_twostage.fuse.learning.attention import tested_share
from vqa_twostage.fuse.learning.fit import Ensemble, Fitted, mean_answer, one_thread
from vqa_twostage.fuse.learning.losses import parse_loss
from vqa_twostage.fuse.learning.model import Answer, Head, QualityModel
from vqa_twostage.fuse.learning.novelty import PERCENTILES, Familiar
from vqa_twostage.fuse.learning.prepare import Preparation, Squash
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.splits import Split
from vqa_twostage.pipeline.errors import UsageError, require
from vqa_twostage.pipeline.features import ArrayName
from vqa_twostage.pipeline.identity import TrackIdentity

FILE = "model.safetensors"
# 2: with what it was trained on; files of version 1 are read, and lack it
FORMAT_VERSION = 2
SQUASH = ("fill", "scale", "mean", "std", "keep")
CALIBRATED_FROM = 20  # tested videos
LARGEST = 10_000_000  # values of one prepared array a frame
FAMILIAR = ("mean", "std", "distances")
TOLD = ("dataset", "title", "label", "scale", "better", "videos", "tracks")


@dataclass(frozen=True)
class Training:
    """What a model was trained on. ``tracks``: identities of the spatial and the temporal features.

    ``label``, ``scale`` and ``better`` are the manifest's, ``mos`` the percentiles 0 to 100 of its
    N labels.
    """

    dataset: str
    title: str
    label: str
    scale: tuple[float, float]
    better: str
    videos: int
    tracks: list[TrackIdentity]
    mos: Float[np.ndarray, " 101"]
    familiar: Familiar


@dataclass(frozen=True)
class Scorer:
    """Features in, scores on the scale of the training labels out. ``curve``: the logistic of
    `fuse.metrics`, or None.

    ``shapes``: of each track's arrays, once prepared. ``training`` is None in files of version 1.
    """

    options: TrainOptions
    preparations: list[Preparation]
    models: list[QualityModel]
    shapes: list[dict[str, tuple[int, ...]]]
    mean: float
    std: float
    curve: Float[np.ndarray, " 4"] | None
    training: Training | None = None

    @property
    def reads(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Which statistics of the spatial and of the temporal track."""
        return Head.of(self.options).reads

    def scores(self, spatial: Features, temporal: Features) -> Float[np.ndarray, " N"]:
        """UsageError where a track lacks an array that the model was trained on, or has another
        number of columns.
        """
        return self.looked(spatial, temporal)[0]

    def looked(
        self, spatial: Features, temporal: Features
    ) -> tuple[Float[np.ndarray, " N"], Answer, Float[np.ndarray, " N"]]:
        """Scores, what was weighed, and how far each video is from the training videos (NaN where
        that is unknown).
        """
        with one_thread():
            arrays = []
            for prepare, track in zip(self.preparations, (spatial, temporal), strict=True):
                _check_arrays(prepare, track)
                arrays.append(prepare(track))
            masks = [torch.from_numpy(np.array(track.mask)) for track in (spatial, temporal)]
            answer = mean_answer(self.models, arrays, masks)
            unknown = np.full(len(masks[0]), np.nan)
            far = (
                unknown if self.training is None else self.training.familiar.distance(arrays, masks)
            )
        return (
            metrics.apply_logistic(
                self.curve, answer.scores.double().numpy() * self.std + self.mean
            ),
            answer,
            far,
        )


def refit(
    data: Dataset, options: TrainOptions, divided: list[Split], fitted: list[Fitted]
) -> Scorer:
    """The head on all videos, for the median of the chosen epochs.

    It is calibrated by the logistic from predictions to labels that was right for videos the models
    had not seen: each video's mean over the splits that tested it.
    """
    with one_thread(), torch.random.fork_rng(devices=[]):
        ensemble = Ensemble(data, np.arange(len(data.mos)), Head.of(options), compact=True)
        epoch = int(np.median([result.epoch for result in fitted]))
        ensemble.train(
            divided[0].seed, options.members, parse_loss(options.loss), options.epochs, epoch
        )
    tested = np.unique(np.concatenate([split.test for split in divided]))
    unseen = np.einsum(
        "sn,sn->n", np.stack([r.predicted for r in fitted]), tested_share(len(data.mos), divided)
    )
    # of few videos it would be a step through chance
    curve = (
        metrics.fit_logistic(unseen[tested], data.mos[tested])
        if len(tested) >= CALIBRATED_FROM
        else None
    )
    manifest = data.manifest
    training = Training(
        *(
            manifest.name,
            manifest.title,
            manifest.label,
            manifest.scale,
            manifest.better,
            len(data.mos),
        ),
        tracks=[data.spatial.identity, data.temporal.identity],
        mos=np.percentile(data.mos, PERCENTILES),
        familiar=Familiar.fit(ensemble.arrays, ensemble.masks),
    )
    trained = ensemble.preparations, ensemble.models, ensemble.shapes, ensemble.mean, ensemble.std
    return Scorer(options, *trained, curve, training)


def save(scorer: Scorer, run: Path) -> None:
    tensors: dict[str, np.ndarray] = {}
    for number, prepare in enumerate(scorer.preparations):
        for name, squash in prepare.squash.items():
            # as they are used
            tensors |= {
                f"prepare.{number}.{name}.{field}": getattr(squash, field).astype("f4")
                for field in SQUASH
            }
        tensors |= {f"basis.{number}.{level}": basis for level, basis in prepare.basis.items()}
    for number, model in enumerate(scorer.models):
        tensors |= {
            f"member.{number}.{name}": tensor.numpy() for name, tensor in model.state_dict().items()
        }
    training = scorer.training
    assert training is not None
    tensors |= {f"training.{name}": getattr(training.familiar, name) for name in FAMILIAR} | {
        "training.mos": training.mos
    }
    about = {
        "format_version": FORMAT_VERSION,
        "options": asdict(scorer.options),
        "shapes": scorer.shapes,
        "mean": scorer.mean,
        "std": scorer.std,
        "curve": None if scorer.curve is None else list(scorer.curve),
        "training": {
            **{name: getattr(training, name) for name in TOLD},
            "tracks": [track.to_json() for track in training.tracks],
        },
    }
    aside = run / f".{FILE}.part"
    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    save_file(contiguous, aside, metadata={"about": json.dumps(about)})
    aside.chmod(0o644)  # safetensors makes private files; a run is shared with colleagues
    aside.replace(run / FILE)


def load(run: Path) -> Scorer:
    """The model of a run; UsageError where it has none, or one that a newer program wrote."""
    return load_file(run / FILE)


def load_file(path: Path) -> Scorer:
    """The model in one file; raises as `load` does."""
    run = path.parent
    require(
        run.exists(),
        f"{run} does not exist; give a run of vqa-fuse train, or a folder of vqa-fuse export",
    )
    if not path.is_file():
        raise UsageError(
            f"{run} has no {FILE}; vqa-fuse train writes one at its end, ablate and baselines have "
            "none"
        )
    try:
        with safe_open(path, framework="numpy") as file:
            about: dict[str, Any] = json.loads(file.metadata()["about"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no dictionary
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UsageError(f"{path} cannot be read ({error}); train again") from None
    require(isinstance(about, dict), f"{path} is no model of this program")
    version = about.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(
            f"{path} has format version {version}, and this program reads {FORMAT_VERSION}"
        )
    try:
        return _built(about, tensors)
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file may lack anything, or hold anything
        raise UsageError(
            f"{path} is damaged ({type(error).__name__}: {error}); train again"
        ) from None


def _built(about: dict[str, Any], tensors: dict[str, np.ndarray]) -> Scorer:
    """The model that a file describes; any exception where it does not."""
    options = TrainOptions(**about["options"])
    shapes = [{name: tuple(shape) for name, shape in track.items()} for track in about["shapes"]]
    for number, track in enumerate(shapes):  # before anything is built of these sizes
        for name, shape in track.items():
            most = len(tensors[f"prepare.{number}.{name}.fill"])
            require(
                0 < shape[0] <= most and math.prod(shape) <= LARGEST,
                f"the model's {name} is of no sensible size",
            )
    require(
        0 < options.members <= 100 and len(shapes) == 2,
        "the model has no sensible number of members or tracks",
    )
    preparations = []
    for number, track in enumerate(shapes):
        squash = {
            name: Squash(*(tensors[f"prepare.{number}.{name}.{field}"] for field in SQUASH))
            for name in track
        }
        start = f"basis.{number}."
        basis = {
            name.removeprefix(start): tensor
            for name, tensor in tensors.items()
            if name.startswith(start)
        }
        preparations.append(Preparation(squash, basis))
    models = []
    for member in range(options.members):
        start = f"member.{member}."
        with torch.random.fork_rng(devices=[]):
            model = Head.of(options).build(*shapes).eval()
        state = {
            name.removeprefix(start): torch.from_numpy(t)
            for name, t in tensors.items()
            if name.startswith(start)
        }
        model.load_state_dict(state)
        models.append(model)
    curve = None if about["curve"] is None else np.array(about["curve"])
    scorer = Scorer(options, preparations, models, shapes, about["mean"], about["std"], curve)
    if "training" not in about:
        return scorer
    told = {
        **about["training"],
        "scale": tuple(about["training"]["scale"]),
        "tracks": [
            TrackIdentity.from_json(track, "the model") for track in about["training"]["tracks"]
        ],
    }
    familiar = Familiar(*(tensors[f"training.{name}"] for name in FAMILIAR))
    return replace(
        scorer, training=Training(**told, mos=tensors["training.mos"], familiar=familiar)
    )


def _check_arrays(prepare: Preparation, track: Features) -> None:
    for name, squash in prepare.squash.items():
        if name not in track.arrays:
            raise UsageError(
                f"{track.path} has no array {name}, which the model was trained on; it has "
                f"{', '.join(track.arrays)}"
            )
        columns = track.arrays[ArrayName(name)].shape[2]
        if columns != len(squash.fill):
            raise UsageError(
                f"{track.path}: {name} has {columns} columns, the model knows {len(squash.fill)}"
            )
