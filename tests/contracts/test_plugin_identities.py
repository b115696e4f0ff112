"""The contract of identities, held against every extractor and sampler: the options that a track
was extracted with can be recovered from its identity, so that a new video gets the same features.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vqa_twostage.extract.extraction.plan import plan_tracks
from vqa_twostage.extract.inference.runtime import Runtime
from vqa_twostage.extract.options import ExtractOptions
from vqa_twostage.fuse.score import load
from vqa_twostage.fuse.scored_tracks import options_for
from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.identity import Kind, TrackIdentity, spec_of_extractor
from vqa_twostage.pipeline.spec import Plugin

# beside the defaults, or where an option has none
SPECS = {
    "timm_model": [
        "timm_model:model=mobilenetv3_small_050",
        "timm_model:model=hf-hub:timm/x,grid=2",
    ],
    "vit": ["vit", "vit:model=facebook/dinov2-small,resolutions=224+336", "vit:weights=none"],
    "video_transformer": [
        "video_transformer",
        "video_transformer:model=facebook/timesformer-base-finetuned-k400",
    ],
    "tsm": ["tsm", "tsm:n_segment=4,fit=pad", "tsm:fit=fragments,seed=3,crops=2"],
    "resnet": ["resnet", "resnet:fit=native,of=residual", "resnet:fit=fragments"],
    "fps": ["fps", "fps:rate=0.5"],
    "clips": ["clips", "clips:frames=16,rate=2.5,stride=2"],
}


def specs_of(package: str) -> list[str]:
    """Every plug-in of a package, by its default and by other options."""
    return [text for name in spec.available(package) for text in SPECS.get(name, [name])]


EXTRACTORS: list[tuple[Kind, str]] = [
    *(("spatial", text) for text in specs_of("extract.spatial")),
    *(("temporal", text) for text in specs_of("extract.temporal")),
]
SAMPLERS = specs_of("extract.samplers")


def identity_of(
    kind: Kind, extractor: Plugin, sampler: Plugin, precision: str = "fp32"
) -> TrackIdentity:
    """As a model keeps it: through JSON."""
    identity = TrackIdentity(
        kind,
        spec_of_extractor(extractor),
        sampler.portable_spec,
        extractor.version,
        sampler.version,
        weights="0123",
        precision=precision,
    )
    return TrackIdentity.from_json(json.loads(json.dumps(identity.to_json())), "a model")


def plugins_of(options: ExtractOptions, kind: Kind) -> tuple[Plugin, Plugin]:
    (text,) = options.spatial if kind == "spatial" else options.temporal
    extractor = spec.resolve(f"extract.{kind}", text)
    return extractor, spec.resolve("extract.samplers", options.sampler)


def test_identities_of_every_kind_of_plugin_are_tested() -> None:
    assert len(EXTRACTORS) >= 10 and len(SAMPLERS) >= 5


@pytest.mark.parametrize(("kind", "text"), EXTRACTORS)
def test_identity_of_an_extractor_gives_its_options_back(kind: Kind, text: str) -> None:
    options = ExtractOptions(
        spatial=text if kind == "spatial" else "efficientnet",
        temporal=text if kind == "temporal" else (),
    )
    extractor, sampler = plugins_of(options, kind)
    identities = [identity_of(kind, extractor, sampler)]
    if kind == "temporal":
        spatial, _ = plugins_of(options, "spatial")
        identities.insert(0, identity_of("spatial", spatial, sampler))
    recovered = options_for(identities)
    again, same_sampler = plugins_of(recovered, kind)
    assert again.options == extractor.options
    assert identity_of(kind, again, same_sampler) == identities[-1]
    assert len(recovered.temporal) == (kind == "temporal") and len(recovered.spatial) == 1


@pytest.mark.parametrize(
    ("kind", "text", "written"),
    [
        (
            "spatial",
            "efficientnet_lite0",
            "efficientnet_lite0:fit=crop,grid=0,resolutions=auto",
        ),
        (
            "spatial",
            "efficientnet_lite0:of=frames,seed=0,crops=1,fit=pad",
            "efficientnet_lite0:fit=pad,grid=0,resolutions=auto",
        ),
        (
            "temporal",
            "slowfast:fit=fragments,seed=3",
            "slowfast:fit=fragments,grid=0,resolutions=auto,seed=3",
        ),
    ],
)
def test_views_that_came_later_leave_the_identities_of_older_caches(
    kind: Kind, text: str, written: str
) -> None:
    """These texts are in the files of caches and models: they name tracks."""
    assert str(spec_of_extractor(spec.resolve(f"extract.{kind}", text))) == written


def test_model_that_ships_reads_the_features_that_are_extracted_now() -> None:
    for identity in load().training.distinct:
        plugin = spec.resolve(f"extract.{identity.kind}", str(identity.extractor))
        assert spec_of_extractor(plugin) == identity.extractor
        preprocessing = plugin.shared().applied_to(plugin.build().preprocessing)
        assert str(preprocessing) == identity.preprocessing


@pytest.mark.parametrize("text", SAMPLERS)
def test_identity_of_a_sampler_gives_its_options_back(text: str) -> None:
    extractor, sampler = plugins_of(ExtractOptions(sampler=text), "spatial")
    identity = identity_of("spatial", extractor, sampler)
    again, same_sampler = plugins_of(options_for([identity]), "spatial")
    assert same_sampler.options == sampler.options
    assert identity_of("spatial", again, same_sampler) == identity


@pytest.mark.parametrize("name", ["torch", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_identity_gives_back_a_precision_and_a_runtime_of_equal_features(
    name: str, precision: str
) -> None:
    runtime = Runtime(name, torch.device("cpu"), precision)
    extractor, sampler = plugins_of(ExtractOptions(), "spatial")
    options = options_for([identity_of("spatial", extractor, sampler, runtime.identity)])
    again = Runtime(options.runtime, torch.device("cpu"), options.precision)
    assert again.identity == runtime.identity


@pytest.mark.parametrize("hdr", ["tonemap", "clip"])
def test_identity_gives_back_what_became_of_hdr(hdr: str, tmp_path: Path) -> None:
    options = ExtractOptions(spatial="efficientnet_lite0", temporal=(), hdr=hdr)
    runtime = Runtime("torch", torch.device("cpu"), "fp32")
    identity = plan_tracks("mine", tmp_path, options, runtime).tracks[0].identity
    assert options_for([identity]).hdr == hdr
    refusing = plan_tracks("mine", tmp_path, replace(options, hdr="refuse"), runtime)
    assert (refusing.tracks[0].identity == identity) == (hdr == "tonemap")


def test_identity_does_not_set_the_device() -> None:
    extractor, sampler = plugins_of(ExtractOptions(), "spatial")
    own_options = ExtractOptions(device="cuda:1", workers=3)
    options = options_for([identity_of("spatial", extractor, sampler)], own_options)
    assert (options.device, options.workers) == ("cuda:1", 3)
