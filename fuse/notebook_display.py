"""How results come to be shown in notebooks, which ask an object for `_repr_html_`.

Reporting knows results, and no result knows reporting: what draws them is found by its name when
something is shown, and nothing is imported before.
"""

from __future__ import annotations

from importlib import import_module

DRAWN_BY = "vqa_twostage.fuse.reporting.html"


class ShownInNotebooks:
    """Of a result that `fuse.reporting.html.in_html` can draw."""

    def _repr_html_(self) -> str:
        html: str = import_module(DRAWN_BY).in_html(self)
        return html
