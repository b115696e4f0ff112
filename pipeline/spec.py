"""Spec strings, the one notation for every choice, and the registry of plug-ins.

A spec is ``name:key=value,key=value``: the value of a CLI option, a part of a cache's identity, a
field of a run record and a row of a table are all the same string. A value is written as it is;
where it holds a comma, starts or ends with a blank, or begins with a quotation mark, it is written
as a JSON string: ``tsm:weights="/data/a,b.pth"``.

The name is a file: ``dynamic`` given to ``--fusion`` is ``fuse/fusion/dynamic.py``. A plug-in is a
module with

* a docstring whose first line describes it (shown by ``--list``, read without importing the
  module),
* ``VERSION``: an integer, raised whenever the same options give other results,
* ``build(**options)``: its keyword-only parameters *are* the options, their types (int, float,
  bool, str or Path) and their defaults.

Options that all plug-ins of a package have are the keyword-only parameters of a function `shared`
in its ``__init__``. An option that came after files were written without it has the type
``Annotated[int, ADDED]``: the full spec leaves it out while it has its default, so that older
identities stay what they are; such a default can never change.

Another distribution adds a plug-in by an entry point: its group is the package's full name, such as
``vqa_twostage.fuse.fusion``, its name is the word that people type, and its value is the module.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple, get_args, get_origin

from vqa_twostage.pipeline.errors import UsageError, close_to

ADDED = "added"  # marks an option, see above
PACKAGE = __name__.partition(".")[0]
NAME = re.compile(r"[a-z][a-z0-9_]*")
# a value and the comma after it, or the end
ITEM = re.compile(
    r'(?P<key>[^=,]*)=(?P<value>"(?:[^"\\]|\\.)*"|[^",][^,]*)(?P<end>,(?=.)|$)', re.DOTALL
)
HOW = "a spec is NAME or NAME:KEY=VALUE,KEY=VALUE, for example uniform:frames=8"
UNSAFE_IN_FILENAMES = re.compile(r"[^A-Za-z0-9._+@-]")


@dataclass(frozen=True)
class Spec:
    """A parsed spec. ``str(spec)`` is canonical: options sorted by key."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ",".join(f"{key}={_quoted(value)}" for key, value in sorted(self.options.items()))
        return f"{self.name}:{options}" if options else self.name

    @property
    def filename(self) -> str:
        """The spec as one path component, without ``:`` and ``=``: ``dynamic-experts2``.

        Of a local path the last part. Different specs may share a file name: what must be unique
        adds a digest.
        """
        words = [self.name]
        for key, value in sorted(self.options.items()):
            text = Path(value).name if is_local_path(value) else value
            words.append(f"{key}{text}" if re.fullmatch(r"[\d.+]+", text) else f"{key}-{text}")
        return UNSAFE_IN_FILENAMES.sub("_", "-".join(words))

    def without(self, key: str) -> Spec:
        return Spec(self.name, {name: value for name, value in self.options.items() if name != key})


def parse(text: str) -> Spec:
    """``"uniform:frames=8"`` -> ``Spec("uniform", {"frames": "8"})``; UsageError otherwise."""
    name, colon, rest = text.strip().partition(":")
    if not NAME.fullmatch(name):
        raise UsageError(f"{text!r} is not a spec: {name!r} is not a name; {HOW}")
    options: dict[str, str] = {}
    position = 0
    while colon and (position < len(rest) or not options):
        match = ITEM.match(rest, position)
        if match is None or not NAME.fullmatch(match["key"]):
            raise UsageError(f"{text!r} is not a spec: {rest[position:]!r} is not KEY=VALUE; {HOW}")
        key, value, position = match["key"], match["value"], match.end()
        if key in options:
            raise UsageError(f"{text!r} sets {key!r} twice; give it once")
        options[key] = _unquoted(value, text)
    return Spec(name, options)


def parse_list(text: str) -> list[str]:
    """Specs of a list, separated by blanks or commas.

    ``concat,dynamic:experts=2,hidden=32`` are two: after a comma, ``KEY=`` continues a spec.
    """
    separator = re.compile(r"\s+|,(?![a-z][a-z0-9_]*=)")
    specs, start, position = [], 0, 0
    while position < len(text):
        if quoted := re.compile(r'(?<==)"(?:[^"\\]|\\.)*"').match(text, position):
            position = quoted.end()
        elif found := separator.match(text, position):
            specs.append(text[start:position])
            start = position = found.end()
        else:
            position += 1
    return [spec for spec in [*specs, text[start:]] if spec]


def is_local_path(value: str) -> bool:
    """Whether a value names a file or folder of this machine, and not a repository of a hub.

    ``OWNER/NAME`` is a repository unless a folder of that name exists here.
    """
    if "/" not in value and "\\" not in value:
        return False
    return value.startswith(("/", ".", "~", "\\")) or value[1:2] == ":" or Path(value).exists()


@dataclass(frozen=True)
class Plugin:
    """A plug-in chosen by a spec: its module, and the options to build it with (defaults filled
    in).

    ``makers``: what takes the options: the module's ``build``, and the package's ``shared`` where
    it has one.
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
        """The spec with every option written out: a changed default is a changed identity. Options
        that were `ADDED` later are written where they are not the default.
        """
        added = {
            key: option.default
            for maker in self.makers
            for key, option in _keywords(maker).items()
            if ADDED in get_args(option.annotation)
        }
        return Spec(
            self.spec.name,
            {
                key: _written(value)
                for key, value in self.options.items()
                if key not in added or value != added[key]
            },
        )

    @property
    def portable_spec(self) -> Spec:
        """`full_spec` for identities: of a local path its last part, since where a file lies is not
        what it is. A digest of the content must stand beside it.

        Names of repositories stay whole, so that the spec can be resolved again elsewhere.
        """
        return Spec(
            self.spec.name,
            {
                key: Path(value).name if is_local_path(value) else value
                for key, value in self.full_spec.options.items()
            },
        )

    @property
    def short_spec(self) -> Spec:
        """The spec with the options that are not the default: a name for people and files."""
        defaults = {
            key: option.default for maker in self.makers for key, option in _keywords(maker).items()
        }
        return Spec(
            self.spec.name,
            {key: _written(value) for key, value in self.options.items() if value != defaults[key]},
        )

    def build(self, *arguments: Any) -> Any:
        """What the module's ``build`` returns; ``arguments``: what its contract passes besides."""
        return self._call(self.makers[0], *arguments)

    def shared(self) -> Any:
        """What the package's ``shared`` makes of the options that all its plug-ins have."""
        if len(self.makers) < 2:
            raise LookupError(f"plug-ins of {self.kind} share no options")
        return self._call(self.makers[1])

    def _call(self, maker: Callable[..., Any], *arguments: Any) -> Any:
        return maker(*arguments, **{key: self.options[key] for key in _keywords(maker)})


def available(kind: str) -> dict[str, str]:
    """Plug-ins of a package such as ``"extract.spatial"``: name -> first line of its docstring.

    First this program's own, then those of other distributions. None is imported.
    """
    return {name: _first_line(source) for name, source in _sources(kind).items()}


def resolve(kind: str, text: str) -> Plugin:
    """The plug-in that ``text`` names in package ``kind``, with typed options; UsageError
    otherwise.
    """
    modules, written = _sources(kind), text.strip().partition(":")[0]
    # names are in small letters, and papers write ConvNeXt, which is no spec
    name = written if written.lower() in modules else parse(text).name
    if name not in modules:
        raise UsageError(
            f"unknown {noun(kind)} {name!r}; choose from {', '.join(modules)}"
            f"{close_to(name, modules)}"
        )
    spec = parse(text)
    module, makers = _makers(kind, spec.name)
    return Plugin(kind, spec, module, makers, options_of(spec, *makers))


def is_of_this_program(kind: str, text: str) -> bool:
    """Whether the plug-in that ``text`` names is not of another distribution; UsageError for what
    is no spec.
    """
    source = _sources(kind).get(parse(text).name)
    return source is None or source.module.startswith(f"{PACKAGE}.")


def noun(kind: str) -> str:
    """What messages call one plug-in of a package: ``extract.samplers`` holds a ``sampler``."""
    nouns = {
        "extract.spatial": "spatial backbone",
        "extract.temporal": "temporal model",
        "fuse.temporal": "temporal encoder",
        "fuse.closed_form": "regressor in closed form",
    }
    return nouns.get(kind, kind.rpartition(".")[2].removesuffix("s"))


def defaults(kind: str, name: str) -> dict[str, str]:
    """The options of a plug-in with their defaults; ``…`` for an option that must be given."""
    keywords = [item for maker in _makers(kind, name)[1] for item in _keywords(maker).items()]
    empty = inspect.Parameter.empty
    return {
        key: "…" if option.default is empty else _written(option.default)
        for key, option in keywords
    }


def defaults_in_source(kind: str, name: str) -> dict[str, str]:
    """As `defaults`, from the text of the plug-in, which is not imported: shells wait for it. A
    default that is no literal is empty, and so is all where the text cannot be read.
    """
    found: dict[str, str] = {}
    with suppress(OSError, SyntaxError, ValueError, ImportError, KeyError):
        found |= _keywords_in(_sources(kind)[name].path, "build")
        for module, function in _imported_as(_source_of(f"{PACKAGE}.{kind}"), "shared"):
            found |= _keywords_in(_source_of(module), function)
    return found


def _source_of(module: str) -> Path | None:
    found = importlib.util.find_spec(module)
    return None if found is None or found.origin is None else Path(found.origin)


def _imported_as(path: Path | None, name: str) -> list[tuple[str, str]]:
    """The module and the function that a file imports under another ``name``."""
    return [
        (statement.module, alias.name)
        for statement in _statements(path)
        if isinstance(statement, ast.ImportFrom) and statement.module is not None
        for alias in statement.names
        if alias.asname == name
    ]


def _keywords_in(path: Path | None, function: str) -> dict[str, str]:
    """The keyword-only parameters of a function in a file, with their defaults as text."""
    keywords = {}
    for statement in _statements(path):
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            given = statement.args
            for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
                keywords[argument.arg] = "…" if default is None else ""
                if isinstance(default, ast.Constant):
                    keywords[argument.arg] = _written(default.value)
    return keywords


def _statements(path: Path | None) -> list[ast.stmt]:
    return [] if path is None else ast.parse(path.read_text(encoding="utf-8")).body


def options_of(spec: Spec, *makers: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only options of ``makers``, with the spec's values converted to their types."""
    parameters = {
        name: parameter for maker in makers for name, parameter in _keywords(maker).items()
    }
    unknown = sorted(set(spec.options) - set(parameters))
    if unknown:
        allowed = ", ".join(parameters) or "none"
        raise UsageError(
            f"{str(spec)!r}: unknown option {', '.join(unknown)}; options of {spec.name}: {allowed}"
            f"{close_to(unknown[0], parameters)}"
        )
    options = {}
    for name, parameter in parameters.items():
        if name in spec.options:
            options[name] = _typed(spec, name, type_of(parameter))
        elif parameter.default is inspect.Parameter.empty:
            raise UsageError(f"{str(spec)!r}: {name} must be given, as in {spec.name}:{name}=…")
        else:
            options[name] = parameter.default
    return options


class _Source(NamedTuple):
    """Where a plug-in is: the full name of its module, and its file where that is known."""

    module: str
    path: Path | None


def _sources(kind: str) -> dict[str, _Source]:
    """Every plug-in of a package, by name; imports none of them."""
    package = importlib.util.find_spec(f"{PACKAGE}.{kind}")
    if package is None or not package.submodule_search_locations:
        raise LookupError(f"{kind} is not a package of plug-ins")
    sources = {
        path.stem: _Source(f"{PACKAGE}.{kind}.{path.stem}", path)
        for folder in package.submodule_search_locations
        for path in sorted(Path(folder).glob("[a-z]*.py"))
    }
    for point in _entry_points(kind):
        known = sources.setdefault(point.name, _Source(point.module, _file_of(point)))
        if known.module != point.module:
            raise UsageError(
                f"two plug-ins are called {point.name!r} ({noun(kind)}): {known.module} and "
                f"{point.module}; uninstall or rename one of them"
            )
    return sources


def _entry_points(kind: str) -> list[Any]:
    """Of other distributions, by name. Looking through all of them takes 25 ms, so it is done again
    only where a folder that packages are imported from has changed.

    Each is an `importlib.metadata.EntryPoint`, or that of the package importlib_metadata, which
    takes over once anything (MLflow, for one) has imported it.
    """
    return _entry_points_in(kind, tuple((folder, _changed_ns(folder)) for folder in sys.path))


@lru_cache(maxsize=64)
def _entry_points_in(kind: str, folders: tuple[tuple[str, int], ...]) -> list[Any]:
    return sorted(entry_points(group=f"{PACKAGE}.{kind}"), key=lambda point: point.name)


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:  # not there: it may come
        return 0


def _file_of(point: Any) -> Path | None:
    """The file of a module that another distribution installed, without importing its package."""
    path = Path(*point.module.split("."))
    for name in (path.with_suffix(".py"), path / "__init__.py"):
        if point.dist and (file := Path(str(point.dist.locate_file(name)))).is_file():
            return file
    with suppress(ImportError, ValueError):  # an editable install, found by its own finder
        found = importlib.util.find_spec(point.module)
        return Path(found.origin) if found and found.origin else None
    return None


def _first_line(source: _Source) -> str:
    if source.path is None:
        return f"(not importable: {source.module})"
    try:
        docstring = ast.get_docstring(ast.parse(source.path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError) as error:
        return f"(not importable: {source.module}: {error})"
    return (docstring or "").partition("\n")[0]


def _makers(kind: str, name: str) -> tuple[ModuleType, tuple[Callable[..., Any], ...]]:
    source = _sources(kind)[name].module
    try:
        module = importlib.import_module(source)
    except ImportError as error:
        if source.startswith(f"{PACKAGE}."):
            raise
        raise UsageError(f"the plug-in {name!r} ({source}) cannot be imported: {error}") from None
    for attribute in ("VERSION", "build"):
        if not hasattr(module, attribute):
            raise TypeError(f"the plug-in {source} has no {attribute}")
    shared = getattr(importlib.import_module(f"{PACKAGE}.{kind}"), "shared", None)
    if shared is None:
        return module, (module.build,)
    if clash := _keywords(module.build).keys() & _keywords(shared).keys():
        raise TypeError(
            f"the plug-in {source} has the option {', '.join(sorted(clash))}, "
            f"which all plug-ins of {kind} share; rename it"
        )
    return module, (module.build, shared)


def _keywords(maker: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(maker, eval_str=True).parameters.items()
    return {
        name: parameter
        for name, parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def type_of(option: inspect.Parameter) -> Any:
    """How an option is annotated, without `ADDED`."""
    annotated = get_origin(option.annotation) is Annotated
    return get_args(option.annotation)[0] if annotated else option.annotation


def _typed(spec: Spec, name: str, wanted: Any) -> Any:
    text = spec.options[name]
    kinds = {int: "a whole number", float: "a number", bool: "true or false"}
    if wanted is str:
        return text
    if wanted is Path:
        return Path(text).expanduser()
    if wanted not in kinds:
        raise TypeError(
            f"{spec.name}: option {name} is annotated {wanted!r}; use int, float, bool, str or Path"
        )
    if wanted is bool:
        if text in ("true", "false"):
            return text == "true"
    else:
        try:
            return wanted(text)
        except ValueError:
            pass
    raise UsageError(f"{str(spec)!r}: {name} must be {kinds[wanted]}, not {text!r}")


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(value: str) -> str:
    plain = value and value == value.strip() and "," not in value and value[0] != '"'
    return value if plain and value.isprintable() else json.dumps(value)


def _unquoted(value: str, text: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError as error:
        raise UsageError(f"{text!r} is not a spec: {value} is no JSON string ({error})") from None
