"""Versions of what computes: recorded beside results, never part of an identity."""

from __future__ import annotations

import platform
from importlib import metadata

# libraries whose version can change a number
LIBRARIES = (
    "torch",
    "timm",
    "transformers",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "h5py",
    "decord",
    "av",
    "openvino",
    "opencv-python-headless",
)


def library_versions() -> dict[str, str]:
    """Versions of this program, Python and the libraries that compute, without those missing."""
    versions = {"vqa-twostage": _version("vqa-twostage"), "python": platform.python_version()}
    versions |= {name: _version(name) for name in LIBRARIES}
    return {name: version for name, version in versions.items() if version}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
