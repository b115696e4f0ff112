"""What must not be in the features that a head is trained on: its labels."""

from __future__ import annotations

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.opinions import require_others
from vqa_twostage.fuse.options import TrainOptions


def check_leakage(data: Dataset, options: TrainOptions) -> None:
    """UsageError where features learnt from the opinions of the dataset, unless ``options`` allow
    it by name.
    """
    tracks = (data.spatial, data.temporal)
    opinions = {track.path.stem: track.identity.opinions for track in tracks}
    require_others(data.manifest.name, opinions, options.allow_trained_on)
