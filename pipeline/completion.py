"""What a shell offers for the values of options: plug-ins, presets, datasets, tracks.

The shell asks by starting the command (click's protocol), so nothing heavy is imported here, and no
file of features is opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from vqa_twostage.pipeline import presets, spec
from vqa_twostage.pipeline.cache import CACHE_VARIABLE
from vqa_twostage.pipeline.errors import UsageError

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Described = Mapping[str, str]
"""Name -> what it is, which some shells show; may be empty."""

ALL = {"all": "every one"}
# of the last plug-in that is typed: all before were closed by the comma of a list
OPTIONS = re.compile(r"(?:^|,)(?P<name>[a-z][a-z0-9_]*):(?P<options>(?:[^,=:]*=[^,]*,)*[^,=:]*)$")


def names(find: Callable[[click.Context], Described], separator: str = "") -> Completer:
    """Those that ``find`` gives which begin as what is typed; with a ``separator`` the last of
    several. Nothing where they cannot be found: what is typed may be right nevertheless.
    """

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, last = "", incomplete
        if separator:
            before, found, last = incomplete.rpartition(separator)
            before += found
        with suppress(UsageError, OSError):
            return [
                CompletionItem(before + name, help=text or None)
                for name, text in find(context).items()
                if name.startswith(last)
            ]
        return []

    return complete


def plugins(kind: str, words: Described | None = None, separator: str = "") -> Completer:
    """The plug-ins of a package such as ``fuse.fusion``, and ``words`` that stand for others; after
    the colon of one, its options that are not yet there.
    """
    by_name = names(lambda _: {**spec.available(kind), **(words or {})}, separator)

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        last = OPTIONS.search(incomplete)
        if last is None:
            return by_name(context, parameter, incomplete)
        *said, begun = last["options"].split(",")
        before = incomplete.removesuffix(begun)
        given = {option.partition("=")[0] for option in said}
        found = [
            CompletionItem(f"{before}{name}=", help=f"default {default}" if default else None)
            for name, default in spec.defaults_in_source(kind, last["name"]).items()
            if name.startswith(begun) and name not in given
        ]
        # behind a comma the next plug-in of a list may begin
        return found + (by_name(context, parameter, incomplete) if separator and said else [])

    return complete


def any_preset() -> Completer:
    """Those of this program by name, or a file."""
    return _or_file(names(lambda _: presets.available()))


def cached_datasets() -> Completer:
    """Those in the cache of the command."""
    return names(_cached_datasets)


def any_dataset() -> Completer:
    """Those of ``data_manifests`` by name, or a file."""
    return _or_file(names(_known_datasets))


def _or_file(by_name: Completer) -> Completer:
    """Files where what is typed begins as no name."""

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        found = by_name(context, parameter, incomplete)
        return found or [CompletionItem(incomplete, type="file")]

    return complete


def tracks(kind: str, words: Described | None = None) -> Completer:
    """The tracks in the cache of the command, of its dataset where it is said, without those of
    which the plug-in that made them says that they are of another kind.
    """
    return names(lambda context: {**_tracks(context, kind), **(words or {})})


def _known_datasets(_: click.Context) -> Described:
    from vqa_twostage.pipeline.datasets.schema import names as known

    return dict.fromkeys(known(), "")


def _cached_datasets(context: click.Context) -> Described:
    from vqa_twostage.pipeline.cache.layout import datasets

    return dict.fromkeys(datasets(_cache(context)), "")


def _tracks(context: click.Context, kind: str) -> Described:
    from vqa_twostage.pipeline.cache import layout

    said, cache = context.params.get("dataset") or context.params.get("datasets"), _cache(context)
    chosen: Iterable[str] = [said] if isinstance(said, str) else said or layout.datasets(cache)
    other = "extract.temporal" if kind == "spatial" else "extract.spatial"
    of_other = spec.available(other).keys() - spec.available(f"extract.{kind}").keys()
    stored = [path.name for dataset in chosen for path in layout.tracks(cache, dataset)]
    return {name: "" for name in stored if name.partition("-")[0] not in of_other}


def _cache(context: click.Context) -> Path:
    """The command's, as far as it is typed."""
    said = context.params.get("cache") or os.environ.get(CACHE_VARIABLE) or "cache"
    return Path(said).expanduser()
