"""`VideoDataset`: features and labels of videos for `torch.utils.data.DataLoader`.

Dimensions: B videos, T frames of the longest of them, D columns.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

Item = tuple[Tensor, Tensor]
"""The features of a video, [D] or [T, D], and its label, both in float32."""


class VideoDataset(Dataset[Item]):
    """Items ``(features, mos)``: of a video its features, [D] or [T, D], and its label, []."""

    def __init__(
        self,
        features: Sequence[Float32[np.ndarray, "... D"]],
        mos: Float[np.ndarray, " videos"],
    ) -> None:
        self._features = [torch.from_numpy(each) for each in features]
        self._mos = torch.from_numpy(mos.astype(np.float32))

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, number: int) -> Item:
        return self._features[number], self._mos[number]

    @staticmethod
    def padded(
        items: Sequence[Item],
    ) -> tuple[Float[Tensor, "B T D"], Bool[Tensor, "B T"], Float[Tensor, " B"]]:
        """A batch of videos with different numbers of frames, for ``DataLoader(collate_fn=…)``:
        features with zeros behind the shorter ones, true where there is a frame, labels.
        """
        features = [each for each, _ in items]
        lengths = torch.tensor([len(each) for each in features])
        mask = torch.arange(int(lengths.max())) < lengths[:, None]
        labels = torch.stack([mos for _, mos in items])
        return pad_sequence(features, batch_first=True), mask, labels
