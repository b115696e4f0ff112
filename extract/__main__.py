"""``python -m vqa_twostage.extract`` is ``vqa-extract``."""

from vqa_twostage.extract.cli import main

main()
