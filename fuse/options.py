"""Options of training, each default once; the command line and the API share it. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.ray_cluster import Workers

# what makes a head, and what training takes from the run that it starts from
OF_HEAD = ("fusion", "pooling", "temporal_pooling", "temporal_encoder", "members")
OF_SOURCE = (*OF_HEAD, "spatial", "temporal", "baseline")
# marks an option that came after records were written without it: they mean its default, or what
# is given as "before"
ADDED = {"added": True}


@dataclass(frozen=True)
class TrainOptions:
    """Which head, on which features and splits, by which recipe. Specs are ``name:key=value,…``.

    UsageError where a value is of the wrong type or out of range.
    """

    fusion: str = "dynamic"
    """Spec of how spatial and temporal features meet."""
    pooling: str = "avg"
    """Spec: stored arrays to one token a level."""
    temporal_pooling: str | None = None
    """The same of the temporal track; None is that of the spatial one."""
    temporal_encoder: str = "mean"
    """Spec: tokens of frames to one vector."""
    loss: str = "smooth_l1+plcc+group"
    """Losses joined by ``+``."""
    average_with: str = field(default="ridge,kernel_ridge", metadata={**ADDED, "before": "none"})
    """Specs of regressors in closed form (``fuse/closed_form``), joined by commas, whose scores are
    averaged with those of the networks; ``none`` is the networks alone."""
    protocol: str = "random:n=10"
    """Spec of how videos are divided."""
    spatial: Sequence[str] | None = None
    """Which spatial tracks, ``all`` for every one; None is the only one in the cache. A single one
    may be a plain string. Always kept as a tuple."""
    temporal: Sequence[str] | None = None
    """Which temporal tracks; None is the only one in the cache, or none."""
    seed: int = 0
    """Added to every seed."""
    epochs: int | None = None
    """None is what the recipe has for so many videos (`fuse.learning.recipe`)."""
    members: int = 5
    """Models whose scores are averaged."""
    oracle_epoch: bool = False
    """Whether to report also the SRCC that choosing the epoch on the test part would have given."""
    baseline: str | None = None
    """Instead of a head: a file of ``fuse/baselines``."""
    allow_trained_on: str | None = field(default=None, metadata=ADDED)
    """The dataset itself, where features that learnt from its opinions are to be used."""
    allow_label_like: str | None = field(default=None, metadata=ADDED)
    """Columns that rank the videos as the labels do and are to be used: ``scores/mean[3]``, joined
    by commas (`fuse.leakage`)."""
    joint_with: Sequence[str] | None = field(default=None, metadata=ADDED)
    """Other datasets in the cache that the heads are trained on as well (`fuse.joint`)."""
    labels: int = field(default=100, metadata=ADDED)
    """Percent of a split's training and validation videos whose labels are used; the test part
    stays as it is (`fuse.splits.labelled`)."""
    start_from: str | None = field(default=None, metadata=ADDED)
    """The folder of a run whose heads training starts from; ``--from``. None is random weights."""
    tune: str = field(default="all", metadata=ADDED)
    """What is trained of heads that were started: ``all``, or the ``last`` layer."""
    axes: Sequence[str] | None = field(default=None, metadata=ADDED)
    """Further labels of the dataset that are learnt with the main one, each with an output of its
    own (`fuse.learning.labels`); None is the main one alone."""
    preparation: str = field(default="auto", metadata=ADDED)
    """Whether features are prepared with statistics of the run that training starts from, ``kept``,
    or of the new training part, ``refitted``; ``auto`` refits where that part is large enough."""

    def __post_init__(self) -> None:
        for kind in ("spatial", "temporal", "joint_with", "axes"):
            wanted = getattr(self, kind)
            if isinstance(wanted, str):
                object.__setattr__(self, kind, (wanted,))
            elif isinstance(wanted, Sequence):
                object.__setattr__(self, kind, tuple(wanted) or None)
        for option in fields(self):
            value, annotation = getattr(self, option.name), str(option.type)
            if not _valid(option.name, annotation, value):
                kinds = _wanted(option.name, annotation)
                raise UsageError(f"{option.name} must be {kinds}, not {value!r}")
        if len({*(self.axes or ())}) < len(self.axes or ()):
            raise UsageError(f"axes names one twice: {', '.join(self.axes or ())}; name each once")
        for name, choices in CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise UsageError(f"{name} must be {listed}, not {value!r}")

    @property
    def keeps_model(self) -> bool:
        """Whether a run ends with a model for scoring: not a baseline, nor a head that is trained
        on a part of the labels in each split.
        """
        return self.baseline is None and self.labels == 100

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, object], where: str) -> TrainOptions:
        """Options by name; UsageError, which says ``where`` they are from, for any other name."""
        names = [field.name for field in fields(cls)]
        if unknown := [str(name) for name in mapping if name not in names]:
            raise UsageError(
                f"{where}: unknown option {', '.join(unknown)}; options are {', '.join(names)}"
            )
        try:
            return cls(**mapping)  # type: ignore[arg-type]  # __post_init__ checks every type
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None


@dataclass(frozen=True)
class Resources:
    """What a training may take of the machine; changes no result."""

    workers: Workers = 1
    """Processes that fit splits side by side, or a Ray cluster."""
    max_ram: int | None = None
    """Features of more than so many bytes stay in the cache and are read in blocks; None is a
    quarter of the machine's memory."""


LOWEST = {"seed": 0, "epochs": 1, "members": 1, "labels": 1}
HIGHEST = {"labels": 100}
CHOICES = {"tune": ("all", "last"), "preparation": ("auto", "kept", "refitted")}
TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a string"),
    "str | None": ((str, type(None)), "a string or None"),
    "Sequence[str] | None": ((tuple, type(None)), "a name, several, or None"),
    "int": ((int,), "a whole number"),
    "int | None": ((int, type(None)), "a whole number"),
    "bool": ((bool,), "True or False"),
}


def _valid(name: str, annotation: str, value: object) -> bool:
    types, _ = TYPES[annotation]
    if isinstance(value, bool) and bool not in types:
        return False
    if isinstance(value, int) and name in LOWEST:
        return LOWEST[name] <= value <= HIGHEST.get(name, value)
    if isinstance(value, tuple) and not all(isinstance(item, str) for item in value):
        return False
    return isinstance(value, types)


def _wanted(name: str, annotation: str) -> str:
    kind = TYPES[annotation][1]
    if name not in LOWEST:
        return kind
    most = f" and at most {HIGHEST[name]}" if name in HIGHEST else ""
    return f"{kind} of at least {LOWEST[name]}{most}" + ", or None" * annotation.endswith("| None")
