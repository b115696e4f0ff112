"""No-reference video quality assessment in two stages: frozen features once, light heads in
seconds.

``import vqa_twostage as vqa`` offers the functions that the commands are made of, with their
options and results; each is loaded when it is first used, so that importing takes no time::

    import vqa_twostage as vqa

    print(vqa.score("clip.mp4")[0].score)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from vqa_twostage.extract.options import ExtractOptions as ExtractOptions
    from vqa_twostage.extract.results import Extraction as Extraction
    from vqa_twostage.extract.run import extract_dataset as extract_dataset
    from vqa_twostage.fuse.ablate import ablate as ablate
    from vqa_twostage.fuse.compare import compare as compare
    from vqa_twostage.fuse.evaluate import evaluate as evaluate
    from vqa_twostage.fuse.features import DatasetFeatures as DatasetFeatures
    from vqa_twostage.fuse.features import features as features
    from vqa_twostage.fuse.head_regressor import HeadRegressor as HeadRegressor
    from vqa_twostage.fuse.learning_curve import learning_curve as learning_curve
    from vqa_twostage.fuse.options import TrainOptions as TrainOptions
    from vqa_twostage.fuse.reproduce import reproduce_run as reproduce_run
    from vqa_twostage.fuse.results import AblationResult as AblationResult
    from vqa_twostage.fuse.results import Comparison as Comparison
    from vqa_twostage.fuse.results import Evaluation as Evaluation
    from vqa_twostage.fuse.results import LearningCurve as LearningCurve
    from vqa_twostage.fuse.results import Reproduction as Reproduction
    from vqa_twostage.fuse.score import load as load
    from vqa_twostage.fuse.score import score as score
    from vqa_twostage.fuse.train import train as train
    from vqa_twostage.fuse.video_score import Score as Score
    from vqa_twostage.fuse.watch import watch as watch
    from vqa_twostage.pipeline.datasets.loading import load_manifest as load_manifest
    from vqa_twostage.pipeline.datasets.manifest import Manifest as Manifest
    from vqa_twostage.pipeline.errors import UsageError as UsageError

# name -> the module that owns it
_OWNERS = {
    "AblationResult": "fuse.results",
    "Comparison": "fuse.results",
    "DatasetFeatures": "fuse.features",
    "Evaluation": "fuse.results",
    "ExtractOptions": "extract.options",
    "Extraction": "extract.results",
    "HeadRegressor": "fuse.head_regressor",
    "LearningCurve": "fuse.results",
    "Manifest": "pipeline.datasets.manifest",
    "Reproduction": "fuse.results",
    "Score": "fuse.video_score",
    "TrainOptions": "fuse.options",
    "UsageError": "pipeline.errors",
    "ablate": "fuse.ablate",
    "compare": "fuse.compare",
    "evaluate": "fuse.evaluate",
    "extract_dataset": "extract.run",
    "features": "fuse.features",
    "learning_curve": "fuse.learning_curve",
    "load": "fuse.score",
    "load_manifest": "pipeline.datasets.loading",
    "reproduce_run": "fuse.reproduce",
    "score": "fuse.score",
    "train": "fuse.train",
    "watch": "fuse.watch",
}
__all__ = ["__version__", *_OWNERS]


def __getattr__(name: str) -> Any:
    if name not in _OWNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_OWNERS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
