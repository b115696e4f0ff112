"""Small datasets in the layouts of their authors, with real videos of one second, for tests of
commands.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import scipy.io


def konvid(root: Path, videos: list[Path]) -> None:
    rows = [f"100{row},100{row}_original.mp4,{1.2 + row / 2}" for row in range(len(videos))]
    write(root / "KoNViD_1k_attributes.csv", ["flickr_id,file_name,MOS", *rows])
    for row, video in enumerate(videos):
        put(video, root / "KoNViD_1k_videos" / f"100{row}.mp4")


def livevqc(root: Path, videos: list[Path]) -> None:
    names = np.empty((len(videos), 1), object)
    names[:, 0] = [f"A00{row}.mp4" for row in range(len(videos))]
    root.mkdir(parents=True)
    scipy.io.savemat(
        root / "data.mat", {"video_list": names, "mos": np.linspace(20, 80, len(videos))[:, None]}
    )
    for row, video in enumerate(videos):
        put(video, root / "Video" / f"A00{row}.mp4")


def lsvq(root: Path, videos: list[Path]) -> None:
    """The last video is the 1080p test set, and the two before it are the test set."""
    header = "name,height,width,mos,frame_number,is_test,is_valid"
    names = [f"yfcc-batch1/{row}" for row in range(len(videos))]
    test = len(videos) - 3
    rows = [
        f"{name},96,128,{40 + 5 * row},12,{row >= test},True" for row, name in enumerate(names[:-1])
    ]
    write(root / "labels_train_test.csv", [header, *rows])
    write(
        root / "labels_test_1080p.csv",
        [header.replace(",is_test", ""), f"{names[-1]},96,128,70,12,True"],
    )
    for name, video in zip(names, videos, strict=True):
        put(video, root / f"{name}.mp4")


def own(root: Path, videos: list[Path]) -> None:
    rows = [
        f"{video.name},{1 + row / 2},{10 * row},{row % 3},{row}" for row, video in enumerate(videos)
    ]
    write(root / "mos.csv", ["path,mos,mos_technical,mos_aesthetic,group", *rows])
    named = [f"{video.name}\t{1 + row / 2}" for row, video in enumerate(videos)]
    write(root / "ratings.tsv", ["File\tQuality", *named])
    write(root / "labels.txt", [row.replace("\t", ", -1, -1, ") for row in named])
    for video in videos:
        put(video, root / video.name)


def videval(folder: Path, count: int) -> None:
    """Labels and features in the format of VIDEVAL, several blocks of features in one file, and the
    scores of two models; all of it is noise.
    """
    write(
        folder / "konvid1k.csv", ["path,mos", *(f"{row}.mp4,{1 + row / 4}" for row in range(count))]
    )
    scipy.io.savemat(
        folder / "VIDEVAL_feats.mat",
        {"feats_mat": np.random.default_rng(0).normal(size=(count, 60))},
    )
    noise = np.random.default_rng(1).normal(size=(count, 112))
    blocks = {"brisque_sts": noise[:, :108], "niqe_sts": noise[:, 108:110], "dover": noise[:, 110:]}
    scores = [f"KoNViD/{row}.mp4,{number}" for row, number in enumerate(noise[:, 111])]
    write(folder / "dover.csv", ["path,overall score", *scores])
    scores = [f"{row};{-row % 7},5;{row % 5},25" for row in range(count)]
    write(folder / "niqe.csv", ["video;mean;deviation", *scores])
    ids = np.array([f"konvid/{row}" for row in reversed(range(count))])
    np.savez(folder / "konvid1k.npz", ids=ids, **blocks)
    (folder / "resnet50").mkdir()
    for row in range(count):
        np.save(folder / "resnet50" / f"{row}.npy", noise[:8, row : row + 5])


def write(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def put(video: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(video, path)
