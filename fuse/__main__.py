"""``python -m vqa_twostage.fuse`` is ``vqa-fuse``."""

from vqa_twostage.fuse.cli import main

main()
