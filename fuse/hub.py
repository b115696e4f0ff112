"""Exported models on the Hugging Face hub: ``VideoScorer.from_pretrained("name/model")``, or a
folder.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import ModelHubMixin, hf_hub_download

from vqa_twostage.fuse import score
from vqa_twostage.fuse.export import config_of
from vqa_twostage.fuse.learning import scorer_file as saved
from vqa_twostage.pipeline import records

OPTIONS = ("revision", "cache_dir", "force_download", "local_files_only", "token")


class VideoScorer(ModelHubMixin):
    """A model of `fuse.export`: ``model.score([Path("clip.mp4")])`` is `fuse.score.score` with it.

    ``folder`` has its ``model.safetensors``. `from_pretrained`, `save_pretrained` and `push_to_hub`
    are the hub's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.scorer = folder, score.load(folder)

    def score(self, videos: list[Path], **given: Any) -> list[score.Score]:
        return score.score(videos, self.scorer, **given)

    def _save_pretrained(self, save_directory: Path) -> None:
        if save_directory.resolve() != self.folder.resolve():
            shutil.copyfile(self.folder / saved.FILE, save_directory / saved.FILE)
        records.write_json(save_directory / "config.json", config_of(self.scorer))

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **given: Any) -> VideoScorer:
        if Path(model_id).is_dir():
            return cls(Path(model_id))
        options: dict[str, Any] = {name: given[name] for name in OPTIONS if name in given}
        return cls(Path(str(hf_hub_download(model_id, saved.FILE, **options))).parent)
