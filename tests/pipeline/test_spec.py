"""Specs: what is typed is parsed, printed, and resolved to a file; what is wrong is answered with
the choices.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.spec import Spec

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9_.+/@-]{1,8}", fullmatch=True)


@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
def test_a_printed_spec_parses_back_to_itself(name: str, options: dict[str, str]) -> None:
    assert spec.parse(str(Spec(name, options))) == Spec(name, options)


def test_options_are_printed_in_one_order() -> None:
    assert str(spec.parse("tsm:n_div=8,network=x")) == str(spec.parse("tsm:network=x,n_div=8"))


@pytest.mark.parametrize(
    "text", ["", "Uniform", "uniform:", "uniform:frames", "uniform:frames=", "u:a=1,a=2", "u:a=b c"]
)
def test_what_is_no_spec_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="uniform:frames=8|twice"):
        spec.parse(text)


@pytest.mark.parametrize(
    "kind", ["extract.spatial", "extract.temporal", "extract.samplers", "fuse.fusion"]
)
def test_every_plugin_has_a_line_about_it_a_version_and_resolves_by_its_file_name(
    kind: str,
) -> None:
    found = spec.available(kind)
    assert found, f"no plug-in in {kind}"
    for name, line in found.items():
        plugin = spec.resolve(kind, "timm_model:model=resnet18" if name == "timm_model" else name)
        assert line.endswith((".", ":")) or len(line) > 20, f"{name}: {line!r}"
        assert plugin.version >= 1
        assert plugin.module.__name__ == f"{kind}.{name}"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown samplers 'unifrom'; choose from .*uniform"):
        spec.resolve("extract.samplers", "unifrom")


def test_an_unknown_option_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown option n; options of uniform: frames"):
        spec.resolve("extract.samplers", "uniform:n=8")


@pytest.mark.parametrize("value", ["many", "1.5"])
def test_a_value_of_the_wrong_type_is_named(value: str) -> None:
    with pytest.raises(UsageError, match=f"frames must be a whole number, not '{value}'"):
        spec.resolve("extract.samplers", f"uniform:frames={value}")


def test_defaults_are_written_out_in_the_identity_and_left_out_of_the_name() -> None:
    plain, spelled = (
        spec.resolve("extract.samplers", "uniform"),
        spec.resolve("extract.samplers", "uniform:frames=08"),
    )
    assert str(plain.full_spec) == str(spelled.full_spec) == "uniform:frames=8"
    assert str(plain.short_spec) == str(spelled.short_spec) == "uniform"


def test_a_file_name_never_leaves_its_folder() -> None:
    assert (
        spec.parse("efficientnet:weights=../../etc/passwd").filename
        == "efficientnet:weights=passwd"
    )
