"""Scores of videos that were not read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vqa_twostage.fuse.video_score import Score


def scored(video: str = "x.mp4", value: float = 3.0, **changes: Any) -> Score:
    score = Score(
        video,
        score=value,
        percentile=50.0,
        distance=1.0,
        scale=(1.0, 5.0),
        label="MOS",
        better="higher",
        trained_on="D",
    )
    return replace(score, **changes)
