"""Small replicas of every dataset as its authors publish it: files are read without renaming,
converting or editing them.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
import scipy.io

from vqa_twostage.pipeline.datasets.loading import load_manifest, missing_files, toml_of
from vqa_twostage.pipeline.datasets.schema import names
from vqa_twostage.pipeline.errors import UsageError

# id, path, mos, group, split
Expected = list[tuple[str, str, float, str, str]]


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"video")


def write(path: Path, text: str, encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))


def cells(*texts: str) -> np.ndarray:
    """A MATLAB cell array of N x 1 texts."""
    column = np.empty((len(texts), 1), object)
    column[:, 0] = texts
    return column


def konvid(root: Path) -> Expected:
    write(
        root / "KoNViD_1k_attributes.csv",
        "flickr_id,download_id,file_name,MOS,ti,si,colorfulness,contrast,blur,vniqe\n"
        "8536919744,1015445,8536919744_original_centercrop_960x540_8s.mp4,1.22,4.53,14.44,45.7,20.2,0.48,21.7\n"
        "6408325533,964070,6408325533_cut_centercrop_960x540_8s.mp4,1.26,53.2,52.8,61.8,54.1,0.42,11.1\n"
        "0123456789,964071,0123456789_original_centercrop_960x540_8s.mp4,4.64,53.2,52.8,61.8,54.1,0.42,11.1\n"
        "3015445,964072,3015445_original_centercrop_960x540_8s.mp4,3,53.2,52.8,61.8,54.1,0.42,11.1\n",
    )
    folder = "KoNViD_1k_videos"
    # one named as on the home page, one as in the label file, one with a capital extension, one
    # missing, and one that belongs to no row
    put(root, f"{folder}/8536919744.mp4", f"{folder}/6408325533_original_centercrop_960x540_8s.mp4")
    put(root, f"{folder}/0123456789.MP4", f"{folder}/30154451.mp4")
    return [
        ("8536919744", f"{folder}/8536919744.mp4", 1.22, "8536919744", ""),
        (
            "6408325533",
            f"{folder}/6408325533_original_centercrop_960x540_8s.mp4",
            1.26,
            "6408325533",
            "",
        ),
        ("0123456789", f"{folder}/0123456789.MP4", 4.64, "0123456789", ""),
        ("3015445", f"{folder}/3015445.mp4", 3.0, "3015445", ""),
    ]


def konvid150k_a(root: Path) -> Expected:
    write(
        root / "k150ka_scores.csv",
        "video_name,video_score\norig_10000251326_540_5s.mp4,2.8\norig_7_540_5s.mp4,3.4\n",
    )
    put(root, "k150ka/orig_10000251326_540_5s.mp4", "k150ka/orig_7_540_5s.mp4")
    return [
        (
            "orig_10000251326_540_5s",
            "k150ka/orig_10000251326_540_5s.mp4",
            2.8,
            "orig_10000251326_540_5s",
            "",
        ),
        ("orig_7_540_5s", "k150ka/orig_7_540_5s.mp4", 3.4, "orig_7_540_5s", ""),
    ]


def konvid150k_b(root: Path) -> Expected:
    write(
        root / "k150kb_scores.csv",
        "video_name,mos,video_score\norig_105_540_5s.mp4,3.61,3.5\norig_9_540_5s.mp4,2,2.1\n",
    )
    put(root, "k150kb_extracted/orig_105_540_5s.mp4", "k150kb_extracted/orig_9_540_5s.mp4")
    return [
        ("orig_105_540_5s", "k150kb_extracted/orig_105_540_5s.mp4", 3.61, "orig_105_540_5s", ""),
        ("orig_9_540_5s", "k150kb_extracted/orig_9_540_5s.mp4", 2.0, "orig_9_540_5s", ""),
    ]


def livevqc(root: Path) -> Expected:
    labels = {"video_list": cells("A001.mp4", "A002.mp4"), "mos": np.array([[80.232], [6.22368]])}
    scipy.io.savemat(root / "data.mat", labels)
    put(root, "Video/A001.mp4", "Video/A002.mp4")
    return [
        ("A001", "Video/A001.mp4", 80.232, "A001", ""),
        ("A002", "Video/A002.mp4", 6.22368, "A002", ""),
    ]


def youtube_ugc(root: Path) -> Expected:
    book = openpyxl.Workbook()
    book.active.title = "README"
    book.active.append(["Mean opinion scores of YouTube-UGC"])
    sheet = book.create_sheet("MOS")
    sheet.append(
        ["vid", "category", "resolution", "MOS full", "MOS chunk00", "MOS chunk05", "MOS chunk10"]
    )
    sheet.append(["Gaming_1080P-0b8a", "Gaming", 1080, 4.698, 4.1, None, 4.3])
    sheet.append(["CoverSong_480P-00ab", "CoverSong", 480, 3, None, None, None])
    sheet.append(["Vlog_2160P-7eec", "Vlog", 2160, None, None, None, None])
    sheet.append(["Sports_720P-33bd", "Sports", 720, 1.242, 1.3, 1.2, 1.2])
    book.save(root / "original_videos_MOS_for_YouTube_UGC_dataset.xlsx")
    put(root, "original_videos/Gaming/1080P/Gaming_1080P-0b8a.mkv")
    put(root, "original_videos/CoverSong/480P/CoverSong_480P-00ab.mkv")
    folder = "original_videos"
    return [
        (
            "Gaming_1080P-0b8a",
            f"{folder}/Gaming/1080P/Gaming_1080P-0b8a.mkv",
            4.698,
            "Gaming_1080P-0b8a",
            "",
        ),
        (
            "CoverSong_480P-00ab",
            f"{folder}/CoverSong/480P/CoverSong_480P-00ab.mkv",
            3.0,
            "CoverSong_480P-00ab",
            "",
        ),
        (
            "Sports_720P-33bd",
            f"{folder}/Sports/720P/Sports_720P-33bd.mkv",
            1.242,
            "Sports_720P-33bd",
            "",
        ),
    ]


def lsvq(root: Path) -> Expected:
    boxes = "".join(
        f",{side}_{part}"
        for part in ("p1", "p2", "p3")
        for side in ("left", "right", "top", "bottom")
    )
    header = (
        "name,p1,p2,p3,height,width,mos_p1,mos_p2,mos_p3,mos,frame_number,fn_last_frame" + boxes
    )
    rest = ",1,2,3,404,720,70.1,60,55.5,{},240,239" + ",0" * 12
    write(
        root / "labels_train_test.csv",
        f"{header},is_test,is_valid\n"
        f"ia-batch2/01-28-12_SF_News_pt2.v1{rest.format(62.94)},False,True\n"
        f"yfcc-batch10/8211.mp4{rest.format(41)},True,True\n",
    )
    write(
        root / "labels_test_1080p.csv",
        f"{header},is_valid\nyfcc-batch1/12{rest.format(77.5)},True\n",
    )
    put(
        root, "ia-batch2/01-28-12_SF_News_pt2.v1.mp4", "yfcc-batch10/8211.mp4", "yfcc-batch1/12.mp4"
    )
    return [
        (
            "ia-batch2/01-28-12_SF_News_pt2.v1",
            "ia-batch2/01-28-12_SF_News_pt2.v1.mp4",
            62.94,
            "",
            "train",
        ),
        ("yfcc-batch10/8211", "yfcc-batch10/8211.mp4", 41.0, "", "test"),
        ("yfcc-batch1/12", "yfcc-batch1/12.mp4", 77.5, "", "test_1080p"),
    ]


def cvd2014(root: Path) -> Expected:
    write(
        root / "Realignment_MOS.csv",
        "Content;File_name;Original MOS;Realignment MOS;;;;\r\n"
        "City;Test01_City_D01;71,17;67,29;;;;\r\n"
        "Talking head;Test02_Talking_Head_D02;29,27;22,64;;;;\r\n"
        "Talking head;Test06_Talking_head_D09;7,44;-6,5;;;;\r\n" + ";;;;;;;\r\n" * 5,
    )
    put(root, "Test1/City/Test01_City_D01.avi", "Test2/Talking_head/Test02_Talking_Head_D02.avi")
    put(root, "Test6/Talking_head/Test06_Talking_head_D09.avi")
    return [
        ("Test01_City_D01", "Test1/City/Test01_City_D01.avi", 67.29, "City", ""),
        (
            "Test02_Talking_Head_D02",
            "Test2/Talking_head/Test02_Talking_Head_D02.avi",
            22.64,
            "Talking head",
            "",
        ),
        (
            "Test06_Talking_head_D09",
            "Test6/Talking_head/Test06_Talking_head_D09.avi",
            -6.5,
            "Talking head",
            "",
        ),
    ]


def live_qualcomm(root: Path) -> Expected:
    video = {
        "vidNames": cells("0101_Artifacts_a.yuv", "0202_Focus_b.yuv"),
        "distortionNames": cells(
            "Artifacts", "Color", "Exposure", "Focus", "Sharpness", "Stabilization"
        ),
        "distortionType": np.array([[1], [4]], np.uint8),
    }
    subjective = {
        "unBiasedMOS": np.array([[16.5621], [73.6428]]),
        "biasedMOS": np.array([[20.0], [70.0]]),
    }
    labels = {"qualcommVideoData": video, "qualcommSubjectiveData": subjective}
    scipy.io.savemat(root / "qualcommSubjectiveData.mat", labels)
    put(root, "Artifacts/0101_Artifacts_a.yuv", "Focus/0202_Focus_b.yuv")
    return [
        ("0101_Artifacts_a", "Artifacts/0101_Artifacts_a.yuv", 16.5621, "0101_Artifacts_a", ""),
        ("0202_Focus_b", "Focus/0202_Focus_b.yuv", 73.6428, "0202_Focus_b", ""),
    ]


def live_yt_gaming(root: Path) -> Expected:
    labels = {
        "video_list": cells("BatmanA_0", "Sekiro_005"),
        "MOS": np.array([[33.25], [80.0]]),
        "index": np.eye(2),
    }
    scipy.io.savemat(root / "LIVE-YT-Gaming.mat", labels)
    put(root, "BatmanA_0.mp4", "Sekiro_005.mp4")
    return [
        ("BatmanA_0", "BatmanA_0.mp4", 33.25, "BatmanA_0", ""),
        ("Sekiro_005", "Sekiro_005.mp4", 80.0, "Sekiro_005", ""),
    ]


def demo(root: Path) -> Expected:
    text = "id,path,mos,group,vmaf,version\nbikes-blur,videos/bikes/blur.mp4,2.5,bikes,37.5,blur\n"
    write(root / "labels.csv", text)
    put(root, "videos/bikes/blur.mp4")
    return [("bikes-blur", "videos/bikes/blur.mp4", 2.5, "bikes", "")]


REPLICAS: dict[str, Callable[[Path], Expected]] = {
    **{
        make.__name__: make
        for make in (konvid, konvid150k_a, konvid150k_b, livevqc, youtube_ugc, lsvq, cvd2014)
    },
    **{make.__name__: make for make in (live_qualcomm, live_yt_gaming, demo)},
}


def test_replicas_exist_for_every_dataset() -> None:
    assert sorted(REPLICAS) == names()


@pytest.mark.parametrize("name", REPLICAS)
def test_toml_of_every_dataset_has_all_descriptive_keys(name: str) -> None:
    keys = tomllib.loads(toml_of(name).read_text()).keys()
    required = {
        "title",
        "label",
        "scale",
        "better",
        "citation",
        "homepage",
        "licence",
        "obtain",
        "releases",
    }
    assert required <= keys


@pytest.mark.parametrize("name", REPLICAS)
def test_dataset_is_read_as_its_authors_publish_it(name: str, tmp_path: Path) -> None:
    expected = [(*row[:3], row[3] or row[0], row[4]) for row in REPLICAS[name](tmp_path)]
    manifest = load_manifest(name, tmp_path)
    rows = manifest.rows[["id", "path", "mos", "group", "split"]]
    assert [tuple(row) for row in rows.itertuples(index=False)] == expected
    low, high = manifest.scale
    assert low <= rows["mos"].min() <= rows["mos"].max() <= high


def test_missing_videos_are_expected_in_the_layout_of_the_others(tmp_path: Path) -> None:
    youtube_ugc(tmp_path)
    assert missing_files(load_manifest("youtube_ugc", tmp_path)) == [
        "original_videos/Sports/720P/Sports_720P-33bd.mkv"
    ]
    shutil.rmtree(tmp_path / "original_videos")
    put(tmp_path, "original_videos_h264/Gaming_1080P-0b8a_crf_10_ss_00_t_20.0.mp4")
    manifest = load_manifest("youtube_ugc", tmp_path)
    assert manifest.layout == "h264"
    assert list(manifest.rows["path"][:2]) == [
        "original_videos_h264/Gaming_1080P-0b8a_crf_10_ss_00_t_20.0.mp4",
        "original_videos_h264/CoverSong_480P-00ab_crf_10_ss_00_t_20.0.mp4",
    ]


def test_layouts_side_by_side_are_an_error_until_one_is_chosen(tmp_path: Path) -> None:
    youtube_ugc(tmp_path)
    copy = "original_videos_h264/Gaming_1080P-0b8a_crf_10_ss_00_t_20.0.mp4"
    put(tmp_path, copy)
    both = (
        r"row 2: 2 files could be video Gaming_1080P-0b8a.*\n  original_videos/Gaming/.*\n  "
        rf"{copy}\n.*:layout=orig"
    )
    with pytest.raises(UsageError, match=both):
        load_manifest("youtube_ugc", tmp_path)
    assert load_manifest("youtube_ugc:layout=h264", tmp_path).rows["path"][0] == copy
    assert load_manifest("youtube_ugc:layout=original", tmp_path).rows["path"][0].endswith(".mkv")
    with pytest.raises(UsageError, match="no layout 'vp9'; choose from original, h264"):
        load_manifest("youtube_ugc:layout=vp9", tmp_path)


def test_rows_without_a_label_are_left_out_with_a_note_if_the_schema_allows_it(
    tmp_path: Path,
) -> None:
    youtube_ugc(tmp_path)
    note = "rows of original_videos_MOS_for_YouTube_UGC_dataset.xlsx without MOS full, left out: 1"
    assert load_manifest("youtube_ugc", tmp_path).notes == (note,)


def test_raw_videos_have_a_size_and_a_format(tmp_path: Path) -> None:
    live_qualcomm(tmp_path)
    assert str(load_manifest("live_qualcomm", tmp_path).raw) == "1920x1080 yuv420p 30"


def test_official_splits_are_those_of_the_label_files(tmp_path: Path) -> None:
    from vqa_twostage.fuse.splits import splits

    names_of = ["a", "b", "c", "d", "e", "f"]
    rows = "".join(f"yfcc-batch1/{name},{i}0,{i % 3 == 2}\n" for i, name in enumerate(names_of))
    write(tmp_path / "labels_train_test.csv", "name,mos,is_test\n" + rows)
    write(
        tmp_path / "labels_test_1080p.csv",
        "name,height,width,mos,frame_number\nyfcc-batch2/z,1080,1920,50,240\n",
    )
    rows_of = load_manifest("lsvq", tmp_path).rows
    (split,) = splits("official", rows_of)[1]
    assert list(rows_of["id"].iloc[split.test]) == ["yfcc-batch1/c", "yfcc-batch1/f"]
    (other,) = splits("official:test=test_1080p", rows_of)[1]
    assert list(rows_of["id"].iloc[other.test]) == ["yfcc-batch2/z"]


def test_copy_of_the_labels_of_lsvq_without_the_split_is_read_and_official_is_refused(
    tmp_path: Path,
) -> None:
    from vqa_twostage.fuse.splits import splits

    header = "name,height,width,mos,frame_number\n"
    rows = "".join(f"yfcc-batch1/{row},1080,1920,{row},240\n" for row in range(6))
    write(tmp_path / "labels_train_test.csv", header + rows)
    write(tmp_path / "labels_test_1080p.csv", header + "yfcc-batch2/z,1080,1920,50,240\n")
    manifest = load_manifest("lsvq", tmp_path)
    assert manifest.notes == (
        "labels_train_test.csv has no column is_test: split of its 6 videos is unknown",
    )
    assert list(manifest.rows["mos"][:6]) == [0, 1, 2, 3, 4, 5]
    assert list(manifest.rows["split"]) == [""] * 6 + ["test_1080p"]
    for protocol in ("official", "official:test=test_1080p"):
        with pytest.raises(UsageError, match=r"of 6 of 7 videos is unknown: .* LSVQ's, is_test"):
            splits(protocol, manifest.rows)
    assert len(splits("random:n=2", manifest.rows)[1]) == 2


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "file", "expected"),
    [
        ("konvid", "KoNViD_1k_attributes.csv", (1200, 1.22, 4.64, 1200)),
        ("livevqc", "LIVE_VQC_data.mat", (585, 6.22368, 94.2865, 585)),
        ("cvd2014", "CVD2014_Realignment_MOS.csv", (234, -6.5, 93.38, 5)),
    ],
)
def test_real_label_files_are_read_whole(
    name: str,
    file: str,
    expected: tuple[int, float, float, int],
    real: Path,
    tmp_path: Path,
) -> None:
    shutil.copy(real / "labels" / file, tmp_path)
    rows = load_manifest(name, tmp_path).rows
    mos, groups = rows["mos"], rows["group"]
    assert (len(rows), mos.min(), mos.max(), groups.nunique()) == expected


@pytest.mark.real
def test_real_clips_are_found_and_the_other_1192_are_missing(real: Path, tmp_path: Path) -> None:
    shutil.copy(real / "labels" / "KoNViD_1k_attributes.csv", tmp_path)
    (tmp_path / "KoNViD_1k_videos").mkdir()
    clips = sorted((real / "clips").glob("*.mp4"))
    for clip in clips:
        shutil.copy(clip, tmp_path / "KoNViD_1k_videos")
    manifest = load_manifest("konvid", tmp_path)
    missing = missing_files(manifest)
    assert len(missing) == 1192
    assert sorted(set(manifest.rows["path"]) - set(missing)) == sorted(
        f"KoNViD_1k_videos/{clip.name}" for clip in clips
    )


@pytest.mark.real
def test_label_files_of_cvd2014_agree(real: Path, tmp_path: Path) -> None:
    """CVD2014's own file, with decimal commas, and the info file that VSFA made of it."""
    toml = """
        title = "CVD2014 by its info file"
        scale = [-10, 100]
        layouts = [{ name = "info", videos = "{id}" }]
        [[labels]]
        file = "CVD2014info.mat"
        columns = { id = "video_names", mos = "scores", reference = "ref_ids" }
    """
    write(tmp_path / "info.toml", toml)
    for file in ("features/CVD2014info.mat", "labels/CVD2014_Realignment_MOS.csv"):
        shutil.copy(real / file, tmp_path)
    info, official = (
        load_manifest(str(tmp_path / "info.toml"), tmp_path).rows,
        load_manifest("cvd2014", tmp_path).rows,
    )
    assert [Path(name).name for name in info["id"]] == list(official["id"])
    assert np.allclose(info["mos"], official["mos"], atol=1e-9)
