"""Exported models on the Hugging Face hub: ``VideoScorer.from_pretrained("name/model")``, or a
folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin

from vqa_twostage.fuse import score
from vqa_twostage.fuse.delivery.hub_download import fetch_model
from vqa_twostage.fuse.delivery.onnx_graph import FILE as ONNX_FILE
from vqa_twostage.fuse.export import config_of
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.pipeline.files import write_json

# what an exported folder holds beside config.json; the card too, in whose place the client would
# write an empty one
EXPORTED = (saved.FILE, "README.md", ONNX_FILE)
# of `from_pretrained`, which concern the download
OPTIONS = ("revision", "cache_dir", "force_download", "local_files_only", "token")


class VideoScorer(ModelHubMixin):
    """A model that `fuse.export` wrote: ``model.score("clip.mp4")`` is `fuse.score.score` with it.

    ``folder`` has its ``model.safetensors``. `from_pretrained`, `save_pretrained` and `push_to_hub`
    are the hub's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.scorer = folder, score.load(folder)

    def score(self, videos: str | Path | Iterable[str | Path], **options: Any) -> list[score.Score]:
        return score.score(videos, self.scorer, **options)

    def _save_pretrained(self, save_directory: Path) -> None:
        if save_directory.resolve() != self.folder.resolve():
            for path in self.folder.iterdir():
                if path.name in EXPORTED:
                    shutil.copyfile(path, save_directory / path.name)
        write_json(save_directory / "config.json", config_of(self.scorer))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **hub_options: Any) -> VideoScorer:
        if Path(model_id).is_dir():
            return cls(Path(model_id))
        options = {name: hub_options[name] for name in OPTIONS if name in hub_options}
        return cls(fetch_model(model_id, **options).parent)
