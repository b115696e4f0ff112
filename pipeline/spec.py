"""Spec strings, the one notation for every choice, and the only registry of plug-ins.

A spec is ``name:key=value,key=value``: the value of a CLI option, a part of a cache's identity, a
field of a run record and a row of a table are all the same string. The name is a file: ``dynamic``
given to ``--fusion`` is ``fuse/fusion/dynamic.py``. A plug-in is a module with

* a docstring whose first line describes it (shown by ``--list``, read without importing the
  module),
* ``VERSION``: an integer, raised whenever the same options give other results,
* ``build(**options)``: its keyword-only parameters *are* the options, their types and their
  defaults.

Options that all plug-ins of a package have are the keyword-only parameters of a function `shared`
in its ``__init__``.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from vqa_twostage.pipeline.errors import UsageError

PACKAGE = __name__.partition(".")[0]
NAME = re.compile(r"[a-z][a-z0-9_]*")
# no separators of the notation, nothing a shell or a file system would take for its own
VALUE = re.compile(r"[A-Za-z0-9_.+/@-]+")


@dataclass(frozen=True)
class Spec:
    """A parsed spec. ``str(spec)`` is canonical: options sorted by key."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}:{options}" if options else self.name

    @property
    def filename(self) -> str:
        """The canonical spec as one path component; of a value that is a path its last part."""
        return str(
            Spec(
                self.name,
                {key: value.rstrip("/").rpartition("/")[2] for key, value in self.options.items()},
            )
        )

    def without(self, key: str) -> Spec:
        return Spec(self.name, {name: value for name, value in self.options.items() if name != key})


def parse(text: str) -> Spec:
    """``"uniform:frames=8"`` -> ``Spec("uniform", {"frames": "8"})``; UsageError where it is no
    spec.
    """
    how = "a spec is NAME or NAME:KEY=VALUE,KEY=VALUE, for example uniform:frames=8"
    name, colon, rest = text.strip().partition(":")
    if not NAME.fullmatch(name):
        raise UsageError(f"{text!r} is not a spec: {name!r} is no name; {how}")
    options: dict[str, str] = {}
    for item in rest.split(",") if colon else []:
        key, equals, value = item.partition("=")
        if not equals or not NAME.fullmatch(key) or not VALUE.fullmatch(value):
            raise UsageError(f"{text!r} is not a spec: {item!r} is no KEY=VALUE; {how}")
        if key in options:
            raise UsageError(f"{text!r} sets {key!r} twice; give it once")
        options[key] = value
    return Spec(name, options)


@dataclass(frozen=True)
class Plugin:
    """A plug-in chosen by a spec: its module, and the options it will be built with (defaults
    filled in).

    ``makers``: what takes the options, the module's ``build`` and the package's ``shared`` where
    there is one.
    """

    kind: str
    spec: Spec
    module: ModuleType
    makers: tuple[Callable[..., Any], ...]
    options: dict[str, Any]

    @property
    def version(self) -> int:
        return int(self.module.VERSION)

    @property
    def full_spec(self) -> Spec:
        """The spec with every option written out: a changed default is a changed identity."""
        return Spec(self.spec.name, {key: _written(value) for key, value in self.options.items()})

    @property
    def short_spec(self) -> Spec:
        """The spec with only those options that differ from their defaults: a name for people and
        files.
        """
        defaults = {
            key: option.default for maker in self.makers for key, option in _keywords(maker).items()
        }
        return Spec(
            self.spec.name,
            {key: _written(value) for key, value in self.options.items() if value != defaults[key]},
        )

    def build(self, *given: Any) -> Any:
        """What the module's ``build`` makes; ``given`` is what its contract passes beside the
        options.
        """
        return self._call(self.makers[0], *given)

    def shared(self) -> Any:
        """What the package's ``shared`` makes of the options that are its own."""
        return self._call(self.makers[1])

    def _call(self, maker: Callable[..., Any], *given: Any) -> Any:
        return maker(*given, **{key: self.options[key] for key in _keywords(maker)})


def available(kind: str) -> dict[str, str]:
    """Plug-ins of a package such as ``"extract.spatial"``: name -> first line of its docstring.
    Imports none.
    """
    package = importlib.util.find_spec(f"{PACKAGE}.{kind}")
    if package is None or not package.submodule_search_locations:
        raise LookupError(f"{kind} is not a package of plug-ins")
    found = {}
    for folder in package.submodule_search_locations:
        for path in sorted(Path(folder).glob("[a-z]*.py")):
            docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            found[path.stem] = docstring.partition("\n")[0]
    return found


def resolve(kind: str, text: str) -> Plugin:
    """The plug-in that ``text`` names in package ``kind``, its options checked and typed;
    UsageError otherwise.
    """
    spec = parse(text)
    choices = available(kind)
    if spec.name not in choices:
        what = kind.rpartition(".")[2]
        raise UsageError(f"unknown {what} {spec.name!r}; choose from {', '.join(choices)}")
    module, makers = _makers(kind, spec.name)
    return Plugin(kind, spec, module, makers, options_of(spec, *makers))


def defaults(kind: str, name: str) -> dict[str, str]:
    """The options of a plug-in and what they are where a spec does not say; ``…`` where it must."""
    keywords = [item for maker in _makers(kind, name)[1] for item in _keywords(maker).items()]
    empty = inspect.Parameter.empty
    return {
        key: "…" if option.default is empty else _written(option.default)
        for key, option in keywords
    }


def options_of(spec: Spec, *makers: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only options of ``makers`` with the spec's values converted to the types of their
    annotations.
    """
    parameters = {
        name: parameter for maker in makers for name, parameter in _keywords(maker).items()
    }
    unknown = sorted(set(spec.options) - set(parameters))
    if unknown:
        allowed = ", ".join(parameters) or "none"
        raise UsageError(
            f"{str(spec)!r}: unknown option {', '.join(unknown)}; options of {spec.name}: {allowed}"
        )
    options = {}
    for name, parameter in parameters.items():
        if name in spec.options:
            options[name] = _typed(spec, name, spec.options[name], parameter.annotation)
        elif parameter.default is inspect.Parameter.empty:
            raise UsageError(f"{str(spec)!r}: {name} must be given, as in {spec.name}:{name}=…")
        else:
            options[name] = parameter.default
    return options


def _makers(kind: str, name: str) -> tuple[ModuleType, tuple[Callable[..., Any], ...]]:
    module = importlib.import_module(f"{PACKAGE}.{kind}.{name}")
    shared = getattr(importlib.import_module(f"{PACKAGE}.{kind}"), "shared", None)
    makers = (module.build, shared) if shared else (module.build,)
    assert not shared or not _keywords(module.build).keys() & _keywords(shared).keys(), (
        f"{name}: shared options"
    )
    return module, makers


def _keywords(maker: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(maker, eval_str=True).parameters.items()
    return {
        name: parameter
        for name, parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def _typed(spec: Spec, name: str, text: str, wanted: Any) -> Any:
    if wanted is bool:
        if text in ("true", "false"):
            return text == "true"
    elif wanted in (int, float, str):
        try:
            return wanted(text)
        except ValueError:
            pass
    else:
        raise TypeError(
            f"{spec.name}: option {name} is annotated {wanted!r}; use int, float, bool or str"
        )
    kind = {int: "a whole number", float: "a number", bool: "true or false"}[wanted]
    raise UsageError(f"{str(spec)!r}: {name} must be {kind}, not {text!r}")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
