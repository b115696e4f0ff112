"""The result of scoring: what `vqa_twostage.fuse.score.score` returns for each video, and what
`vqa-fuse score` prints and draws. No torch here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import groupby
from typing import Any

from vqa_twostage.fuse.notebook_display import ShownInNotebooks


@dataclass(frozen=True)
class Frame:
    """A sampled frame of a scored video, or the first frame of a sampled clip."""

    index: int
    """Its number in the video."""
    time: float
    """When it is shown, in seconds."""
    score: float | None
    """The score of this frame as if it were the whole video; None where the spatial and the
    temporal track hold different frames."""
    weight: float
    """Its share in the score of the video; the weights of all frames sum to 1."""


@dataclass(frozen=True)
class Moment:
    """A point of the timeline of a scored video: a frame, or the first frame of a clip."""

    index: int
    """Its number in the video."""
    time: float
    """When it is shown, in seconds."""
    score: float
    """The score as if it were the whole video."""


@dataclass(frozen=True)
class Span:
    """A part of a video whose moments, one after the other, are all worse than a threshold."""

    start: float
    """When it begins, in seconds."""
    end: float
    """When the first moment that is not worse comes, or the video ends."""
    worst: Moment
    """The first of its moments that has their worst score."""


@dataclass(frozen=True)
class Agreement:
    """How the scores of a model agreed with the opinions of viewers on videos new to it."""

    dataset: str
    """Whose videos and opinions."""
    videos: int
    """How many."""
    srcc: float
    """The rank correlation (SRCC) of scores and mean opinion scores; 1 is best."""
    low: float
    """Its 95 % interval, which is wide where the videos are few."""
    high: float


@dataclass(frozen=True)
class AxisScore:
    """The score of a further label, on the scale of its training labels; None where the video has
    no score.
    """

    scale: tuple[float, float]
    """The lowest and the highest value of that scale."""
    better: str
    """Which end of it is better: ``higher`` or ``lower``."""
    score: float | None = None
    percentile: float | None = None
    """The percentage of the training videos, 0 to 100, whose label is below the score."""


@dataclass(frozen=True)
class Score(ShownInNotebooks):
    """The score of one video. Where ``error`` is not empty, there is no score, and the fields up to
    ``frames`` keep their defaults.
    """

    video: str
    digest: str = field(default="", kw_only=True)
    """The first 32 hexadecimal digits of the SHA-256 of the file; empty where it cannot be read."""
    score: float | None = None
    """On the scale of the training labels."""
    error: str = ""
    """Why there is no score."""
    percentile: float | None = None
    """The percentage of the training videos, 0 to 100, whose label is below the score."""
    distance: float | None = None
    """The distance of its features from those of the training videos; 1 is typical."""
    far: bool = False
    """Whether fewer than 1 % of the training videos lie as far out."""
    damage: str = ""
    """What is wrong with a damaged file, which was scored up to the damage."""
    duration: float | None = None
    """Of the video, in seconds; None where its rate is unknown."""
    frames: list[Frame] = field(default_factory=list)
    timeline: list[Moment] = field(default_factory=list)
    """A score for every so many seconds, where they were asked for; none of them has a part in
    ``score``."""
    scale: tuple[float, float] = field(kw_only=True)
    """The lowest and the highest value of the training labels' scale."""
    label: str = field(kw_only=True)
    """What the training labels are: ``opinion``, or which pseudo-MOS."""
    better: str = field(kw_only=True)
    """Which end of the scale is better: ``higher`` or ``lower``."""
    trained_on: str = field(kw_only=True)
    """The title of the dataset that the model was trained on."""
    training_videos: int = field(default=0, kw_only=True)
    """How many videos ``percentile`` is of."""
    worse_than: float | None = field(default=None, kw_only=True)
    """The threshold of `spans`, where one was given."""
    agreement: Agreement | None = field(default=None, kw_only=True)
    """With opinions, where the model's card says it."""
    axes: dict[str, AxisScore] = field(default_factory=dict, kw_only=True)
    """Of further labels, by their names: all that the model has, whether there is a score or not.
    """

    @property
    def worst(self) -> Moment | None:
        """The first moment of the timeline that has its worst score; None without a timeline."""
        return self._worst_of(self.timeline)

    @property
    def spans(self) -> list[Span]:
        """The parts of the timeline that are worse than ``worse_than``, in their order; a moment
        stands for the time until the next one.
        """
        if self.worse_than is None:
            return []
        sign, threshold = self._sign, self.worse_than
        ends = [*(moment.time for moment in self.timeline[1:]), self._end]
        spans = []
        moments = zip(self.timeline, ends, strict=False)
        for worse, part in groupby(moments, lambda each: sign * (each[0].score - threshold) < 0):
            inside = list(part)
            worst = self._worst_of([moment for moment, _ in inside])
            if worse and worst is not None:
                spans.append(Span(inside[0][0].time, inside[-1][1], worst))
        return spans

    @property
    def seconds_worse(self) -> float | None:
        """How long all `spans` are together; None where no threshold or no timeline is there."""
        if self.worse_than is None or not self.timeline:
            return None
        return float(sum(span.end - span.start for span in self.spans))

    @property
    def _end(self) -> float:
        """Of the last moment: the end of the video, or as long after it as between two others where
        the duration is unknown.
        """
        if not self.timeline:
            return 0.0
        last = self.timeline[-1].time
        between = last - self.timeline[-2].time if len(self.timeline) > 1 else 0.0
        return max(last, last + between if self.duration is None else self.duration)

    @property
    def _sign(self) -> int:
        return 1 if self.better == "higher" else -1

    def _worst_of(self, moments: list[Moment]) -> Moment | None:
        return min(moments, key=lambda moment: self._sign * moment.score, default=None)

    def to_json(self) -> dict[str, Any]:
        """One entry of the document of ``vqa-fuse score --json``."""
        worst = self.worst
        axes = {
            name: {**asdict(axis), "scale": list(axis.scale)} for name, axis in self.axes.items()
        }
        return {
            **asdict(self),
            "worst": None if worst is None else asdict(worst),
            "spans": [asdict(span) for span in self.spans],
            "seconds_worse": self.seconds_worse,
            "scale": list(self.scale),
            "axes": axes,
        }
