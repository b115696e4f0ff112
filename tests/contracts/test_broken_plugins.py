"""The contract suite that authors run refuses plug-ins that break a promise, each deliberately
broken in one place, and passes the same plug-ins when they keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from distributions import install

from vqa_twostage.extract.testing import check_extractor, check_sampler
from vqa_twostage.fuse.testing import (
    check_baseline,
    check_fusion,
    check_pooling,
    check_protocol,
    check_temporal_encoder,
)

pytestmark = pytest.mark.usefixtures("one_thread")

POOLING = '''"""Averages."""

import torch
from torch import nn

VERSION = 1
READS = ("mean",)


def build(shapes):
    return Average(sorted(name for name in shapes if name.statistic == "mean"), shapes)


class Average(nn.Module):
    def __init__(self, names, shapes):
        super().__init__()
        self.names = names
        self.level_channels = tuple(shapes[name][0] for name in names)

    def forward(self, arrays):
        return [arrays[name] for name in self.names]
'''
TEMPORAL_ENCODER = '''"""Mean over the frames."""

import torch
from torch import nn

VERSION = 1


def build(channels):
    return Mean(channels)


class Mean(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels

    def forward(self, tokens, mask):
        return tokens, mask / mask.sum(dim=1, keepdim=True)
'''
FUSION = '''"""Product of both streams."""

import torch
from torch import nn

from vqa_twostage.fuse.streams import fused

VERSION = 1


def build(spatial, temporal, *, hidden: int = 8):
    return Product(spatial.tokens, temporal.tokens, hidden)


class Product(nn.Module):
    def __init__(self, spatial, temporal, hidden):
        super().__init__()
        self.out_channels = hidden
        self.left, self.right = nn.Linear(spatial, hidden), nn.Linear(temporal, hidden)

    def forward(self, spatial, temporal):
        left = self.left(spatial.vector)
        return fused(left * self.right(temporal.vector), {"both": left.softmax(dim=1)})
'''
BASELINE = '''"""The mean of the labels."""

import numpy as np

VERSION = 1


def build():
    return lambda columns: iter([Constant()])


class Constant:
    def fit(self, rows, labels):
        self.mean = labels.mean()
        return self

    def predict(self, rows):
        return np.full(len(rows), self.mean)
'''
PROTOCOL = '''"""The first contents are trained on."""

import numpy as np

from vqa_twostage.fuse.splits import Split, group_names, split_by_group

VERSION = 1
CONTENT_DISJOINT = True


def build(*, seed: int = 0):
    def splits(rows):
        names = group_names("first", rows)
        return [split_by_group(seed, rows, names[-4:], names[-8:-4])]

    return splits
'''
SAMPLER = '''"""The first and the last frame."""

import numpy as np

from vqa_twostage.extract.sampler import Sampler

VERSION = 1


def build():
    return Ends()


class Ends(Sampler):
    def __call__(self, video):
        return np.array([0, len(video) - 1], np.int64)
'''
EXTRACTOR = '''"""One convolution."""

import torch
from torch import nn

from vqa_twostage.extract.extractor import Extractor, each_frame
from vqa_twostage.extract.preprocess import Preprocessing

VERSION = 1


def build():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Conv2d(3, 4, 4, stride=4).eval().requires_grad_(False)
    preprocessing = Preprocessing(64, "bilinear", (0.5,) * 3, (0.5,) * 3)
    maps = each_frame(lambda frames: {"last": network(frames)})
    return Extractor(network, maps, preprocessing, "0123")
'''


class Kind(NamedTuple):
    group: str
    check: Callable[..., None]
    code: str


def check_spatial(text: str) -> None:
    check_extractor("spatial", text)


KINDS = {
    "pooling": Kind("fuse.pooling", check_pooling, POOLING),
    "temporal encoder": Kind("fuse.temporal", check_temporal_encoder, TEMPORAL_ENCODER),
    "fusion": Kind("fuse.fusion", check_fusion, FUSION),
    "baseline": Kind("fuse.baselines", check_baseline, BASELINE),
    "protocol": Kind("fuse.protocols", check_protocol, PROTOCOL),
    "sampler": Kind("extract.samplers", check_sampler, SAMPLER),
    "spatial backbone": Kind("extract.spatial", check_spatial, EXTRACTOR),
}

# another number at each call: a sampler with it never chooses the same frames twice
COUNTED_CALLS = "(setattr(build, 'calls', getattr(build, 'calls', 0) + 1) or build.calls)"

# kind, what is replaced in the plug-in, by what, and what the check says
BROKEN = [
    ("pooling", 'READS = ("mean",)', "", "READS must be a tuple"),
    ("pooling", "shapes[name][0] for", "1 + shapes[name][0] for", "levels must have the shapes"),
    ("pooling", "[arrays[name] for", "[arrays[name].cumsum(dim=1) for", "other frames or videos"),
    ("pooling", "[arrays[name] for", "[arrays[name].mul_(2) for", "changes its inputs"),
    ("pooling", "VERSION = 1", "VERSION = 1\nOF_MEANS = 1", "OF_MEANS must be True or False"),
    (
        "pooling",
        "return [arrays[name] for name in self.names]\n",
        "return [arrays[name].square() for name in self.names]\n\n\nOF_MEANS = True\n",
        "level 0 of the mean over frames differs",
    ),
    (
        "temporal encoder",
        "return tokens, mask / mask.sum(dim=1, keepdim=True)\n",
        "return tokens.tanh(), mask / mask.sum(dim=1, keepdim=True)\n\n\nOF_MEANS = True\n",
        "encoded tokens of the mean over frames differs",
    ),
    (
        "fusion",
        'left * self.right(temporal.vector), {"both": left.softmax(dim=1)})\n',
        "left * self.right((temporal.tokens.square() * temporal.weights[..., None]).sum(dim=1)),"
        ' {"both": left.softmax(dim=1)})\n\n\nOF_MEANS = True\n',
        "the fused vector of the mean over frames differs",
    ),
    ("pooling", ' if name.statistic == "mean"', ' if name.statistic != "grid"', "reads arrays"),
    (
        "temporal encoder",
        "channels\n\n    def",
        "1\n\n    def",
        "encoded tokens must have the shape",
    ),
    ("temporal encoder", "return tokens, mask /", "return tokens, 2 * mask /", "sum to one"),
    (
        "temporal encoder",
        "mask / mask.sum(dim=1, keepdim=True)",
        "torch.ones(mask.shape) / mask.shape[1]",
        "weights of padding must be 0",
    ),
    (
        "temporal encoder",
        "return tokens,",
        "return tokens - tokens.mean(dim=1, keepdim=True),",
        "padding must not influence encoded tokens",
    ),
    (
        "temporal encoder",
        "return tokens,",
        "return tokens - tokens[:, :1].mean(dim=0),",
        "encoded tokens of a video must not depend on its batch",
    ),
    ("fusion", "self.out_channels = hidden", "self.out_channels = 3", "vector must have the shape"),
    (
        "fusion",
        "self.left(spatial.vector)",
        "self.left(spatial.tokens.mean(dim=1))",
        "padding must not influence the fused vector",
    ),
    (
        "fusion",
        "self.left(spatial.vector)",
        "self.left(spatial.vector) * torch.rand(())",
        "the fused vector differs between two calls in eval mode",
    ),
    (
        "fusion",
        "self.left(spatial.vector)",
        "torch.nn.functional.normalize(self.left(spatial.vector), dim=0)",
        "the fused vector of a video must not depend on its batch",
    ),
    ("fusion", "left.softmax(dim=1)", "left.sigmoid()", "gate 'both' must be 0 or more and sum to"),
    ("fusion", "return fused(left *", "return (left *", "must return a Fused, not a tuple"),
    ("fusion", "self.left, ", "self.idle = nn.Linear(1, 1)\n        self.left, ", "idle.weight"),
    ("fusion", "Product(nn.Module)", "Product(list)", "must return a torch.nn.Module"),
    ("fusion", '"""Product of both streams."""', "", "must have a docstring"),
    ("fusion", "VERSION = 1", "VERSION = '1.0'", "VERSION must be a whole number"),
    ("fusion", "hidden: int = 8", "hidden: list = 8", "hidden must be annotated"),
    ("fusion", "hidden: int = 8", "hidden: int = 8, **more", "build must name its options"),
    ("fusion", "hidden: int = 8", "hidden: int = 2.5", "its spec with all options"),
    ("baseline", "iter([Constant()])", "iter([])", "one or more regressors"),
    ("baseline", "self.mean)", "np.nan)", "one finite number for each row"),
    ("baseline", "self.mean)", "self.mean * len(rows))", "must not depend on the other rows"),
    ("baseline", "labels.mean()", "labels.mean() + np.random.rand()", "predict the same"),
    ("baseline", "self.mean)", "self.mean)[None, None]", "or \\[options, N\\]"),
    (
        "baseline",
        "return self\n",
        "labels += 1\n        return self\n",
        "changes its rows or labels",
    ),
    ("protocol", "CONTENT_DISJOINT = True", "", "CONTENT_DISJOINT must be True or False"),
    (
        "protocol",
        "[split_by_group(seed, rows, names[-4:], names[-8:-4])]",
        "[Split(seed, *np.split(np.arange(60), [20, 40]))]",
        "has a group in two parts",
    ),
    (
        "protocol",
        "[split_by_group(seed, rows, names[-4:], names[-8:-4])]",
        "[Split(seed, np.arange(30), np.arange(29, 45), np.arange(45, 60))]",
        "has a video in two parts",
    ),
    ("protocol", "names[-8:-4])", "names[:0])", "has an empty part"),
    ("protocol", "names[-4:],", "np.random.permutation(names[:12])[:4],", "other splits"),
    ("protocol", "names[-8:-4])]", "names[-8:-4])] * 2", "two splits have the same seed"),
    ("sampler", "np.int64", "np.float64", "must be an array of int64"),
    ("sampler", "len(video) - 1]", "len(video)]", r"must lie in 0\.\.0"),
    ("sampler", "[0, len(video) - 1]", "[len(video) - 1, 0]", "must ascend"),
    ("sampler", "[0, ", f"[{COUNTED_CALLS} % len(video), ", "the same frames each time"),
    ("sampler", "Ends(Sampler)", "Ends", "must return a Sampler"),
    ("spatial backbone", ".requires_grad_(False)", "", "must need no gradients"),
    ("spatial backbone", ".eval()", "", "must be in eval mode"),
    ("spatial backbone", "torch.manual_seed(0)", "torch.seed()", "give the same features"),
    ("spatial backbone", '"0123")', '"0123", unit_frames=4)', "unit_frames must be 1"),
    ("spatial backbone", '{"last": ', '{"c2": ', "must give last/mean and last/std"),
    (
        "spatial backbone",
        "network(frames)}",
        "network(frames) - network(frames).mean(dim=0)}",
        "of a unit must not depend on its batch",
    ),
]


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Kind, str], Any]:
    def make(kind: Kind, code: str) -> None:
        install(
            tmp_path,
            monkeypatch,
            f"[vqa_twostage.{kind.group}]\nacme = acme_part\n",
            code,
            "acme_part",
        )

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_contract_check_passes_a_plug_in_that_keeps_its_promises(
    kind: str, installed: Callable[[Kind, str], None]
) -> None:
    installed(KINDS[kind], KINDS[kind].code)
    KINDS[kind].check("acme")


@pytest.mark.parametrize(("kind", "kept", "broken", "message"), BROKEN)
def test_contract_check_names_the_promise_that_a_plug_in_breaks(
    kind: str, kept: str, broken: str, message: str, installed: Callable[[Kind, str], None]
) -> None:
    code = KINDS[kind].code
    assert code.count(kept) == 1
    installed(KINDS[kind], code.replace(kept, broken))
    with pytest.raises(AssertionError, match=rf"^{kind} 'acme' \(acme_part\): .*{message}"):
        KINDS[kind].check("acme")


def test_every_kind_of_plug_in_has_a_broken_member() -> None:
    assert {kind for kind, *_ in BROKEN} == set(KINDS)
