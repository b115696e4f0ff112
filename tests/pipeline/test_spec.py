"""Specs: what is typed is parsed, printed, and resolved to a file; what is wrong is answered with
the choices.
"""

from __future__ import annotations

import re
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.spec import ADDED, Plugin, Spec

NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
# anything that a path or a name may hold, blanks, separators of specs and quotation marks included
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        "/data/my nets/w.pth",
        "/data/VSFA info file.mat",
        "runs/demo-dynamic:experts=2-1a2b3c4d5e",
        "C:\\weights\\w.pth",
        'a,b=c:"d"',
        " ",
        "",
    ]
)


@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
def test_a_printed_spec_parses_back_to_itself(name: str, options: dict[str, str]) -> None:
    assert spec.parse(str(Spec(name, options))) == Spec(name, options)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("tsm:weights=/data/my nets/w.pth", "/data/my nets/w.pth"),
        ("tsm:weights=runs/demo-dynamic:experts=2-1a2b", "runs/demo-dynamic:experts=2-1a2b"),
        ("tsm:weights=C:\\nets\\w.pth", "C:\\nets\\w.pth"),
        ('tsm:weights="a,b.pth",n_div=8', "a,b.pth"),
        ('tsm:weights=" a"', " a"),
    ],
)
def test_values_hold_blanks_colons_equals_signs_and_quoted_commas(text: str, value: str) -> None:
    assert spec.parse(text).options["weights"] == value


@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
def test_file_names_of_specs_are_file_names_everywhere(name: str, options: dict[str, str]) -> None:
    filename = Spec(name, options).filename
    assert re.fullmatch(r"[A-Za-z0-9._+@-]+", filename)


@given(st.lists(st.tuples(NAMES, st.dictionaries(NAMES, VALUES, max_size=3)), max_size=4))
def test_a_list_of_specs_is_divided_between_them(
    specs: list[tuple[str, dict[str, str]]],
) -> None:
    # blanks divide a list, so values with blanks are quoted in it
    options = [
        {key: value for key, value in of_one.items() if " " not in value} for _, of_one in specs
    ]
    texts = [str(Spec(name, of_one)) for (name, _), of_one in zip(specs, options, strict=True)]
    texts = [text for text in texts if not re.search(r"\s", text)]
    assert spec.parse_list(" ".join(texts)) == spec.parse_list(",".join(texts)) == texts


def test_a_quoted_value_in_a_list_may_hold_blanks_and_commas() -> None:
    assert spec.parse_list('concat,net:w="a b,c",x=2 dynamic') == [
        "concat",
        'net:w="a b,c",x=2',
        "dynamic",
    ]


def test_options_are_printed_in_one_order() -> None:
    assert str(spec.parse("tsm:n_div=8,network=x")) == str(spec.parse("tsm:network=x,n_div=8"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Uniform",
        "uniform:",
        "uniform:frames",
        "uniform:frames=",
        "u:a=1,a=2",
        "u:a=1,",
        'u:a="b',
    ],
)
def test_what_is_no_spec_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="uniform:frames=8|twice|JSON"):
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
        assert plugin.module.__name__ == f"vqa_twostage.{kind}.{name}"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown sampler 'unifrom'; choose from .*uniform"):
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


def with_an_added_option(text: str) -> Plugin:
    """A plug-in to which an option was added after files with its specs were written."""

    def build(*, frames: int = 8, of: Annotated[str, ADDED] = "all") -> None: ...

    plugin, parsed = spec.resolve("extract.samplers", "uniform"), spec.parse(text)
    options = spec.options_of(parsed, build)
    return Plugin(plugin.kind, parsed, plugin.module, (build,), options)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("uniform", "uniform:frames=8"),
        ("uniform:of=all", "uniform:frames=8"),
        ("uniform:of=some", "uniform:frames=8,of=some"),
    ],
)
def test_an_option_that_was_added_later_is_written_where_it_is_not_the_default(
    text: str, written: str
) -> None:
    plugin = with_an_added_option(text)
    assert str(plugin.full_spec) == str(plugin.portable_spec) == written
    assert with_an_added_option(written).options == plugin.options


def test_a_file_name_never_leaves_its_folder() -> None:
    assert (
        spec.parse("efficientnet:weights=../../etc/passwd").filename
        == "efficientnet-weights-passwd"
    )


KINDS = ("extract.spatial", "extract.temporal", "extract.samplers", "fuse.fusion", "fuse.pooling")
KINDS += ("fuse.temporal", "fuse.protocols", "fuse.baselines", "fuse.closed_form")


@pytest.mark.parametrize("kind", KINDS)
def test_options_that_shells_offer_are_those_that_there_are(kind: str) -> None:
    for name in spec.available(kind):
        imported, read = spec.defaults(kind, name), spec.defaults_in_source(kind, name)
        assert list(imported) == list(read), name
        assert all(text in ("", imported[option]) for option, text in read.items()), name


def test_options_of_no_plug_in_are_none() -> None:
    with pytest.raises(KeyError):
        spec.defaults("fuse.fusion", "nothing")
    assert spec.defaults_in_source("fuse.fusion", "nothing") == {}
