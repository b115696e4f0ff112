"""The weights that a head used, as tables: attention over frames, gates, the use of experts, and
what each track decided.

Dimensions: N videos, T frames of a track, F frames of one video, G gates, S splits.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from vqa_twostage.fuse.data import Dataset, Features, frames_of
from vqa_twostage.fuse.learning import track_weights
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.splits import Split
from vqa_twostage.fuse.streams import Streams


def attention_table(
    data: Dataset, splits: list[Split], fitted: list[Fitted]
) -> pd.DataFrame | None:
    """A row for each frame of the spatial track: ``id, timestamp, spatial, temporal, importance``
    (the mean of both).

    ``spatial`` and ``temporal`` sum to 1 over the frames of a video: the mean over those splits in
    which it was in the test part, or over all where it was in none. A frame of a temporal track
    that was sampled at other times counts for the nearest row. None where all frames count alike.
    """
    split_weights = test_split_weights(len(data.manifest.rows), splits)
    weights = Streams(
        np.stack([result.weights.spatial for result in fitted]),
        np.stack([result.weights.temporal for result in fitted]),
    ).map(lambda stream: np.einsum("snt,sn->nt", stream.astype(np.float64), split_weights))
    frames = data.features.map(frames_of)
    if all(_uniform(*pair) for pair in weights.zip(frames)):
        return None
    tables = []
    for row in range(len(data.manifest.rows)):
        times, of_frames = _at(row, frames, weights)
        tables.append(np.stack([times, of_frames.spatial, of_frames.temporal]))
    times, spatial, temporal = np.hstack(tables)
    ids = np.repeat(data.manifest.rows["id"].to_numpy(), [table.shape[1] for table in tables])
    columns = {
        "timestamp": times,
        "spatial": spatial,
        "temporal": temporal,
        "importance": (spatial + temporal) / 2,
    }
    return pd.DataFrame({"id": ids, **columns})


def gates_table(data: Dataset, splits: list[Split], fitted: list[Fitted]) -> pd.DataFrame | None:
    """A row a video: ``id, mos, <gate>.0, <gate>.1, …``, averaged as in `attention_table`, and the
    weights of tracks as ``track.<name>``; None where there is neither.
    """
    if not fitted[0].gates:
        return None
    split_weights = test_split_weights(len(data.manifest.rows), splits)
    columns: dict[str, Float[np.ndarray, " N"]] = {}
    for name in fitted[0].gates:
        gates = np.stack([result.gates[name] for result in fitted]).astype(np.float64)
        gate = np.einsum("sng,sn->ng", gates, split_weights)
        of_tracks = name == track_weights.NAME
        labels = track_weights.labels_of(data) if of_tracks else range(gate.shape[1])
        columns |= {
            f"{name}.{label}": of_gate for label, of_gate in zip(labels, gate.T, strict=True)
        }
    return pd.DataFrame(
        {"id": data.manifest.rows["id"], "mos": data.manifest.rows["mos"], **columns}
    )


def test_split_weights(videos: int, splits: list[Split]) -> Float[np.ndarray, "S N"]:
    """The weight of each split for each video, 1 over the splits: equal for those that tested the
    video, or for all where none did.
    """
    weights = np.zeros((len(splits), videos))
    for number, split in enumerate(splits):
        weights[number, split.test] = 1
    weights[:, ~weights.any(axis=0)] = 1
    return weights / weights.sum(axis=0)


def _uniform(weights: Float[np.ndarray, "N T"], track: Features) -> bool:
    return bool(np.abs(weights - track.frame_shares()).max() < 1e-6)


def _at(
    row: int, features: Streams[Features], weights: Streams[Float[np.ndarray, "N _"]]
) -> tuple[Float[np.ndarray, " F"], Streams[Float[np.ndarray, " F"]]]:
    """The times of the spatial frames of one video, and the weights of both streams at them."""
    times = features.map(lambda track: track.timestamp[row, track.mask[row]])
    spatial, temporal = weights.map(lambda stream, track: stream[row, track.mask[row]], features)
    if not np.array_equal(times.spatial, times.temporal):
        nearest = abs(times.spatial[:, None] - times.temporal).argmin(axis=0)
        temporal = np.bincount(nearest, temporal, len(times.spatial))
    # divided, because the models' own sums are of float32 and 1 in their first digits only
    return times.spatial, Streams(spatial / spatial.sum(), temporal / temporal.sum())
