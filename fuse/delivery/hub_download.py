"""The weights of a model from a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from vqa_twostage.extract.networks.hub import fetch_file, quiet
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.pipeline.errors import UsageError


def fetch_model(repository: str, revision: str | None = None, **options: Any) -> Path:
    """The ``model.safetensors`` of a repository: from the hub, or where that cannot be reached the
    copy that this machine keeps. UsageError where neither can be had, with what to do.
    """
    of, hint = f"{repository}@{revision}" if revision else repository, ""
    try:
        with quiet():
            return fetch_file(repository, saved.FILE, revision=revision, **options)
    except HFValidationError:
        reason = "that is no name of a repository (OWNER/NAME)"
    except RepositoryNotFoundError:
        reason = "there is no such repository, or it is not public; for a private one log in"
    except RevisionNotFoundError:
        reason = "the repository has no such revision"
    except LocalEntryNotFoundError:
        reason = "the hub cannot be reached, and this machine has no copy"
        hint = (
            f". Where there is a network: hf download {repository} {saved.FILE} --local-dir "
            "FOLDER; then here: --run FOLDER"
        )
    except EntryNotFoundError:
        reason = f"it has no {saved.FILE}: it is no model of vqa-fuse export"
    except (HfHubHTTPError, OSError) as error:
        reason = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
    raise UsageError(f"the model {of} cannot be fetched from the Hugging Face hub: {reason}{hint}")
