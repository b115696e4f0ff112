"""Runs as one HTML page that needs nothing else: figures, plots, worst misses, gates, curves,
identity.

All text of the page is escaped by its template (fuse/reporting/page/template.html), all data for
its program are JSON without a character that HTML knows, and its content security policy lets
nothing be fetched and no other program run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from vqa_twostage.fuse.compare import compare_runs
from vqa_twostage.fuse.reporting import charts
from vqa_twostage.fuse.reporting.sections import LIKELY, MISSES, Found, Run, section
from vqa_twostage.fuse.reporting.terminal import METRIC_TITLES, METRICS
from vqa_twostage.fuse.reporting.thumbnails import FrameStrip, frame_strips
from vqa_twostage.fuse.runs import Ablation, RunSpecs
from vqa_twostage.pipeline import records
from vqa_twostage.pipeline.cache.layout import TrackPath
from vqa_twostage.pipeline.errors import UsageError, require

PAGE = Path(__file__).parent / "reporting" / "page"
PICTURED = 80  # videos with frames, of all runs together
FRAMES_BYTES, RUN_BYTES = (
    3_500_000,
    17_000,
)  # frames have the room that the text of the runs leaves them


def write_report(runs: Sequence[Path], output: Path, root: Path | None = None) -> dict[str, Any]:
    """Writes a page about ``runs`` (or an ablation's folder) to ``output``, and says what is in it.

    ``root``: where the videos lie, for pictures of their sampled frames. Videos that cannot be
    opened are in ``unreadable`` with the reason; ``frames`` says why there are none at all. Returns
    the document of ``vqa-fuse report --json``; UsageError on wrong use.
    """
    require(
        not output.is_dir(),
        f"{output} is a folder; give --output a file in it, as {output / 'report.html'}",
    )
    require(
        output.suffix.lower() in (".html", ".htm"),
        f"--output {output}: the report is a page; end its name in .html",
    )
    require(
        root is None or root.is_dir(),
        f"--root {root} is no folder; give the one below which the videos lie",
    )
    paths, reference = expanded(runs)
    read = [Run.read(path) for path in paths]
    rows, compared, why_not = compared_rows(read, reference)
    found, unreadable, no_frames, left_out = frames_of(read, root)
    tracks = list(dict.fromkeys(run.track for run in read))
    keys = {which: f"{tracks.index(which[0])}/{which[1]}" for which in found}
    order = {row["run"]: place for place, row in enumerate(rows)}
    read.sort(key=lambda run: order[str(run.path)])
    sections, data = zip(*(section(run, found, keys, len(read)) for run in read), strict=True)
    ids = list(dict.fromkeys(point[0] for run in data for point in run["points"]))
    number = {name: place for place, name in enumerate(ids)}
    embedded = {
        "ids": ids,
        "runs": [
            {**run, "points": [[number[point[0]], *point[1:]] for point in run["points"]]}
            for run in data
        ],
        "frames": {
            keys[which]: {**vars(strip), "images": _as_base64(strip)}
            for which, strip in found.items()
        },
    }
    style, script = (
        (PAGE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js")
    )
    environment = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template("template.html").render(
        title=", ".join(dict.fromkeys(run.record["dataset"] for run in read))
        + (f": {sections[0]['name']}" if len(read) == 1 else f": {len(read)} runs"),
        sections=sections,
        rows=rows,
        compared=compared,
        why_not=why_not,
        metrics=list(zip(METRICS, METRIC_TITLES, strict=True)),
        no_frames=no_frames,
        unreadable=unreadable,
        left_out=left_out,
        likely=LIKELY,
        style=Markup(style),  # files of this program
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=safe_json(embedded),
        version=records.versions()["vqa-twostage"],
    )
    records.write_text(output, text)
    about = {
        "report": str(output),
        "bytes": output.stat().st_size,
        "runs": [str(run.path) for run in read],
    }
    return {
        **about,
        "why_not_compared": why_not,
        "pictured": len(found),
        "frames": no_frames,
        "unreadable": unreadable,
    }


def expanded(runs: Sequence[Path]) -> tuple[list[Path], Path | None]:
    """Runs, each once, the folder of an ablation standing for those in it; and its reference."""
    found: list[Path] = []
    reference = None
    for path in runs:
        ablation = Ablation(path)
        if ablation.complete:
            found += ablation.runs()
            reference = reference or ablation.reference()
        else:
            found.append(path)
    require(bool(found), "report needs a run or more; vqa-fuse train makes them")
    return list(dict.fromkeys(found)), reference


def compared_rows(
    runs: list[Run], reference: Path | None
) -> tuple[list[dict[str, Any]], dict[str, Any] | None, str]:
    """A row a run, with paired differences where they may be compared (the document of that), or
    why they may not.
    """
    plain = [
        {
            **run.document,
            "name": RunSpecs(**run.record["specs"]).name,
            "difference": None,
            "plot": "",
        }
        for run in runs
    ]
    if len(runs) < 2:
        return plain, None, ""
    try:
        document = compare_runs([run.path for run in runs], reference)
    except UsageError as error:
        return plain, None, str(error)
    intervals = [end for row in document["rows"] for end in row["interval"] or ()]
    extent = max(map(abs, intervals), default=0) or 1.0
    for row in document["rows"]:
        row["plot"] = ""
        if row["interval"]:
            low, high = row["interval"]
            said = f"{row['difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}"
            row["plot"] = charts.interval(low, row["difference"], high, extent, said)
    return document["rows"], document, ""


def frames_of(runs: list[Run], root: Path | None) -> tuple[Found, dict[str, str], str, int]:
    """Frames by track and id: of all misses, and of the first run's likely videos; why not; how
    many were too many.
    """
    if root is None:
        return {}, {}, "give --root DIR, the folder below which the videos lie", 0
    misses = [(run.track, str(name)) for run in runs for name in run.videos["id"][:MISSES]]
    wanted = list(dict.fromkeys([*misses, *((runs[0].track, name) for name in runs[0].likely())]))
    found: Found = {}
    unreadable: dict[str, str] = {}
    problems: dict[TrackPath, str] = {}
    size = 0
    for track in dict.fromkeys(track for track, _ in wanted):
        try:
            made, reasons = frame_strips(
                track, [name for of, name in wanted[:PICTURED] if of == track], root
            )
        except UsageError as error:
            problems[track] = str(error)
            continue
        unreadable |= reasons
        for name, strip in made.items():
            characters = sum(map(len, _as_base64(strip)))
            if size + characters <= FRAMES_BYTES - RUN_BYTES * len(runs):
                found[track, name] = strip
                size += characters
    left_out = sum(
        which not in found and which[1] not in unreadable and which[0] not in problems
        for which in wanted
    )
    return found, unreadable, "; ".join(dict.fromkeys(problems.values())), left_out


def _as_base64(strip: FrameStrip) -> list[str]:
    """The pictures of a strip as text for the page."""
    return [base64.b64encode(jpeg).decode("ascii") for jpeg in strip.images]


def safe_json(document: Any) -> Markup:
    """JSON that may stand in a page: nothing in it can end the element or begin another."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
