"""The blocks of TEA (Li et al., CVPR 2020): motion excitation, and multiple temporal aggregation in
a Res2Net block.

Modules carry the names of the authors' code, so that its state dicts load as they are.

Dimensions: F frames, F = B units of N frames, C channels, R reduced channels, h and w of a map.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from timm.models.res2net import Bottle2neck
from torch import Tensor, nn

Map = Float[Tensor, "F C h w"]


class MotionExcitation(nn.Module):
    """Scales each channel of a frame by what changes until the next one.

    The change is the next frame's reduced map, filtered, minus this frame's; pooled over space and
    expanded, it gives a factor between 0.5 and 1.5. The last frame of a unit has no next one: its
    change is zero.
    """

    def __init__(self, channels: int, n_segment: int, reduction: int = 16) -> None:
        super().__init__()
        reduced = channels // reduction
        self.n_segment = n_segment
        self.conv1 = nn.Conv2d(channels, reduced, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(reduced)
        self.conv2 = nn.Conv2d(reduced, reduced, 3, padding=1, groups=reduced, bias=False)
        self.conv3 = nn.Conv2d(reduced, channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels)

    def forward(self, maps: Map) -> Map:
        reduced: Float[Tensor, "F R h w"] = self.bn1(self.conv1(maps))
        now = reduced.unflatten(0, (-1, self.n_segment))
        later = self.conv2(reduced).unflatten(0, (-1, self.n_segment))
        change = (later[:, 1:] - now[:, :-1]).mean(dim=(-2, -1), keepdim=True)
        change = torch.cat([change, torch.zeros_like(now[:, :1, :, :1, :1])], dim=1).flatten(0, 1)
        return maps + maps * (torch.sigmoid(self.bn3(self.conv3(change))) - 0.5)


class TemporalConvolution(nn.Module):
    """A convolution over three successive frames, each channel on its own; zeros before the first
    and after the last.

    It starts as the identity, or, with ``shift``, as a shift in time: the first half of the
    channels from the next frame, the second half from the previous one.
    """

    def __init__(self, channels: int, n_segment: int, *, shift: bool) -> None:
        super().__init__()
        self.n_segment = n_segment
        self.conv = nn.Conv1d(channels, channels, 3, padding=1, groups=channels, bias=False)
        taps = self.conv.weight.data.zero_()
        if shift:
            taps[: channels // 2, 0, 2] = 1
            taps[channels // 2 :, 0, 0] = 1
        else:
            taps[:, 0, 1] = 1

    def forward(self, maps: Map) -> Map:
        # three products of whole maps: Conv1d would want time as the last axis, and every map
        # copied twice
        before, now, after = self.conv.weight[:, 0, :, None, None].unbind(1)
        units = maps.unflatten(0, (-1, self.n_segment))
        nothing = torch.zeros_like(units[:, :1])
        previous = torch.cat([nothing, units[:, :-1]], dim=1)
        following = torch.cat([units[:, 1:], nothing], dim=1)
        return (before * previous + now * units + after * following).flatten(0, 1)


class TeaBlock(nn.Module):
    """A Res2Net block of timm with motion excitation after its first convolution and a temporal one
    before each split.

    In the first block of a stage the splits are not added to one another and the last is pooled; in
    the others each takes the previous one's output. The layers of ``block`` are taken over under
    their names.
    """

    def __init__(self, block: Bottle2neck, n_segment: int) -> None:
        super().__init__()
        self.conv1, self.bn1, self.relu = block.conv1, block.bn1, block.relu
        self.convs, self.bns = block.convs, block.bns
        self.conv3, self.bn3 = block.conv3, block.bn3
        self.pool, self.downsample = block.pool, block.downsample
        self.width, self.is_first = block.width, block.is_first
        self.me = MotionExcitation(block.width * block.scale, n_segment)
        self.shifts = nn.ModuleList(
            TemporalConvolution(block.width, n_segment, shift=split == block.scale - 1)
            for split in range(block.scale)
        )

    def forward(self, maps: Float[Tensor, "F C h w"]) -> Float[Tensor, "F D i j"]:
        *splits, last = self.me(self.relu(self.bn1(self.conv1(maps)))).split(self.width, dim=1)
        outputs: list[Tensor] = []
        for number, (split, conv, norm) in enumerate(
            zip(splits, self.convs, self.bns, strict=True)
        ):
            summed = split if number == 0 or self.is_first else split + outputs[-1]
            outputs.append(self.relu(norm(conv(self.shifts[number](summed)))))
        last = self.shifts[-1](last)
        outputs.append(self.pool(last) if self.is_first else last)
        merged = self.bn3(self.conv3(torch.cat(outputs, dim=1)))
        return self.relu(merged + (maps if self.downsample is None else self.downsample(maps)))


def into_tea(network: nn.Module, n_segment: int) -> None:
    """Replaces the blocks of a timm Res2Net by those of TEA, with the published initialisation from
    seed 0.

    Frozen, in eval mode and channels last, as the network came.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # the same initial motion excitation everywhere
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            layer = network.get_submodule(stage)
            for name, block in layer.named_children():
                assert isinstance(block, Bottle2neck)
                tea = TeaBlock(block, n_segment)
                for convolution in (tea.me.conv1, tea.me.conv2, tea.me.conv3):
                    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                layer.add_module(name, tea)
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
