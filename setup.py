"""Only what depends on where the project is published; everything else is in setup.cfg.

    PROJECT_URL=https://host/owner/name pip wheel --no-deps .

gives the package's page its links: to the sources, and from the README's pictures and pages to the
files there, laid out as GitHub and Gitea lay them out. Without it a package has no such links.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

from setuptools import setup

HERE = Path(__file__).parent
LINK = re.compile(r'(\]\(|src="|href=")(?!#|[a-z]+:)([^)" ]+)')


def absolute(readme: str, url: str) -> str:
    """The text with links to files of the project as addresses."""
    kinds = {"](": "blob", 'href="': "blob", 'src="': "raw"}
    return LINK.sub(lambda link: f"{link[1]}{url}/{kinds[link[1]]}/HEAD/{link[2]}", readme)


def links(url: str) -> dict[str, str]:
    return {
        "Source": url,
        "Documentation": f"{url}/blob/HEAD/docs/index.md",
        "Changelog": f"{url}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{url}/issues",
    }


def published(url: str) -> dict[str, object]:
    """The metadata of a package that is published at ``url``."""
    address = urlsplit(url)
    if address.scheme != "https" or not address.netloc or address.query or address.fragment:
        raise SystemExit(f"PROJECT_URL {url!r} is not understood; give https://HOST/OWNER/NAME")
    url = url.rstrip("/")
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    return {"long_description": absolute(readme, url), "project_urls": links(url)}


if url := os.environ.get("PROJECT_URL"):
    setup(**published(url))
else:
    setup()
