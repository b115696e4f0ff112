"""The report shows all metrics, is safe against names in data, and works in a real browser."""

from __future__ import annotations

import html
import io
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from commands import called
from forging import change_record, write_sealed
from written_runs import NET, predictions_of, write_run

from vqa_twostage.fuse.ablate import ablate, variants
from vqa_twostage.fuse.data import Dataset
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning.ensemble import validation_epochs
from vqa_twostage.fuse.metrics import srcc_interval
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.report import ReportResult, expand_ablations, safe_json, write_report
from vqa_twostage.fuse.reporting.sections import gate_tables
from vqa_twostage.fuse.reporting.thumbnails import frame_strips, thumbnails_of
from vqa_twostage.fuse.runs import Run
from vqa_twostage.fuse.train import train_run
from vqa_twostage.pipeline.cache.layout import TrackPath, tracks
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.datasets.manifest import Manifest
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.features import ArrayName, VideoAttributes, VideoFeatures
from vqa_twostage.pipeline.files import read_json, write_text

NASTY = """<script>window.broken=1</script>"'&é</script>"""
QUICK = TrainOptions(
    fusion="dynamic",
    temporal_encoder="attention",
    epochs=8,
    members=1,
    protocol="random:n=3,train=0.5,val=0.15",
)
VIDEOS = 22

pytestmark = pytest.mark.usefixtures("one_thread")


def make_run(folder: Path, cache: Path, seed: int = 0, splits: str = "same") -> Path:
    """A hand-written run of `VIDEOS` videos, the first of which has a malicious name."""
    generator = np.random.default_rng(seed)
    ids = [NASTY, *(f"video {number}" for number in range(1, VIDEOS))]
    mos = np.linspace(1, 5, VIDEOS)
    tables = []
    for split in range(3):
        part = np.full(VIDEOS, "test", object)
        part[[1 + 2 * split, 2 + 2 * split]] = "train", "val"
        predicted = mos + generator.normal(0, 0.5, VIDEOS)
        predicted[0] = 4.5
        columns = {
            "split": split,
            "part": part,
            "id": ids,
            "group": ids,
            "mos": mos,
            "predicted": predicted,
        }
        tables.append(pd.DataFrame(columns))
    return write_run(
        folder,
        pd.concat(tables),
        f"head{seed}",
        splits,
        cache,
        label="opinion <b>",
        n_dataset=30,
        missing=["lost <i>"],
        notes=["a & b"],
        chosen_epochs=[4, 8, 4],
        date="2026-11-30T02:03:04+00:00",
        command=f"vqa-fuse train --run '{NASTY}'",
    )


@pytest.fixture(scope="module")
def runs_and_clips(
    clips: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], Path]:
    """Two runs whose videos are the test clips, except some whose files are missing."""
    folder = tmp_path_factory.mktemp("report")
    runs = [make_run(folder / f"run {seed}", folder / "cache", seed) for seed in (0, 1)]
    files = sorted(path.name for path in clips.glob("*.mp4"))
    ids = Run(runs[0]).predictions()["id"].unique()
    rows = pd.DataFrame(
        {"id": ids, "path": [*files, *["nowhere.mp4"] * (VIDEOS - len(files))], "mos": 3.0}
    )
    rows = rows.assign(mos_std=np.nan, group=rows["id"], split="")
    save_manifest(folder / "cache", Manifest("clips", "clips", "opinion", (1.0, 5.0), rows))
    path = TrackPath.of(folder / "cache", "clips", "net", NET)
    index = np.array([2, 5, 5, 11])
    with write_track(path, NET, {}) as track:
        for name in ids:
            arrays = {ArrayName("c1/mean"): np.zeros((4, 2))}
            track.write(name, VideoFeatures(arrays, index, index / 12, VideoAttributes("none")))
    attention = [
        (name, frame / 12, 0.25, 0.25, share)
        for name in ids
        for frame, share in zip(index, (0.7, 0.1, 0.1, 0.1), strict=True)
    ]
    columns = ["id", "timestamp", "spatial", "temporal", "importance"]
    write_text(
        runs[0] / "attention.csv", pd.DataFrame(attention, columns=columns).to_csv(index=False)
    )
    change_record(runs[0])
    return runs, clips


@pytest.fixture(scope="module")
def page(
    runs_and_clips: tuple[list[Path], Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ReportResult, str]:
    output = tmp_path_factory.mktemp("page") / "new folder" / "report.html"
    result = write_report(runs_and_clips[0], output, runs_and_clips[1])
    return output, result, output.read_text(encoding="utf-8")


def data_of(text: str) -> dict[str, Any]:
    (json_text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    return dict(json.loads(json_text))


def test_report_shows_every_metric_of_the_runs(
    runs_and_clips: tuple[list[Path], Path], page: tuple[Path, ReportResult, str]
) -> None:
    for run in runs_and_clips[0]:
        evaluation = evaluate(run)
        for metric in ("srcc", "plcc", "krcc", "rmse", "plcc_raw"):
            assert f"<td>{getattr(evaluation.median, metric):.3f}</td>" in page[2]
            assert f"<td>{getattr(evaluation.std, metric):.3f}</td>" in page[2]
    for text in (
        "N = 22 of 30 videos",
        "a &amp; b",
        "lost &lt;i&gt;",
        "opinion &lt;b&gt;, 1 to 5",
        "SRCC difference",
        "Corrected p",
        "believe the corrected p",
    ):
        assert text in page[2], text
    assert "vqa-fuse reproduce" in page[2] and "vqa-fuse train --dataset clips" in page[2]


def test_report_is_safe_against_markup_and_scripts_in_names(
    page: tuple[Path, ReportResult, str],
) -> None:
    text = page[2]
    assert "<script>window" not in text and "<i>" not in text.replace("<b>", "")
    assert len(re.findall(r"<script", text)) == len(re.findall(r"</script", text)) == 2
    assert NASTY in data_of(text)["ids"]
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:|//)""", text)
    assert json.loads(safe_json({"</script>": "<!--&"})) == {"</script>": "<!--&"}


def test_report_shows_frames_and_names_videos_that_cannot_be_opened(
    page: tuple[Path, ReportResult, str],
) -> None:
    result, data = page[1], data_of(page[2])
    assert result.pictured == len(data["frames"]) == 6
    assert len(result.unreadable) == VIDEOS - 6 and "video 11" in result.unreadable
    strip = data["frames"][f"0/{NASTY}"]
    assert (
        strip["rows"] == [0, 1, 2, 3]
        and strip["of"] == 4
        and strip["images"][1] == strip["images"][2]
    )
    assert data["runs"][0]["attention"] or data["runs"][1]["attention"]
    assert result.bytes < 5e6


def test_report_says_when_and_by_which_command_a_run_was_made(
    page: tuple[Path, ReportResult, str],
) -> None:
    assert "2026-11-30 02:03 UTC" in page[2]
    assert f"<code>vqa-fuse train --run '{NASTY}'</code>" in html.unescape(page[2])


@pytest.mark.parametrize(("n_test", "few"), [(19, False), (20, True), (99, True), (100, False)])
def test_caution_with_an_interval_stands_where_figures_rest_on_few_videos(
    n_test: int, few: bool, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", predictions_of([n_test, n_test]))
    write_report(run, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    low, high = srcc_interval(evaluate(run).median.srcc or 0.0, n_test) or (0.0, 0.0)
    assert (f"Each test part has {n_test} videos, which is few" in text) == few
    assert (f"has the 95 % interval [{low:.3f}, {high:.3f}]" in text) == few


def test_page_may_play_videos_only_where_their_files_are_at_hand(
    runs_and_clips: tuple[list[Path], Path], page: tuple[Path, ReportResult, str], tmp_path: Path
) -> None:
    files = data_of(page[2])["files"]
    assert len(files) == 1 and len(files[0]) == 6 and "media-src" in page[2]
    for name, root in (("without", None), ("empty", tmp_path)):
        write_report(runs_and_clips[0][:1], tmp_path / f"{name}.html", root)
        text = (tmp_path / f"{name}.html").read_text()
        assert "media-src" not in text and not any(data_of(text)["files"])


def test_report_refuses_frames_of_another_video(
    clips: Path, runs_and_clips: tuple[list[Path], Path]
) -> None:
    assert len(thumbnails_of(clips / "testsrc.mp4", [0, 11], None)) == 2
    track = Run(runs_and_clips[0][0]).tracks().spatial[0]
    strips, reasons = frame_strips(track, ["unknown"], clips)
    assert not strips and "not in" in reasons["unknown"]
    with pytest.raises(Exception, match="frame 12 was sampled, and it has 12 frames"):
        thumbnails_of(clips / "testsrc.mp4", [12], None)


def test_report_without_frames_explains_how_to_get_them(
    runs_and_clips: tuple[list[Path], Path], tmp_path: Path
) -> None:
    result = write_report(runs_and_clips[0][:1], tmp_path / "one.html")
    text = (tmp_path / "one.html").read_text()
    assert "--root DIR" in result.frames and "--root DIR" in text and not data_of(text)["frames"]
    assert "Comparison" not in text
    copy = Path(shutil.copytree(runs_and_clips[0][0], tmp_path / "moved"))
    place = {"absolute": "gone", "spatial": ["clips/uniform/net-0.h5"]}
    change_record(copy, lambda record: record["cache"].update(place))
    result = write_report(copy, tmp_path / "two.html", runs_and_clips[1])
    assert "features are not there" in result.frames and "give --cache DIR" in result.frames


def test_report_on_runs_of_different_splits_explains_why_it_does_not_compare(
    runs_and_clips: tuple[list[Path], Path], tmp_path: Path
) -> None:
    other = make_run(tmp_path / "other", tmp_path, 3, splits="others")
    result = write_report([runs_and_clips[0][0], other], tmp_path / "two.html")
    assert "differ in their splits" in result.why_not_compared
    text = (tmp_path / "two.html").read_text()
    assert "No paired differences" in text and "SRCC difference" not in text


@pytest.mark.long
def test_report_of_a_trained_run_has_validation_curves_and_gates(
    toy_data: Dataset, tmp_path: Path
) -> None:
    train_run(toy_data, QUICK, tmp_path / "run")
    curve = pd.read_csv(tmp_path / "run" / "learning.csv")
    record = read_json(tmp_path / "run" / "run.json")
    assert list(curve.columns) == ["split", "epoch", "srcc"]
    for (_, rows), chosen in zip(curve.groupby("split"), record["chosen_epochs"], strict=True):
        assert set(rows["epoch"]) == validation_epochs(QUICK.epochs)
        assert rows["epoch"].iloc[-1] == chosen
    median = evaluate(tmp_path / "run").median.srcc
    table = (tmp_path / "run" / "metrics.md").read_text()
    assert f"{median:.4f}" in table and "3 splits of N = 60 videos" in table
    write_report([tmp_path / "run"], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "Learning curves" in text and "Gates by quality: experts" in text
    weights = Run(tmp_path / "run").gates()
    assert weights is not None and "Weights of the tracks" in text
    for name in (column for column in weights if column.startswith("track.")):
        assert f"{name.removeprefix('track.')} {weights[name].mean():.2f}" in text


@pytest.mark.long
def test_report_takes_the_folder_of_an_ablation(toy_data: Dataset, tmp_path: Path) -> None:
    options = replace(QUICK, epochs=3, protocol="random:n=2")
    chosen = variants(options, ["concat"], ["avg"], ["mean"], ["ridge"])
    document = ablate(toy_data, chosen, tmp_path / "here").to_json()
    assert (tmp_path / "here" / "ablation.png").stat().st_size > 5000
    assert not list((tmp_path / "here").glob("*ridge*/learning.csv"))
    (tmp_path / "here").rename(tmp_path / "there")
    runs, reference = expand_ablations([tmp_path / "there"])
    assert (
        len(runs) == len(document["rows"]) and reference is not None and "ridge" in reference.name
    )
    write_report([tmp_path / "there"], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert (
        "reference" in text
        and "vqa-fuse train --dataset toy" in text
        and "--baseline ridge" in text
    )


def test_report_shows_gates_as_means_over_fifths_of_the_labels() -> None:
    mos = np.random.default_rng(0).permutation(50) / 10
    (gate,) = gate_tables(pd.DataFrame({"id": "a", "mos": mos, "e.0": mos, "e.1": 1 - mos}))
    assert gate.kind == "e" and gate.columns == ["0", "1"]
    assert [row.count for row in gate.rows] == [10] * 5
    means = [row.values[0][0] for row in gate.rows]
    assert means == pytest.approx([0.45, 1.45, 2.45, 3.45, 4.45])
    assert gate.overall == "0 2.45, 1 -1.45"
    assert gate_tables(None) == []


@pytest.mark.long
def test_report_finds_the_cache_from_another_folder_and_after_a_move(
    runs_and_clips: tuple[list[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, clips = runs_and_clips
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    relative = Path(os.path.relpath(runs[0], elsewhere))
    assert write_report(relative, "one.html", clips).frames == ""
    # only the run is moved, and then the cache as well
    copy = Path(shutil.copytree(runs[0], tmp_path / "run"))
    assert write_report(str(copy), "two.html", str(clips)).frames == ""
    place = {"absolute": "/nowhere", "from_run": "nowhere"}
    change_record(copy, lambda record: record["cache"].update(place))
    assert "give --cache DIR" in write_report(copy, "three.html", clips).frames
    cache = shutil.copytree(runs[0].parent / "cache", tmp_path / "new cache")
    assert write_report(copy, "four.html", clips, cache).frames == ""
    assert f"--cache '{cache}'" in html.unescape(Path("four.html").read_text())
    monkeypatch.setenv("VQA_CACHE", str(cache))
    assert write_report(copy, "five.html", clips).frames == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "nowhere is not a run"),
        (["RUN", "--output", "."], "is a folder; give --output a file"),
        (["RUN", "--root", "nowhere"], "--root nowhere is no folder"),
        ([], "Missing argument"),
    ],
)
def test_report_command_refuses_wrong_use_in_one_message(
    runs_and_clips: tuple[list[Path], Path], words: list[str], message: str, tmp_path: Path
) -> None:
    arguments = [str(runs_and_clips[0][0]) if word == "RUN" else word for word in words]
    result = called("vqa-fuse", "report", *arguments, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr


def test_report_command_prints_what_it_wrote(
    runs_and_clips: tuple[list[Path], Path], tmp_path: Path
) -> None:
    result = called(
        "vqa-fuse", "report", runs_and_clips[0][0], "--root", runs_and_clips[1], cwd=tmp_path
    )
    assert (
        result.returncode == 0
        and "report: report.html (0." in result.stdout
        and "could not be opened" in result.stdout
    )
    with pytest.raises(UsageError):
        write_report([], tmp_path / "report.html")


# --- in a browser ---


class Browser:
    """Chromium through its driver's plain HTTP protocol, which needs no library."""

    def __init__(self, address: str) -> None:
        self.address = address
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu"]
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "args": flags,
                "binary": shutil.which("chromium") or shutil.which("google-chrome"),
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session = self.call("session", {"capabilities": {"alwaysMatch": capabilities}})
        self.address = f"{address}/session/{session['sessionId']}"

    def call(self, path: str, body: dict[str, Any], method: str = "POST") -> Any:
        data = json.dumps(body).encode() if method == "POST" else None
        with urlopen(
            Request(f"{self.address}/{path}".rstrip("/"), data, method=method), timeout=30
        ) as answer:
            return json.load(answer)["value"]

    def js(self, script: str) -> Any:
        return self.call("execute/sync", {"script": script, "args": []})

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.call("goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, page: Path, width: int = 1200, scheme: str = "light") -> None:
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        self.cdp(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        self.call("url", {"url": page.as_uri()})

    def move(self, x: float, y: float, click: bool = False) -> None:
        kinds = ["mouseMoved", "mousePressed", "mouseReleased"][: 3 if click else 1]
        for kind in kinds:
            self.cdp("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        code, text = (13, "\r") if key == "Enter" else (0, "")
        self.cdp(
            "Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code
        )
        self.cdp("Input.dispatchKeyEvent", type="keyUp", key=key)

    def log(self, kind: str) -> list[dict[str, Any]]:
        return list(self.call("se/log", {"type": kind}))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    driver = shutil.which("chromedriver")
    if driver is None or not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip(
            "Chromium and its driver are not installed (apt-get install chromium chromium-driver)"
        )
    process = subprocess.Popen(
        [driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = next(
            match[1] for line in process.stdout if (match := re.search(r"on port (\d+)\.", line))
        )
        browser_session = Browser(f"http://127.0.0.1:{port}")
        yield browser_session
        browser_session.call("", {}, "DELETE")
    finally:
        process.terminate()
        process.wait(10)


MIDDLE = (
    "const box = {}.getBoundingClientRect(); return [box.left + box.width / 2, box.top + "
    "box.height / 2]"
)


def test_page_loads_without_errors_or_requests(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.log("browser"), browser.log("performance")
    browser.open(page[0])
    assert browser.log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
    urls = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in urls if not url.startswith("data:")] == [page[0].as_uri()]
    assert browser.js("return window.broken") is None
    picture = "document.querySelector('.strip img')"
    browser.js(f"{picture}.scrollIntoView()")  # which loads it
    deadline = time.monotonic() + 5
    while not (width := browser.js(f"return {picture}.naturalWidth")):
        assert time.monotonic() < deadline
    assert width == 128  # never enlarged


def test_table_headers_sort_by_mouse_and_keyboard(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.open(page[0])
    names = (
        "return [...document.querySelectorAll('.sortable tbody th')].map((cell) => "
        "cell.textContent)"
    )
    state = "return document.querySelectorAll('.sortable thead th')[{}].ariaSort"
    rmse = "document.querySelectorAll('.sortable button')[4]"  # lower is better
    browser.js(f"{rmse}.click()")
    best_first = browser.js(names)
    values = (
        "return [...document.querySelectorAll('.sortable tbody tr')].map((row) => "
        "Number(row.cells[4].dataset.value))"
    )
    assert browser.js(values) == sorted(browser.js(values)) and len(set(browser.js(values))) == 2
    assert browser.js(state.format(4)) == "ascending"
    browser.js(f"{rmse}.focus()")
    browser.press("Enter")
    assert browser.js(names) == best_first[::-1] and browser.js(state.format(4)) == "descending"
    browser.js("document.querySelectorAll('.sortable button')[0].click()")
    assert browser.js(names) == sorted(best_first) and browser.js(state.format(4)) == "none"


def test_point_of_the_plot_names_its_video_and_shows_its_frames(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.open(page[0])
    point = "document.querySelector('.points circle.full')"
    browser.js(f"{point}.scrollIntoView({{block: 'center'}})")
    x, y = browser.js(MIDDLE.format(point))
    browser.move(x, y)
    tip = browser.js(
        "const tip = document.querySelector('.tip'); return tip.hidden ? '' : tip.textContent"
    )
    assert NASTY in tip and "label 1.00, predicted 4.50" in tip
    browser.move(x, y, click=True)
    panel = "document.querySelector('.panel')"
    assert NASTY in browser.js(f"return {panel}.textContent")
    assert browser.js(f"return {panel}.querySelectorAll('img').length") == 4
    # the same by keyboard: move to the highest prediction and open its video
    browser.press("Home")
    assert browser.js("return document.activeElement.getAttribute('aria-label')").startswith(
        "video "
    )
    browser.press("Enter")
    assert NASTY not in browser.js(f"return {panel}.textContent")


def test_chosen_point_plays_its_video_where_the_file_is_at_hand(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.open(page[0])
    browser.log("browser")
    panel = "document.querySelector('.panel')"
    browser.js("document.querySelector('.points circle').focus()")
    played = "const video = document.querySelector('.panel video');"
    browser.press("Enter")
    deadline = time.monotonic() + 20
    while not (size := browser.js(f"{played} return video && video.videoWidth")):
        assert time.monotonic() < deadline, browser.js(f"return {panel}.textContent")
    assert size > 100 and browser.js(f"{played} return video.controls")
    assert NASTY in browser.js(f"{played} return video.getAttribute('aria-label')")
    assert browser.log("browser") == []
    # a file that went away since is told in the place of the video
    browser.js(f"{played} video.src = 'gone.mp4'")
    while "cannot play the file" not in browser.js(f"return {panel}.textContent"):
        assert time.monotonic() < deadline


def test_list_of_videos_is_filtered_sorted_and_leads_to_the_plot(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.open(page[0])
    browser.js("document.querySelector('.videos').open = true")
    rows = "[...document.querySelectorAll('.list tbody tr')]"
    names = f"return {rows}.map((row) => row.cells[0].textContent)"
    deadline = time.monotonic() + 5
    while len(browser.js(names)) != VIDEOS:
        assert time.monotonic() < deadline
    sizes = browser.js(
        f"return {rows}.map((row) => Math.abs(row.cells[3].textContent.replace('−', '-')))"
    )
    assert sizes == sorted(sizes, reverse=True) and browser.js(names)[0] == NASTY
    filtered = (
        "const box = document.querySelector('.videos input'); box.value = {!r}; "
        "box.dispatchEvent(new Event('input'))"
    )
    browser.js(filtered.format("VIDEO  1"))
    assert set(browser.js(names)) == {f"video {n}" for n in range(1, VIDEOS) if "1" in str(n)}
    browser.js("document.querySelectorAll('.list thead button')[0].focus()")
    browser.press("Enter")
    assert browser.js(names)[:3] == ["video 1", "video 10", "video 11"]
    assert browser.js("return document.querySelector('.list th').ariaSort") == "ascending"
    browser.js(f"{rows}[1].querySelector('button').focus()")
    browser.press("Enter")
    assert browser.js("return document.querySelector('.panel h4').textContent") == "video 10"
    browser.js(filtered.format("nothing"))
    assert browser.js(names) == []
    assert browser.js("return document.querySelector('.count').textContent") == "0 of 22 videos"


def test_downloaded_table_holds_the_predictions_of_the_listed_videos(
    browser: Browser,
    page: tuple[Path, ReportResult, str],
    runs_and_clips: tuple[list[Path], Path],
) -> None:
    browser.open(page[0])
    browser.js(
        "document.querySelector('.videos').open = true;"
        "URL.createObjectURL = (blob) => { blob.text().then((text) => (window.saved = text)); "
        "return 'blob:none'; };"
        "HTMLAnchorElement.prototype.click = function () { window.savedAs = this.download; };"
        "document.querySelector('.download').click()"
    )
    deadline = time.monotonic() + 5
    while (saved := browser.js("return window.saved")) is None:
        assert time.monotonic() < deadline
    assert browser.js("return window.savedAs") == "predictions-run-1.csv"
    table = pd.read_csv(io.StringIO(saved), dtype={"id": str}).set_index("id")
    best = max(runs_and_clips[0], key=lambda run: evaluate(run).median.srcc or 0.0)
    tested = Run(best).predictions().query("part == 'test'").groupby("id")[["mos", "predicted"]]
    expected = tested.mean().round(3).loc[table.index]
    assert len(table) == VIDEOS and np.allclose(table, expected, atol=1e-9)


def test_a_window_of_usual_width_shows_the_difference_that_is_to_be_believed(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.open(page[0], 1280)
    right = (
        "return [...document.querySelectorAll('.sortable thead th')]"
        ".find((cell) => cell.textContent.includes('{}')).getBoundingClientRect().right"
    )
    edge = browser.js("return document.querySelector('.box').getBoundingClientRect().right")
    for name in ("Mean SRCC difference [95 %, corrected]", "Corrected p", "Wins"):
        assert browser.js(right.format(name)) <= edge, name
    browser.open(page[0], 1200)
    boxes = "[...document.querySelectorAll('.box')]"
    cut_off = browser.js(f"return {boxes}.map((box) => box.scrollWidth - box.clientWidth)")
    assert max(cut_off) <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_without_horizontal_scrolling_in_both_colour_schemes(
    browser: Browser, page: tuple[Path, ReportResult, str], scheme: str
) -> None:
    browser.open(page[0], 375, scheme)
    assert browser.js("return [document.documentElement.scrollWidth, innerWidth]") == [375, 375]
    colors = (
        "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    )
    background, foreground = (
        sum(map(int, re.findall(r"\d+", color))) for color in browser.js(colors)
    )
    assert (background > foreground) == (scheme == "light") and abs(background - foreground) > 450


def test_printed_page_shows_all_runs(
    browser: Browser, page: tuple[Path, ReportResult, str]
) -> None:
    browser.open(page[0])
    browser.js("document.querySelectorAll('details.run').forEach((run) => (run.open = false))")
    browser.cdp("Page.printToPDF")
    deadline = time.monotonic() + 5
    while not (
        opened := browser.js(
            "return [...document.querySelectorAll('details.run')].every((run) => run.open)"
        )
    ):
        assert time.monotonic() < deadline
    assert opened


def test_report_opens_no_video_outside_of_the_root(
    runs_and_clips: tuple[list[Path], Path], tmp_path: Path
) -> None:
    runs, clips = runs_and_clips
    cache = Path(shutil.copytree(runs[0].parent / "cache", tmp_path / "cache"))
    path = cache / "clips" / "manifest.json"
    shutil.copy(clips / "testsrc.mp4", tmp_path / "private.mp4")
    root = Path(shutil.copytree(clips, tmp_path / "root"))
    (root / "link.mp4").symlink_to(tmp_path / "private.mp4")
    document = json.loads(path.read_text())
    outside = ["../private.mp4", str(tmp_path / "private.mp4"), "link.mp4", "/dev/zero"]
    for row, name in zip(document["rows"][1:], outside, strict=False):
        row["path"] = name
    (track,) = tracks(cache, "clips")
    ids = [row["id"] for row in document["rows"][1 : 1 + len(outside)]]
    write_sealed(path, document)
    strips, reasons = frame_strips(track, ids, root)
    assert not strips and all("leaves" in reasons[name] for name in ids)


@pytest.mark.long
def test_report_of_runs_says_what_the_rows_of_heads_are_averaged_with(
    toy_data: Dataset, tmp_path: Path
) -> None:
    for fusion in ("dynamic", "concat"):
        train_run(toy_data, replace(QUICK, fusion=fusion), tmp_path / fusion)
    write_report([tmp_path / "dynamic", tmp_path / "concat"], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("(--average-with ridge,kernel_ridge)") == 1
