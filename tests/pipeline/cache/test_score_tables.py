"""Tables of scores are read as people write them; what is not clear is refused with the choices."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqa_twostage.pipeline.cache.score_tables import ScoreTable, read_scores
from vqa_twostage.pipeline.errors import UsageError

VIDEOS = {"3015": "videos/3015.mp4", "40": "videos/40.mp4", "beach": "videos/beach.mov"}
SCORES = {"3015": 0.5, "40": -1.25, "beach": 1200.0}


def read(folder: Path, text: str | bytes, name: str = "scores.csv", **columns: str) -> ScoreTable:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_scores(path, VIDEOS, "opinion", **columns)


def by_id(table: ScoreTable) -> dict[str, float]:
    return {video_id: table.scores[name] for name, video_id in table.matches.ids.items()}


def refused(folder: Path, text: str, **columns: str) -> str:
    with pytest.raises(UsageError) as error:
        read(folder, text, **columns)
    return str(error.value)


IN_THE_WILD = {
    "plain": "video,score\n3015,.5\n40,-1.25\nbeach,1.2e3\n",
    "other headers": "filename,pred\n3015.mp4,0.5\n40.mp4,-1.25\nbeach.mov,1200\n",
    "folders": "name,quality\nvideos/3015.mp4,0.5\n/data/40.mp4,-1.25\nC:\\v\\beach.MOV,1200\n",
    "byte order mark": "\ufeffvideo,score\n3015,0.5\n40,-1.25\nbeach,1200\n",
    "decimal commas": "video;score\n3015.mp4;0,5\n40.mp4;-1,25\nbeach.mov;1200\n",
    "tabs": "video\tscore\n3015\t0.5\n40\t-1.25\nbeach\t1200\n",
    "quoted": 'video,"overall score"\n"3015.mp4","0.5"\n40,-1.25\nbeach,1200\n',
    "the label beside it": "video,MOS,prediction\n3015,3,0.5\n40,4,-1.25\nbeach,5,1200\n",
    "ground truth beside it": "name,gt_label,pr_label\n3015,3,0.5\n40,4,-1.25\nbeach,5,1200\n",
    "prediction of the label": "video,mos,pred_mos\n3015,3,0.5\n40,4,-1.25\nbeach,5,1200\n",
    "size beside it": "video,width,score\n3015,960,0.5\n40,960,-1.25\nbeach,540,1200\n",
    "equal numbers that name a video": "path,fps,score\n3015,40,0.5\n40,40,-1.25\nbeach,40,1200\n",
    "rows of an index": ",path,score\n0,3015.mp4,0.5\n1,40.mp4,-1.25\n2,beach.mov,1200\n",
    "no header": "3015.mp4,0.5\n40.mp4,-1.25\nbeach.mov,1200\n",
    "blanks": "3015.mp4 0.5\n40.mp4   -1.25\nbeach.mov 1200\n",
    "blanks after commas": "path, score\n3015.mp4, 0.5\n40.mp4, -1.25\nbeach.mov, 1200\n",
    "carriage returns": "video,score\r\n3015,0.5\r\n40,-1.25\r\nbeach,1200\r\n\r\n",
}


@pytest.mark.parametrize("kind", IN_THE_WILD)
def test_scores_are_found_by_video(kind: str, tmp_path: Path) -> None:
    assert by_id(read(tmp_path, IN_THE_WILD[kind])) == SCORES


def test_column_that_is_called_as_the_label_is_the_label_unless_it_is_called_score(
    tmp_path: Path,
) -> None:
    (tmp_path / "s.csv").write_text("video,VMAF,score\n3015,3,0.5\n40,4,-1.25\nbeach,5,1200\n")
    for label in ("VMAF", "score"):
        assert by_id(read_scores(tmp_path / "s.csv", VIDEOS, label)) == SCORES


def test_records_in_json_are_a_table_too(tmp_path: Path) -> None:
    text = '[{"video": "3015.mp4", "score": 0.5}, {"video": "40", "score": -1.25}]'
    assert by_id(read(tmp_path, text, "scores.json")) == {"3015": 0.5, "40": -1.25}


def test_videos_without_a_score_are_kept_by_name(tmp_path: Path) -> None:
    table = read(tmp_path, "video,score\n3015,0.5\n40,\nbeach,nan\nnobody,3\n")
    assert by_id(table) == {"3015": 0.5}
    assert (table.empty, table.matches.unknown) == (["40", "beach"], ["nobody"])


SEVERAL = "path,aesthetic,technical,overall/final\n3015,1,2,3\n40,2,3,5\nbeach,3,5,8\n"


def test_one_of_several_columns_has_to_be_chosen(tmp_path: Path) -> None:
    message = refused(tmp_path, SEVERAL)
    assert message.endswith("with --score-column: aesthetic, technical, overall/final")
    table = read(tmp_path, SEVERAL, score_column="overall/final")
    assert by_id(table) == {"3015": 3.0, "40": 5.0, "beach": 8.0}
    assert (table.id_column, table.score_column) == ("path", "overall/final")


def test_columns_that_name_other_videos_have_to_be_chosen(tmp_path: Path) -> None:
    text = "rank,video,score\n40,3015.mp4,0.5\n3015,40.mp4,0.25\n"
    assert "rank, video of" in (message := refused(tmp_path, text))
    assert message.endswith("choose with --id-column")
    assert by_id(read(tmp_path, text, id_column="video")) == {"3015": 0.5, "40": 0.25}


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (SEVERAL, {"score_column": "final"}, "--score-column final: .* choose from path, aesth"),
        (SEVERAL, {"id_column": "video"}, "--id-column video: .* choose from path, aesth"),
        ("video,score\na,1\nb,2\n", {}, "no column of .* names a video .* ids look like 3015, 40"),
        ("video,text\n3015,good\n40,bad\n", {}, "no column of numbers .* columns are video, text"),
        ("video,score\n3015,1\n3015,2\n", {}, "column video of .* names 3015 more than once"),
        ("video,score\n3015,1\n40,high\nbeach,3\n", {}, "row 3, column score: 'high' is not a fi"),
        ("video,score\n3015,1\n40,inf\nbeach,3\n", {}, "row 3, column score: 'inf' is not a fi"),
        ("video;score\n3015;1,5\n40;2.5\nbeach;3\n", {}, "'2.5' is not a number with a decimal"),
        ("video,mos\n3015,1\n40,2\n", {}, "no column of numbers that can be scores"),
        ("video,mos\n3015,1\n40,2\n", {"score_column": "mos"}, "mos of .* is the label by its na"),
        ("video,opinion\n3015,1\n40,2\n", {"score_column": "opinion"}, "is the label by its name"),
        ("", {}, "is empty"),
        ("\n\n", {}, "is empty"),
    ],
)
def test_tables_that_are_not_clear_are_refused(
    text: str, columns: dict[str, str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, text, **columns)


@pytest.mark.parametrize("name", ["none.csv", "scores.html", "scores", "."])
def test_what_is_no_table_is_refused_with_what_is(name: str, tmp_path: Path) -> None:
    if name.startswith("scores"):
        (tmp_path / name).write_text("video,score\n3015,1\n40,2\n")
    problem = "does not exist" if name == "none.csv" else "is no table of scores"
    with pytest.raises(UsageError, match=rf"{problem}; give a table \(\.csv, .* arrays \(\.npz"):
        read_scores(tmp_path / name, VIDEOS, "opinion")


def test_json_with_a_list_for_each_column_is_read(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    path.write_text('{"video": ["40", "3015"], "score": [0.5, 0.25]}')
    assert by_id(read_scores(path, VIDEOS, "MOS", score_column="score")) == {
        "40": 0.5,
        "3015": 0.25,
    }


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(list(VIDEOS)),
    st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["{}", "{}.mp4", "videos/{}.mp4"]),
)
def test_numbers_are_those_that_were_written(
    tmp_path: Path, order: list[str], numbers: list[float], separator: str, spelling: str
) -> None:
    written = dict(zip(order, numbers, strict=True))
    texts = {name: repr(number) for name, number in written.items()}
    if separator == ";":
        texts = {name: text.replace(".", ",") for name, text in texts.items()}
    rows = [f"{spelling.format(name)}{separator}{text}" for name, text in texts.items()]
    table = read(tmp_path, "\n".join([f"video{separator}score", *rows]))
    assert by_id(table) == written
