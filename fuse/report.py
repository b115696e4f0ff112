"""Runs as one HTML page that needs nothing else: metrics, plots, largest errors, gates, curves,
identity.

All text of the page is escaped by its template (fuse/reporting/page/template.html), all data for
its program are JSON without a character that HTML knows, and its content security policy lets
nothing be fetched and no other program run.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.paired import WHICH_TO_BELIEVE, PairedStatistics
from vqa_twostage.fuse.reporting import charts
from vqa_twostage.fuse.reporting.formatting import (
    METRIC_TITLES,
    few_tested,
    meaning,
    meaning_of_difference,
    median_and_spread,
    oracle_srcc,
)
from vqa_twostage.fuse.reporting.sections import RunToReport, Section, VideoKey, section_of
from vqa_twostage.fuse.reporting.thumbnails import FrameStrip, frame_strips
from vqa_twostage.fuse.reporting.video_files import addresses
from vqa_twostage.fuse.results import SplitSummary
from vqa_twostage.fuse.runs import Ablation
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError
from vqa_twostage.pipeline.files import write_text
from vqa_twostage.pipeline.versions import library_versions

PAGE = Path(__file__).parent / "reporting" / "page"
MAX_PICTURED = 80  # videos with frames, of all runs together
# the frames may take what the text of the runs leaves of the page
MAX_FRAMES_BYTES, BYTES_OF_RUN = 3_500_000, 17_000


@dataclass(frozen=True)
class ReportResult:
    """What `write_report` wrote.

    ``why_not_compared``: why there are no paired differences; ``pictured``: videos with frames;
    ``frames``: why there are no frames at all; ``unreadable``: videos that cannot be opened, and
    why.
    """

    report: Path
    bytes: int
    runs: list[Path]
    why_not_compared: str
    pictured: int
    frames: str
    unreadable: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The document of ``vqa-fuse report --json``."""
        return {**asdict(self), "report": str(self.report), "runs": [str(run) for run in self.runs]}

    def to_text(self) -> str:
        """What ``vqa-fuse report`` prints for people."""
        lines = []
        if self.why_not_compared:
            lines.append(f"without paired differences: {self.why_not_compared}")
        if self.frames:
            lines.append(f"without frames of the videos: {self.frames}")
        lines += [
            f"could not be opened: {name}: {reason}" for name, reason in self.unreadable.items()
        ]
        size = f"{self.bytes / 1e6:.1f} MB, frames of {self.pictured} videos"
        lines.append(f"report: {self.report} ({size})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Row:
    """A run in the table of comparison; ``paired`` is None where there is no comparison, and for
    the reference. ``plot``: the corrected difference and its interval as SVG.
    """

    run: str
    name: str
    dataset: str
    protocol: str
    summary: SplitSummary
    is_reference: bool = False
    paired: PairedStatistics | None = None
    plot: Markup | None = None


@dataclass(frozen=True)
class Compared:
    """What the rows of a comparison share."""

    protocol: str
    n_splits: int
    label: str
    reference: str
    notes: list[str]
    """What is said of the rows together; what is said of one run stands in its section."""


@dataclass(frozen=True)
class Pictures:
    """Frames of videos. ``unreadable``: videos that cannot be opened, and why; ``problem``: why
    there are none at all; ``left_out``: videos for which the page has no room.
    """

    strips: dict[VideoKey, FrameStrip]
    unreadable: dict[str, str]
    problem: str
    left_out: int


def write_report(
    runs: str | Path | Iterable[str | Path],
    output: str | Path,
    root: str | Path | None = None,
    cache: str | Path | None = None,
) -> ReportResult:
    """Writes one HTML page about runs.

    Args:
        runs: One or many folders of runs, or of ablations, which stand for the runs in them.
        output: The page, a file that ends in .html.
        root: The folder below which the videos lie, for pictures of their sampled frames.
        cache: Where the features are; None is where the runs were trained, or ``$VQA_CACHE``.

    Returns:
        Where the page is, and what it lacks.

    Raises:
        UsageError: A folder is not a run, or ``output`` cannot be a page; nothing was written.
    """
    output = Path(output)
    _check_paths(output, root)
    folders, reference = expand_ablations(
        [runs] if isinstance(runs, str | os.PathLike) else list(runs)
    )
    read = [RunToReport.read(folder, None if cache is None else Path(cache)) for folder in folders]
    rows, compared, why_not_compared = compared_rows(read, reference)
    order = {row.run: place for place, row in enumerate(rows)}
    pictures = pictures_of(read, None if root is None else Path(root))
    read.sort(key=lambda run: order[str(run.run.folder)])
    tracks = list(dict.fromkeys(track for track, _ in pictures.strips))
    keys = {(track, name): f"{tracks.index(track)}/{name}" for track, name in pictures.strips}
    sections = [section_of(run, pictures.strips, keys, len(read)) for run in read]
    files = [] if root is None else [_files_of(run, Path(root), output) for run in read]
    datasets = ", ".join(dict.fromkeys(run.record.dataset for run in read))
    subject = sections[0].name if len(sections) == 1 else f"{len(sections)} runs"
    text = _render(
        title=f"{datasets}: {subject}",
        sections=sections,
        rows=rows,
        compared=compared,
        which_to_believe=WHICH_TO_BELIEVE,
        meaning_of_difference=meaning_of_difference,
        median_and_spread=median_and_spread,
        oracle_srcc=oracle_srcc,
        meaning=meaning(read[0].evaluation.summary),
        why_not=why_not_compared,
        metrics=list(METRIC_TITLES.items()),
        no_frames=pictures.problem,
        unreadable=pictures.unreadable,
        left_out=pictures.left_out,
        few=few_tested(min(rows, key=lambda row: row.summary.n_test).summary),
        plays=any(files),
        data=safe_json({**_page_data(sections, pictures.strips, keys), **_numbered(files)}),
        version=library_versions()["vqa-twostage"],
    )
    write_text(output, text)
    return ReportResult(
        output,
        output.stat().st_size,
        [run.run.folder for run in read],
        why_not_compared,
        len(pictures.strips),
        pictures.problem,
        pictures.unreadable,
    )


def expand_ablations(runs: Sequence[str | Path]) -> tuple[list[Path], Path | None]:
    """Runs, each once, where the folder of an ablation stands for those in it; and the reference
    of the first ablation.
    """
    folders: list[Path] = []
    reference = None
    for path in map(Path, runs):
        ablation = Ablation(path)
        if ablation.complete:
            folders += ablation.runs()
            reference = reference or ablation.reference()
        else:
            folders.append(path)
    if not folders:
        raise UsageError("report needs a run or more; vqa-fuse train makes them")
    return list(dict.fromkeys(folders)), reference


def compared_rows(
    runs: Sequence[RunToReport], reference: Path | None
) -> tuple[list[Row], Compared | None, str]:
    """A row for each run, with paired differences where runs may be compared, else the reason why
    not.
    """
    rows = [
        Row(
            str(run.run.folder),
            run.record.specs.name,
            run.evaluation.dataset,
            run.evaluation.protocol,
            run.evaluation.summary,
        )
        for run in runs
    ]
    if len(runs) < 2:
        return rows, None, ""
    try:
        comparison = compare([run.run.folder for run in runs], reference)
    except UsageError as error:
        return rows, None, str(error)
    row_of = {row.run: row for row in rows}
    intervals = [
        row.paired.corrected.interval
        for row in comparison.rows
        if row.paired is not None and row.paired.corrected is not None
    ]
    extent = max((abs(end) for interval in intervals for end in interval), default=0.0) or 1.0
    paired = []
    for item in comparison.rows:
        is_reference = item.run == comparison.reference_run
        row = replace(row_of[str(item.run)], is_reference=is_reference, paired=item.paired)
        if item.paired is not None and (corrected := item.paired.corrected):
            low, high = corrected.interval
            title = f"{corrected.difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
            row = replace(row, plot=charts.interval(low, corrected.difference, high, extent, title))
        paired.append(row)
    of_runs = {note for run in runs for note in run.evaluation.notes}
    shared = Compared(
        comparison.protocol,
        comparison.n_splits,
        comparison.label,
        comparison.reference,
        [note for note in comparison.notes if note not in of_runs],
    )
    return paired, shared, ""


def pictures_of(runs: Sequence[RunToReport], root: Path | None) -> Pictures:
    """Frames of the videos with the largest errors in all runs, and of those that a reader is
    likely to select in the first.
    """
    if root is None:
        return Pictures({}, {}, "give --root DIR, the folder below which the videos lie", 0)
    problems = [run.cache_problem for run in runs if run.track is None]
    asked = [(run.track, name) for run in runs for name in run.largest_errors()]
    asked += [(runs[0].track, name) for name in runs[0].likely_selected()]
    wanted = list(dict.fromkeys((track, name) for track, name in asked if track is not None))
    strips: dict[VideoKey, FrameStrip] = {}
    unreadable: dict[str, str] = {}
    without_frames: set[TrackPath] = set()
    room = MAX_FRAMES_BYTES - BYTES_OF_RUN * len(runs)
    for track in dict.fromkeys(track for track, _ in wanted):
        ids = [name for of, name in wanted[:MAX_PICTURED] if of == track]
        try:
            readable, reasons = frame_strips(track, ids, root)
        except UsageError as error:
            problems.append(str(error))
            without_frames.add(track)
            continue
        unreadable |= reasons
        for name, strip in readable.items():
            size = sum(map(len, _as_base64(strip)))
            if size <= room:
                strips[track, name] = strip
                room -= size
    left_out = sum(
        (track, name) not in strips and name not in unreadable and track not in without_frames
        for track, name in wanted
    )
    return Pictures(strips, unreadable, "; ".join(dict.fromkeys(problems)), left_out)


def _files_of(run: RunToReport, root: Path, output: Path) -> dict[str, str]:
    """Addresses of the run's videos whose files are below ``root``, by id."""
    if run.track is None:
        return {}
    try:
        return addresses(run.track, run.videos["id"], root, output)
    except UsageError:  # of a damaged manifest, which is told where frames are missing
        return {}


def _numbered(files: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Addresses for the page's program: each set of them once, and which one a run has."""
    distinct: list[Mapping[str, str]] = []
    for of_run in files:
        if of_run not in distinct:
            distinct.append(of_run)
    return {"files": distinct, "filesOf": [distinct.index(of_run) for of_run in files]}


def safe_json(document: Any) -> Markup:
    """JSON that may stand in a page: nothing in it can end the element or begin another."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _check_paths(output: Path, root: str | Path | None) -> None:
    if output.is_dir():
        raise UsageError(
            f"{output} is a folder; give --output a file in it, as {output / 'report.html'}"
        )
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {output}: the report is a page; end its name in .html")
    if root is not None and not Path(root).is_dir():
        raise UsageError(f"--root {root} is no folder; give the one below which the videos lie")


def _page_data(
    sections: Sequence[Section],
    strips: Mapping[VideoKey, FrameStrip],
    keys: Mapping[VideoKey, str],
) -> dict[str, Any]:
    """What the page's program knows: points of each run by the number of their video, and frames
    by key.
    """
    ids = list(dict.fromkeys(point.id for section in sections for point in section.points))
    number = {name: place for place, name in enumerate(ids)}
    runs = [
        {
            "points": [
                # a key only where there are frames
                [number[point.id], point.mos, point.predicted, *([point.key] if point.key else [])]
                for point in section.points
            ],
            "attention": section.attention,
        }
        for section in sections
    ]
    frames = {
        keys[video]: {
            "rows": strip.rows,
            "of": strip.of,
            "timestamp": strip.timestamp,
            "images": _as_base64(strip),
        }
        for video, strip in strips.items()
    }
    return {"ids": ids, "runs": runs, "frames": frames}


def _as_base64(strip: FrameStrip) -> list[str]:
    """The pictures of a strip as text for the page."""
    return [base64.b64encode(jpeg).decode("ascii") for jpeg in strip.images]


def _render(**values: Any) -> str:
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # files of this program, which need no escapes
    style = Markup((PAGE / "style.css").read_text("utf-8"))
    script = Markup((PAGE / "script.js").read_text("utf-8"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("template.html")
    return template.render(style=style, script=script, script_digest=digest, **values)
