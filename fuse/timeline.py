"""A score for every so many seconds of a video: the same networks look at a frame (or a clip) of
each interval, and the model scores each as if it were the whole video.

The score of the video itself stays the one of the model's own sampler, which it was trained with.
"""

from __future__ import annotations

from dataclasses import replace

from vqa_twostage.fuse.learning.scorer import Training
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.identity import TrackIdentity
from vqa_twostage.pipeline.spec import Spec


def sampled_every(seconds: float, training: Training) -> Training:
    """``training`` as if on frames at 0, ``seconds``, 2 ``seconds`` …; a model of clips looks at a
    clip from each of these moments on.
    """
    return replace(
        training,
        tracks=training.tracks.map(lambda side: [_sampled_every(seconds, each) for each in side]),
    )


def _sampled_every(seconds: float, identity: TrackIdentity) -> TrackIdentity:
    options = {"rate": repr(1 / seconds)}
    name = "fps"
    if identity.sampler.name == "clips":
        name, options = "clips", {**identity.sampler.options, **options}
    sampler = spec.resolve("extract.samplers", str(Spec(name, options)))
    return replace(
        identity,
        sampler=sampler.portable_spec,
        sampler_version=sampler.version,
        sampler_digest="",
    )
