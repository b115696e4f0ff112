"""The contracts of stage two as functions, for the tests of a plug-in's author.

Each function takes the spec of an installed plug-in, such as ``"product:hidden=8"``, tries it on
random features or a small table, and raises AssertionError with one sentence that names the plug-in
and the promise that it breaks. What the plug-in itself raises is passed on.
"""

from vqa_twostage.fuse.testing.parts import check_fusion, check_pooling, check_temporal_encoder
from vqa_twostage.fuse.testing.tables import check_baseline, check_protocol

__all__ = [
    "check_baseline",
    "check_fusion",
    "check_pooling",
    "check_protocol",
    "check_temporal_encoder",
]
