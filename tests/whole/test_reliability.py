"""The page of promises says of every test that tries many times how often it does."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from places import REPOSITORY, TESTS

PAGE = REPOSITORY / "docs" / "reliability.md"


def soaked() -> Iterator[tuple[str, str, str]]:
    """Each test marked ``soak``: its name and its two counts, as the page writes them."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                marks = {
                    call.func.attr: call.args
                    for call in node.decorator_list
                    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                }
                if "soak" not in marks:
                    continue
                forms = marks["parametrize"][1] if "parametrize" in marks else None
                short, full = (count.value for count in marks["soak"])
                # a list of forms, or the name of one that is too long to count on the page
                count = len(forms.elts) if isinstance(forms, ast.List) else "each"
                times = f"{count} × " if forms is not None else ""
                yield node.name, f"{times}{short}", f"{times}{full}"


def test_the_page_says_how_often_each_promise_is_tried() -> None:
    row = re.compile(r"^\|.*\| `(test_\w+)` \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
    told = row.findall(PAGE.read_text(encoding="utf-8"))
    assert len(told) > 15
    assert sorted(told) == sorted(soaked())
