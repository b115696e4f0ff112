"""SlowFast-R50 8x8 (Feichtenhofer et al., ICCV 2019): a slow pathway on few frames, a fast and thin
one on all.

After the stem and each stage but the last, the fast pathway's maps are strided down in time and put
beside the slow one's. The classifier is left out. Modules carry the names of PyTorchVideo's
``slowfast_r50``, whose state dict loads.

Dimensions: B clips of N frames, S side of the input in pixels, C channels, t, h, w of a map.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

ALPHA = 4  # frames of the fast pathway for one of the slow
BETA = 8  # channels of the slow pathway for one of the fast
DEPTHS = (3, 4, 6, 3)

Map = Float[Tensor, "B C t h w"]


def slow_frames(frames: int) -> list[int]:
    """Which of a clip's frames the slow pathway sees: one in `ALPHA`, from the first to the last,
    rounded down.
    """
    count = frames // ALPHA
    return [number * (frames - 1) // max(1, count - 1) for number in range(count)]


class SlowFast(nn.Module):
    """A clip of N frames, a multiple of 4, to the last maps of both pathways: N/4 and N frames,
    stride 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [Pathways(_stem(64, time=1), _stem(64 // BETA, time=5), fused=64 // BETA)]
        )
        before, width = 64, 256
        for number, depth in enumerate(DEPTHS):
            stride = 1 if number == 0 else 2
            # what was fused in: twice the channels of the fast pathway
            slow = _stage(
                depth, before + 2 * before // BETA, width, stride, time=1 if number < 2 else 3
            )
            fast = _stage(depth, before // BETA, width // BETA, stride, time=3)
            self.blocks.append(
                Pathways(slow, fast, fused=0 if number == len(DEPTHS) - 1 else width // BETA)
            )
            before, width = width, 2 * width

    def forward(
        self, clips: Float[Tensor, "B 3 N S S"]
    ) -> tuple[Float[Tensor, "B slow n h w"], Float[Tensor, "B fast N h w"]]:
        slow, fast = clips[:, :, slow_frames(clips.shape[2])], clips
        for block in self.blocks:
            slow, fast = block(slow, fast)
        return slow, fast


class Pathways(nn.Module):
    """One step of both pathways; where ``fused`` is not 0, the fast maps, that many channels, then
    join the slow.
    """

    def __init__(self, slow: nn.Module, fast: nn.Module, fused: int) -> None:
        super().__init__()
        self.multipathway_blocks = nn.ModuleList([slow, fast])
        self.multipathway_fusion = None
        if fused:
            conv = nn.Conv3d(
                fused, 2 * fused, (7, 1, 1), stride=(ALPHA, 1, 1), padding=(3, 0, 0), bias=False
            )
            layers = OrderedDict(
                conv_fast_to_slow=conv, norm=nn.BatchNorm3d(2 * fused), activation=nn.ReLU()
            )
            self.multipathway_fusion = nn.Sequential(layers)

    def forward(
        self, slow: Float[Tensor, "B c n h w"], fast: Float[Tensor, "B d N h w"]
    ) -> tuple[Float[Tensor, "B C n i j"], Float[Tensor, "B D N i j"]]:
        slow, fast = (
            block(maps) for block, maps in zip(self.multipathway_blocks, (slow, fast), strict=True)
        )
        if self.multipathway_fusion is not None:
            slow = torch.cat([slow, self.multipathway_fusion(fast)], dim=1)
        return slow, fast


class Residual(nn.Module):
    """A bottleneck whose first convolution sees ``time`` frames, and its shortcut, projected where
    shapes differ.
    """

    def __init__(self, before: int, after: int, stride: int, time: int) -> None:
        super().__init__()
        self.branch1_conv = self.branch1_norm = None
        if before != after or stride != 1:
            self.branch1_conv = nn.Conv3d(before, after, 1, stride=(1, stride, stride), bias=False)
            self.branch1_norm = nn.BatchNorm3d(after)
        inner = after // 4
        self.branch2 = nn.Sequential(
            OrderedDict(
                conv_a=nn.Conv3d(
                    before, inner, (time, 1, 1), padding=(time // 2, 0, 0), bias=False
                ),
                norm_a=nn.BatchNorm3d(inner),
                act_a=nn.ReLU(),
                conv_b=nn.Conv3d(
                    inner, inner, (1, 3, 3), (1, stride, stride), padding=(0, 1, 1), bias=False
                ),
                norm_b=nn.BatchNorm3d(inner),
                act_b=nn.ReLU(),
                conv_c=nn.Conv3d(inner, after, 1, bias=False),
                norm_c=nn.BatchNorm3d(after),
            )
        )

    def forward(self, maps: Map) -> Float[Tensor, "B D t i j"]:
        shortcut = maps
        if self.branch1_conv is not None and self.branch1_norm is not None:
            shortcut = self.branch1_norm(self.branch1_conv(maps))
        return torch.relu(shortcut + self.branch2(maps))


def _stem(channels: int, time: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            conv=nn.Conv3d(
                3, channels, (time, 7, 7), stride=(1, 2, 2), padding=(time // 2, 3, 3), bias=False
            ),
            norm=nn.BatchNorm3d(channels),
            activation=nn.ReLU(),
            pool=nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        )
    )


def _stage(depth: int, before: int, after: int, stride: int, time: int) -> nn.Module:
    first = Residual(before, after, stride, time)
    rest = [Residual(after, after, 1, time) for _ in range(depth - 1)]
    return nn.Sequential(OrderedDict(res_blocks=nn.Sequential(first, *rest)))
