"""Draws docs/images/architecture.svg: the folders of the program, and which imports which.

The imports are read from the code; positions and routes are fixed here. ``python
docs/architecture.py`` redraws the picture, and tests/whole/test_architecture.py says when that is
needed.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
PACKAGE = "vqa_twostage"
STAGES = ("pipeline", "extract", "fuse")
# files at the root of a stage that are commands; the others are what its parts share, such as
# evaluate, which computes the metrics of a run for all of them
COMMANDS = {
    "pipeline": {"cli_cache", "cli_data"},
    "extract": {"__main__", "cli", "dry_run", "run"},
    "fuse": {
        *{"ablate", "ablate_tracks", "compare", "cross_dataset", "export", "hub", "import_scores"},
        *{"learning_curve", "report", "reproduce", "run_list", "run_removal", "score", "train"},
        "train_jointly",
    },
}
PLUGINS = {
    "extract": {"samplers", "spatial", "temporal"},
    "fuse": {"baselines", "closed_form", "fusion", "pooling", "protocols", "temporal"},
}
# what is drawn as a part of another box
WITHIN = {
    "extract/extraction": "extract-commands",
    "extract/cluster": "extract-commands",
    "pipeline/presets": "pipeline",
    "fuse/__main__": "fuse/cli",
}


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and a line below it; a frame around boxes has the title alone."""

    x: float
    y: float
    width: float
    height: float
    title: str
    line: str = ""

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


FRAMES = [
    Box(20, 120, 450, 420, "Stage one: extract"),
    Box(550, 120, 620, 420, "Stage two: fuse"),
    Box(20, 630, 1150, 210, "The contract of both: pipeline"),
]
BOXES = {
    "vqa_twostage": Box(20, 20, 1150, 52, "vqa_twostage", "what a program imports, loaded lazily"),
    "extract-commands": Box(
        60, 160, 390, 56, "extract: commands", "vqa-extract: run, dry_run, extraction/, cluster/"
    ),
    "extract/inference": Box(180, 256, 180, 56, "extract/inference", "batches, networks; no av"),
    "extract-plugins": Box(40, 352, 150, 72, "plug-ins", "spatial, temporal, samplers"),
    "extract/networks": Box(40, 256, 100, 56, "networks", "weights"),
    "extract/decoding": Box(270, 352, 180, 72, "extract/decoding", "video to frames; no torch"),
    "extract": Box(
        40, 468, 410, 52, "extract: contracts", "extractor, sampler, options, preprocess"
    ),
    "fuse/cli": Box(620, 150, 530, 44, "fuse/cli", "vqa-fuse"),
    "fuse-commands": Box(
        620, 234, 530, 56, "fuse: commands", "train, ablate, compare, reproduce, report, score …"
    ),
    "fuse/reporting": Box(620, 352, 130, 72, "fuse/reporting", "no torch"),
    "fuse/delivery": Box(764, 352, 120, 72, "fuse/delivery", "ONNX"),
    "fuse/learning": Box(910, 352, 120, 72, "fuse/learning", "fit, scorer"),
    "fuse-plugins": Box(1054, 352, 106, 72, "plug-ins", "fusion, pooling, temporal …"),
    "fuse": Box(
        570, 468, 590, 52, "fuse: contracts", "streams, data, splits, runs, evaluate, options"
    ),
    "pipeline/demo": Box(60, 674, 190, 60, "pipeline/demo", "the demo dataset"),
    "pipeline-commands": Box(410, 674, 200, 60, "pipeline: commands", "vqa-data, vqa-cache"),
    "pipeline/datasets": Box(680, 674, 170, 60, "pipeline/datasets", "labels, manifest"),
    "pipeline/cache": Box(900, 674, 170, 60, "pipeline/cache", "the only HDF5"),
    "pipeline": Box(
        40,
        768,
        1110,
        52,
        "pipeline: contracts",
        "spec, identity, features, files, versions, errors, presets",
    ),
}


@dataclass(frozen=True)
class Route:
    """How the imports of some boxes by others are drawn: one line through ``points``."""

    sources: frozenset[str]
    targets: frozenset[str]
    points: tuple[tuple[float, float], ...]

    def carries(self, edge: tuple[str, str]) -> bool:
        return edge[0] in self.sources and edge[1] in self.targets


def route(sources: str, targets: str, *points: tuple[float, float]) -> Route:
    return Route(frozenset(sources.split()), frozenset(targets.split()), points)


EXTRACT = " ".join(name for name in BOXES if name.startswith("extract"))
FUSE = " ".join(name for name in BOXES if name.startswith("fuse"))
ROUTES = [
    route("vqa_twostage", EXTRACT, (245, 72), (245, 120)),
    route("vqa_twostage", FUSE, (840, 72), (840, 120)),
    route(
        "vqa_twostage",
        "pipeline pipeline/datasets",
        (1170, 46),
        (1188, 46),
        (1188, 700),
        (1170, 700),
    ),
    # where the two stages meet
    route("fuse-commands", EXTRACT, (620, 262), (470, 262)),
    route("fuse/reporting", "extract/decoding", (620, 376), (450, 376)),
    route("pipeline-commands", "extract/decoding", (510, 674), (510, 404), (450, 404)),
    # stage one
    route("extract-commands", "extract/inference", (270, 216), (270, 256)),
    route("extract-commands", "extract/networks", (100, 216), (100, 256)),
    route("extract-commands", "extract/decoding", (410, 216), (410, 352)),
    route("extract-commands", "extract", (450, 188), (460, 188), (460, 494), (450, 494)),
    route("extract/inference", "extract/decoding", (320, 312), (320, 352)),
    route("extract/inference", "extract", (230, 312), (230, 468)),
    route("extract-plugins", "extract/networks", (90, 352), (90, 312)),
    route("extract-plugins", "extract/decoding", (190, 388), (270, 388)),
    route("extract-plugins", "extract", (115, 424), (115, 468)),
    route("extract/networks", "extract", (40, 284), (30, 284), (30, 494), (40, 494)),
    route(
        "extract", "extract/networks", (160, 468), (160, 440), (200, 440), (200, 290), (140, 290)
    ),
    route("extract/decoding", "extract", (340, 424), (340, 468)),
    route("extract", "extract/decoding", (390, 468), (390, 424)),
    # stage two
    route("fuse/cli", "fuse-commands", (850, 194), (850, 234)),
    route("fuse/cli", "fuse/reporting", (620, 180), (604, 180), (604, 400), (620, 400)),
    route("fuse/cli", "fuse", (620, 164), (586, 164), (586, 468)),
    route("fuse-commands", "fuse/reporting", (685, 290), (685, 352)),
    route("fuse-commands", "fuse/delivery", (824, 290), (824, 352)),
    route("fuse-commands", "fuse/learning", (970, 290), (970, 352)),
    route("fuse-commands", "fuse-plugins", (1100, 290), (1100, 352)),
    route("fuse-commands", "fuse", (897, 290), (897, 468)),
    route("fuse/delivery", "fuse/learning", (884, 376), (910, 376)),
    route("fuse/delivery", "fuse-plugins", (860, 352), (860, 322), (1107, 322), (1107, 352)),
    route("fuse-plugins", "fuse/learning", (1054, 376), (1030, 376)),
    route("fuse/learning", "fuse-plugins", (1030, 400), (1054, 400)),
    route("fuse/reporting", "fuse", (685, 424), (685, 468)),
    route("fuse/delivery", "fuse", (824, 424), (824, 468)),
    route("fuse/learning", "fuse", (970, 424), (970, 468)),
    route("fuse-plugins", "fuse", (1107, 424), (1107, 468)),
    # both stages read the contract and the cache
    route(EXTRACT, "pipeline", (330, 540), (330, 768)),
    route(EXTRACT, "pipeline/datasets", (380, 540), (380, 608), (710, 608), (710, 674)),
    route(EXTRACT, "pipeline/cache", (430, 540), (430, 586), (940, 586), (940, 674)),
    route(FUSE, "pipeline/datasets", (765, 540), (765, 674)),
    route(FUSE, "pipeline", (875, 540), (875, 768)),
    route(FUSE, "pipeline/cache", (1010, 540), (1010, 674)),
    # inside the contract
    route("pipeline-commands", "pipeline/demo", (410, 704), (250, 704)),
    route("pipeline-commands", "pipeline/datasets", (610, 694), (680, 694)),
    route(
        "pipeline-commands",
        "pipeline/cache",
        (610, 720),
        (640, 720),
        (640, 751),
        (920, 751),
        (920, 734),
    ),
    route("pipeline/cache", "pipeline/datasets", (900, 704), (850, 704)),
    route("pipeline/demo", "pipeline", (155, 734), (155, 768)),
    route("pipeline-commands", "pipeline", (510, 734), (510, 768)),
    route("pipeline/datasets", "pipeline", (765, 734), (765, 768)),
    route("pipeline/cache", "pipeline", (1010, 734), (1010, 768)),
]


def box_of(module: tuple[str, ...]) -> str:
    """The box of a module, given by the parts of its name: ``("fuse", "learning", "fit")``."""
    stage, *rest = module
    folder = "/".join(module[:2])
    if folder in WITHIN:
        return WITHIN[folder]
    if rest and rest[0] in PLUGINS.get(stage, ()):
        return f"{stage}-plugins"
    if rest and rest[0] in COMMANDS[stage]:
        return f"{stage}-commands"
    return folder if (ROOT / folder).is_dir() and rest else stage


def modules_imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Modules of this program that a file imports, without the package's own name and version."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        package, *parts = node.module.split(".")
        if package != PACKAGE:
            continue
        for name in node.names:
            module = (*parts, name.name)
            if module[0] in STAGES:
                yield module


def folder_imports() -> set[tuple[str, str]]:
    """(box, box that it imports), of all boxes that differ."""
    files = [*(ROOT / PACKAGE).glob("*.py")]
    files += [path for stage in STAGES for path in (ROOT / stage).rglob("*.py")]
    edges = set()
    for path in files:
        module = path.relative_to(ROOT).with_suffix("").parts
        if "testing" in module:  # for the tests of authors; nothing of the product imports it
            continue
        source = PACKAGE if module[0] == PACKAGE else box_of(module)
        edges |= {(source, box_of(target)) for target in modules_imported(path)}
    return {(source, target) for source, target in edges if source != target}


def draw(edges: set[tuple[str, str]]) -> str:
    lines = [*ROUTES]
    for source, target in sorted(edges):
        if not any(line.carries((source, target)) for line in lines):
            lines.append(_straight(source, target))
    parts = [_frame(box) for box in FRAMES]
    parts += [_arrow(line, edges) for line in lines if any(map(line.carries, edges))]
    parts += [_box(name, box) for name, box in BOXES.items()]
    return HEAD + "\n".join(parts) + TAIL


def drawn_imports(svg: str) -> set[tuple[str, str]]:
    """(box, box that it imports) of the arrows in a picture."""
    import xml.etree.ElementTree as ElementTree

    arrows = ElementTree.fromstring(svg).iterfind(".//{*}path[@data-from]")
    return {
        (source, target)
        for arrow in arrows
        for source in arrow.attrib["data-from"].split()
        for target in arrow.attrib["data-to"].split()
    }


def _straight(source: str, target: str) -> Route:
    """An import that has no route yet: from centre to centre, below the boxes."""
    return Route(
        frozenset({source}), frozenset({target}), (BOXES[source].centre, BOXES[target].centre)
    )


def _arrow(line: Route, edges: Iterable[tuple[str, str]]) -> str:
    carried = [edge for edge in edges if line.carries(edge)]
    sources = sorted({source for source, _ in carried})
    targets = sorted({target for _, target in carried})
    stages = {name.partition("/")[0].partition("-")[0] for name in (*sources, *targets)}
    meets = {"extract", "fuse"} <= stages or (
        "pipeline-commands" in sources and "extract" in stages
    )
    path = " L".join(f"{x:g} {y:g}" for x, y in line.points)
    return (
        f'<path class="arrow{" meet" if meets else ""}" d="M{path}" '
        f'marker-end="url(#{"meet" if meets else "head"})" '
        f'data-from="{" ".join(sources)}" data-to="{" ".join(targets)}"/>'
    )


def _frame(box: Box) -> str:
    return (
        f'<rect class="frame" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" '
        f'rx="10"/>\n<text class="frame-title" x="{box.x + 14}" y="{box.y + 24}">'
        f"{escape(box.title)}</text>"
    )


def _box(name: str, box: Box) -> str:
    x, y = box.centre
    texts = [f'<text class="title" x="{x:g}" y="{y - 3:g}">{escape(box.title)}</text>']
    words, lines = box.line.split(", "), [""]
    for word in words:  # a line is broken where it would leave its box
        longer = f"{lines[-1]}, {word}" if lines[-1] else word
        if lines[-1] and len(longer) * 5.9 > box.width - 12:
            lines[-1] += ","
            lines.append(word)
        else:
            lines[-1] = longer
    if len(lines) > 1:
        texts = [f'<text class="title" x="{x:g}" y="{y - 10:g}">{escape(box.title)}</text>']
    first = y + 14 - (8 if len(lines) > 1 else 0)
    texts += [
        f'<text class="line" x="{x:g}" y="{first + 15 * number:g}">{escape(line)}</text>'
        for number, line in enumerate(lines)
    ]
    return (
        f'<g data-box="{name}"><rect class="box" x="{box.x}" y="{box.y}" width="{box.width}" '
        f'height="{box.height}" rx="6"/>' + "".join(texts) + "</g>"
    )


HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1208 890" role="img"
 font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif">
<title>Folders of the program, and which imports which</title>
<style>
 .ground { fill: #ffffff }
 .frame { fill: #f3f6f9; stroke: #c3ccd6 }
 .frame-title { fill: #52606d; font-size: 14px; font-weight: 600 }
 .box { fill: #ffffff; stroke: #7b8794; stroke-width: 1.2 }
 .title { fill: #1f2933; font-size: 14px; font-weight: 600; text-anchor: middle }
 .line { fill: #52606d; font-size: 11.5px; text-anchor: middle }
 .note { fill: #52606d; font-size: 12.5px }
 .arrow { fill: none; stroke: #7b8794; stroke-width: 1.4 }
 .meet { stroke: #c05621 }
 .head { fill: #7b8794 }
 .head-meet { fill: #c05621 }
 @media (prefers-color-scheme: dark) {
  .ground { fill: #1b1f24 }
  .frame { fill: #242a31; stroke: #414b56 }
  .frame-title, .line, .note { fill: #a9b4c0 }
  .box { fill: #2f3740; stroke: #78838f }
  .title { fill: #edf1f5 }
  .arrow { stroke: #93a0ad }
  .meet { stroke: #f0975a }
  .head { fill: #93a0ad }
  .head-meet { fill: #f0975a }
 }
</style>
<defs>
<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
 orient="auto"><path class="head" d="M0 0 L10 5 L0 10 z"/></marker>
<marker id="meet" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
 orient="auto"><path class="head-meet" d="M0 0 L10 5 L0 10 z"/></marker>
</defs>
<rect class="ground" width="1208" height="890"/>
"""
TAIL = """
<text class="note" x="24" y="868">An arrow goes from a folder to one that it imports; an arrow \
from or to a frame stands for all boxes in it that have that import.</text>
<path class="arrow meet" d="M912 864 L952 864" marker-end="url(#meet)"/>
<text class="note" x="960" y="868">where the stages meet</text>
</svg>
"""


if __name__ == "__main__":
    PICTURE.write_text(draw(folder_imports()), encoding="utf-8")
