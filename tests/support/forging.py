"""Files of this program changed, and their digests computed again, as a stranger can."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.runs import DIGESTS, TABLES, Run
from vqa_twostage.pipeline.files import SEAL, read_json, sealed, sha256_of

Document = dict[str, Any]


def seal(document: Mapping[str, Any]) -> Document:
    """A document with the digest of what it says now."""
    return sealed({key: value for key, value in document.items() if key != SEAL})


def write_sealed(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(seal(document)))


def change_record(run: Path, change: Callable[[Document], object] = lambda record: None) -> None:
    """``change`` is made to the record of a run, or only its tables are taken as they are now."""
    path = Run(run).record_file
    document = read_json(path)
    document[DIGESTS] = {name: sha256_of(run / name) for name in TABLES if (run / name).is_file()}
    change(document)
    write_sealed(path, document)


def read_model(path: Path) -> tuple[Document, dict[str, np.ndarray]]:
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()[scorer_file.ABOUT])
    return about, {name: array for name, array in load_file(path).items() if name != SEAL}


def write_model(path: Path, about: Any, tensors: dict[str, np.ndarray]) -> None:
    text = json.dumps(about)
    save_file(scorer_file.sealed_tensors(text, tensors), path, {scorer_file.ABOUT: text})
