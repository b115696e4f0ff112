"""Identities of tracks: complete, compared field by field, and the same after a round trip."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.identity import (
    OF_A_SCORED_VIDEO,
    OF_ANOTHER_DATASET,
    TrackIdentity,
)
from vqa_twostage.pipeline.spec import Spec

IDENTITY = TrackIdentity(
    "spatial", spec.parse("vit:model=google/vit-base-patch16-224"), spec.parse("uniform:frames=8")
)
NAMES = [field.name for field in fields(TrackIdentity)]


def changed(name: str) -> TrackIdentity:
    """``IDENTITY`` with another value of one field."""
    value: Any = {"kind": "temporal", "extractor": Spec("net"), "sampler": Spec("fps")}.get(
        name, 7 if name.endswith("_version") else "another"
    )
    return replace(IDENTITY, **{name: value})


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_an_identity_changes_its_digest(name: str) -> None:
    assert changed(name).digest != IDENTITY.digest
    assert [difference.field for difference in changed(name).differences(IDENTITY)] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_an_identity_survives_its_json(name: str) -> None:
    assert TrackIdentity.from_json(changed(name).to_json(), "here") == changed(name)


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_values_of_options_survive_the_json(model: str, key: str) -> None:
    identity = replace(IDENTITY, extractor=Spec("net", {"model": model}), key=key)
    assert TrackIdentity.from_json(identity.to_json(), "here") == identity


@pytest.mark.parametrize("ignoring", [OF_A_SCORED_VIDEO, OF_ANOTHER_DATASET])
def test_what_is_ignored_is_no_difference(ignoring: frozenset[str]) -> None:
    for name in NAMES:
        assert bool(changed(name).differences(IDENTITY, ignoring)) == (name not in ignoring)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": "0123"}, "the weights"),
        ({"precision": "bf16 torch"}, "the precision (fp32 and bf16 torch)"),
        ({"decoding_version": 2}, "the decoding version (1 and 2)"),
        ({"sampler": Spec("uniform", {"frames": "16"})}, "frames of the sampler (8 and 16)"),
        (
            {"sampler": Spec("uniform", {"frames": "8", "of": "some"})},
            "of of the sampler (its default and some)",
        ),
        ({"sampler": Spec("fps")}, "the sampler (uniform:frames=8 and fps)"),
        (
            {"weights": "0123", "raw": "64x48 yuv420p 30"},
            "the weights, the raw format (none and 64x48 yuv420p 30)",
        ),
        ({}, ""),
    ],
)
def test_differences_are_told_in_words(change: dict[str, Any], words: str) -> None:
    ours = replace(IDENTITY, weights="abcd", precision="fp32", decoding_version=1)
    assert ours.differs_in(replace(ours, **change)) == words


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extrator": "net"}, "no field extrator"),
        ({"extractor": 3}, "extractor = 3"),
        ({"extractor_version": "1"}, "extractor_version = '1'"),
        ({"kind": "audio"}, "unknown kind 'audio'; choose from spatial, temporal"),
        ({"sampler": "Not A Spec"}, "is not a spec"),
    ],
)
def test_a_malformed_identity_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrackIdentity.from_json({**IDENTITY.to_json(), **change}, "t.h5")


@pytest.mark.parametrize("missing", ["kind", "extractor", "sampler"])
def test_an_identity_without_a_required_field_is_refused(missing: str) -> None:
    document = IDENTITY.to_json()
    del document[missing]
    with pytest.raises(UsageError, match=f"t.h5: an identity lacks {missing}"):
        TrackIdentity.from_json(document, "t.h5")
