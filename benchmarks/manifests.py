"""Reading the manifest of a large dataset, against the least that could be done: pandas and one
look for each file.

    python -m benchmarks.manifests --videos 152265

Makes a replica of KoNViD-150k-A with empty files in a temporary folder, and prints seconds and
their ratio.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import click
import pandas as pd

from vqa_twostage.pipeline.datasets.loading import load_manifest


@click.command()
@click.option("--videos", type=int, default=152265, show_default=True)
def main(videos: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "k150ka").mkdir()
        names = [f"orig_{10_000_000_000 + 7 * number}_540_5s.mp4" for number in range(videos)]
        for name in names:
            (root / "k150ka" / name).touch()
        rows = "".join(f"{name},{1 + number % 400 / 100}\n" for number, name in enumerate(names))
        (root / "k150ka_scores.csv").write_text("video_name,video_score\n" + rows)

        start = time.perf_counter()
        table = pd.read_csv(root / "k150ka_scores.csv", dtype=str)
        assert all((root / "k150ka" / name).is_file() for name in table["video_name"])
        least = time.perf_counter() - start

        start = time.perf_counter()
        manifest = load_manifest("konvid150k_a", root)
        whole = time.perf_counter() - start
        assert len(manifest) == videos and manifest.rows["path"].str.startswith("k150ka/").all()
    click.echo(
        f"{videos} videos: manifest {whole:.2f} s, pandas and is_file {least:.2f} s, ratio "
        f"{whole / least:.2f}"
    )


if __name__ == "__main__":
    main()
