"""What a head weighed, as tables: attention over frames, gates, the use of experts. To look at, and
for samplers.

Letters: N videos, T frames of the spatial track, U of the temporal one, S splits.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float

from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.learning.fit import Fitted
from vqa_twostage.fuse.splits import Split


def attention_table(
    data: Dataset, divided: list[Split], fitted: list[Fitted]
) -> pd.DataFrame | None:
    """A row for each frame of the spatial track: ``id, timestamp, spatial, temporal, importance``
    (the mean of both).

    ``spatial`` and ``temporal`` are 1 in all for a video: the mean over those splits in which it
    was in the test part, or over all where it was in none. A frame of a temporal track that was
    sampled at other times counts for the nearest row. None where no frame counts more than another.
    """
    share = tested_share(len(data.manifest.rows), divided)
    streams = [
        np.einsum("snt,sn->nt", np.stack(weights).astype(np.float64), share)
        for weights in zip(
            *((result.spatial_weights, result.temporal_weights) for result in fitted), strict=True
        )
    ]
    tracks = data.spatial, data.temporal
    pairs = zip(streams, tracks, strict=True)
    uniform = (np.abs(stream - track.mask / track.mask.sum(1)[:, None]) for stream, track in pairs)
    if all(difference.max() < 1e-6 for difference in uniform):
        return None
    tables = []
    for row in range(len(data.manifest.rows)):
        (when, spatial), (other, temporal) = (
            (track.timestamp[row, track.mask[row]], stream[row, track.mask[row]])
            for track, stream in zip(tracks, streams, strict=True)
        )
        if not np.array_equal(when, other):
            temporal = np.bincount(abs(when[:, None] - other).argmin(axis=0), temporal, len(when))
        # 1 in all to the last digits: the models' own sums are of float32
        tables.append(np.stack([when, spatial / spatial.sum(), temporal / temporal.sum()]))
    when, spatial, temporal = np.hstack(tables)
    ids = np.repeat(data.manifest.rows["id"].to_numpy(), [table.shape[1] for table in tables])
    columns = {
        "timestamp": when,
        "spatial": spatial,
        "temporal": temporal,
        "importance": (spatial + temporal) / 2,
    }
    return pd.DataFrame({"id": ids, **columns})


def gates_table(data: Dataset, divided: list[Split], fitted: list[Fitted]) -> pd.DataFrame | None:
    """A row a video: ``id, mos, <gate>.0, <gate>.1, …``, averaged as in `attention_table`; None
    without gates.
    """
    if not fitted[0].gates:
        return None
    share = tested_share(len(data.manifest.rows), divided)
    columns: dict[str, Float[np.ndarray, " N"]] = {}
    for name in fitted[0].gates:
        gate = np.einsum(
            "sng,sn->ng",
            np.stack([result.gates[name] for result in fitted]).astype(np.float64),
            share,
        )
        columns |= {f"{name}.{number}": gate[:, number] for number in range(gate.shape[1])}
    return pd.DataFrame(
        {"id": data.manifest.rows["id"], "mos": data.manifest.rows["mos"], **columns}
    )


def tested_share(videos: int, divided: list[Split]) -> Float[np.ndarray, "S N"]:
    """How much each split counts for each video: those that tested it alike, or all alike where
    none did.
    """
    share = np.zeros((len(divided), videos))
    for number, split in enumerate(divided):
        share[number, split.test] = 1
    share[:, ~share.any(axis=0)] = 1
    return share / share.sum(axis=0)
