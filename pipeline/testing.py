"""What a plug-in of any kind promises, for the tests of its author.

The promises of each kind are checked by `vqa_twostage.extract.testing` and
`vqa_twostage.fuse.testing`, whose functions check these first.
"""

from __future__ import annotations

import inspect
from pathlib import Path

from vqa_twostage.pipeline import spec
from vqa_twostage.pipeline.errors import UsageError

OPTION_TYPES = (int, float, bool, str, Path)


def broken(plugin: spec.Plugin, promise: str) -> AssertionError:
    """The error that names a plug-in and the promise that it breaks."""
    return AssertionError(
        f"{spec.noun(plugin.kind)} {str(plugin.spec)!r} ({plugin.module.__name__}): {promise}"
    )


def check_plugin(kind: str, text: str) -> spec.Plugin:
    """The plug-in that the spec ``text`` names in package ``kind``, such as ``"fuse.fusion"``.

    Its module has a docstring and a ``VERSION``, its options are keyword-only and typed, and the
    spec with all of them gives the same options back. Raises AssertionError for a broken promise,
    UsageError where ``text`` names no plug-in or an option that it does not have.
    """
    plugin = spec.resolve(kind, text)
    if not (plugin.module.__doc__ or "").strip():
        raise broken(plugin, "its module must have a docstring, whose first line --list shows")
    version = plugin.module.VERSION
    if type(version) is not int or version < 1:
        raise broken(plugin, f"VERSION must be a whole number of 1 or more, not {version!r}")
    for maker in plugin.makers:
        for option in inspect.signature(maker, eval_str=True).parameters.values():
            _check_option(plugin, option)
    full = str(plugin.full_spec)
    try:
        options = spec.resolve(kind, full).options
    except UsageError as error:
        raise broken(plugin, f"its spec with all options cannot be read: {error}") from error
    if options != plugin.options:
        raise broken(
            plugin, f"its spec with all options, {full!r}, gives {options}, not {plugin.options}"
        )
    return plugin


def _check_option(plugin: spec.Plugin, option: inspect.Parameter) -> None:
    if option.kind is option.VAR_KEYWORD:
        raise broken(plugin, f"build must name its options; **{option.name} hides them")
    if option.kind is option.KEYWORD_ONLY and spec.type_of(option) not in OPTION_TYPES:
        raise broken(
            plugin, f"the option {option.name} must be annotated int, float, bool, str or Path"
        )
