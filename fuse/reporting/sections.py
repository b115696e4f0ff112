"""One run in a report: metrics, plots, worst misses, gates, curves, identity, commands."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from vqa_twostage.fuse.metrics import apply_logistic, fit_logistic
from vqa_twostage.fuse.reporting import charts
from vqa_twostage.fuse.reporting.terminal import METRICS, said_n
from vqa_twostage.fuse.reporting.thumbnails import FrameStrip
from vqa_twostage.fuse.runs import Run as RunFolder
from vqa_twostage.fuse.runs import RunSpecs
from vqa_twostage.pipeline.cache.layout import TrackPath

MISSES = 8
LIKELY = 40  # points of the first run that have frames, its misses among them
POINTS, POINTS_A_RUN = 15_000, 2_000  # drawn
RANGES = 5

Found = dict[tuple[TrackPath, str], FrameStrip]  # frames, by track and id


@dataclass(frozen=True)
class Run:
    """What is read of a run. ``videos``: ``id, mos, predicted`` of each tested video, the largest
    miss first.
    """

    path: Path
    record: dict[str, Any]
    document: Mapping[str, Any]
    videos: pd.DataFrame

    @staticmethod
    def read(path: Path) -> Run:
        document = RunFolder(path).metrics().to_json()
        table = RunFolder(path).predictions()
        tested = (
            table[table["part"] == "test"]
            .groupby("id", sort=False)[["mos", "predicted"]]
            .mean()
            .reset_index()
        )
        order = (
            (tested["predicted"] - tested["mos"])
            .abs()
            .sort_values(ascending=False, kind="stable")
            .index
        )
        return Run(
            path,
            RunFolder(path).record().to_json(),
            document,
            tested.loc[order].reset_index(drop=True),
        )

    @property
    def track(self) -> TrackPath:
        """Whose frames are shown: the spatial one."""
        location = self.record["cache"]
        return TrackPath.parse(Path(location["absolute"]) / location["spatial"])

    def likely(self) -> list[str]:
        """Videos that a reader is likeliest to look at: the largest misses, the lowest and the
        highest predictions.
        """
        ends = self.videos.sort_values("predicted")["id"]
        each = LIKELY // 5
        return list(dict.fromkeys([*self.videos["id"][: 3 * each], *ends[:each], *ends[-each:]]))


def section(
    run: Run, found: Found, keys: dict[tuple[TrackPath, str], str], runs: int
) -> tuple[dict[str, Any], Any]:
    """What the template shows of a run, and what its program knows of it: points, attention."""
    record, document, videos = run.record, run.document, run.videos
    most = min(POINTS_A_RUN, max(POINTS // runs, 100))
    drawn = videos
    if len(videos) > most:  # misses and what has frames come first
        first = (videos.index < MISSES) | videos["id"].map(lambda name: (run.track, name) in found)
        drawn = pd.concat(
            [videos[first], videos[~first].sample(max(most - int(first.sum()), 0), random_state=0)]
        )
    points = list(zip(drawn["predicted"].tolist(), drawn["mos"].tolist(), strict=True))
    curve = fit_logistic(videos["predicted"].to_numpy(), videos["mos"].to_numpy())
    x = np.linspace(videos["predicted"].min(), videos["predicted"].max(), 120)
    line = (
        []
        if curve is None
        else list(zip(x.tolist(), apply_logistic(curve, x).tolist(), strict=True))
    )
    known = [keys.get((run.track, name)) for name in drawn["id"]]
    name = RunSpecs(**record["specs"]).name
    said = (
        f"{name}: prediction and {document['label']} of {len(drawn)} videos; arrow keys go "
        "from point to point"
    )
    splits = pd.DataFrame(document["splits"])[list(METRICS)].astype(float)
    lists = {"median": document["median"], "spread": document["spread"]}
    lists |= {"lowest": splits.min().to_dict(), "highest": splits.max().to_dict()}
    notes = [*document["notes"]]
    if document["undefined"]:
        notes.append(
            f"undefined, and not in the median: SRCC of {document['undefined']} splits (constant "
            "scores)"
        )
    attention = RunFolder(run.path).attention()
    shares = {}
    if attention is not None:
        groups = attention[attention["id"].isin(drawn["id"])].groupby("id")["importance"]
        for key, (_, video_id) in (
            (keys[which], which) for which in found if which[0] == run.track
        ):
            values = groups.get_group(video_id).tolist() if video_id in groups.groups else []
            if len(values) == found[run.track, video_id].of:
                shares[key] = [round(values[row], 4) for row in found[run.track, video_id].rows]
    about = {
        "name": name,
        "document": document,
        "n": said_n(document),
        "scale": "{:g} to {:g}".format(*record["scale"]),
        "figures": [
            (title, {metric: _number(row[metric]) for metric in METRICS})
            for title, row in lists.items()
        ],
        "notes": notes,
        "scatter": charts.scatter(
            points, line, [key is not None for key in known], document["label"], said
        ),
        "curve": None
        if curve is None
        else "β₁ = {:.4g}, β₂ = {:.4g}, β₃ = {:.4g}, β₄ = {:.4g}".format(*curve),
        "drawn": len(drawn),
        "tested": len(videos),
        "misses": [
            {**row, "key": keys.get((run.track, row["id"]))}
            for row in videos[:MISSES].to_dict(orient="records")
        ],
        "attention": attention is not None,
        "gates": gates_by_range(RunFolder(run.path).gates()),
        "learning": learning(run, name),
        "identity": json.dumps(record["identity"], indent=2, ensure_ascii=False),
        "versions": record["versions"],
        "tracks": [record["cache"][kind] for kind in ("spatial", "temporal")],
        "commands": {
            "train": train_command(run),
            "reproduce": f"vqa-fuse reproduce {shlex.quote(str(run.path))}",
        },
    }
    rows = zip(drawn["id"], drawn["mos"].round(3), drawn["predicted"].round(3), known, strict=True)
    # a key only where there are frames
    return about, {
        "points": [list(row[: 3 + (row[3] is not None)]) for row in rows],
        "attention": shares,
    }


def gates_by_range(table: pd.DataFrame | None) -> list[dict[str, Any]]:
    """The mean gate of the videos in `RANGES` equally full ranges of MOS; one table per gate."""
    if table is None or table.empty:
        return []
    parts = np.array_split(table["mos"].argsort().to_numpy(), min(RANGES, len(table)))
    kinds: dict[str, list[str]] = {}
    for column in table.columns[2:]:
        kinds.setdefault(column.rpartition(".")[0], []).append(column)
    shown = []
    for kind, columns in kinds.items():
        rows = [table.iloc[part] for part in parts]
        means = [[float(row[column].mean()) for column in columns] for row in rows]
        ranges = [f"{row['mos'].min():.2f} to {row['mos'].max():.2f}" for row in rows]
        top = max(abs(value) for values in means for value in values) or 1.0
        numbers = [column.rpartition(".")[2] for column in columns]
        counts = [len(row) for row in rows]
        body = [
            (said, count, [(value, 100 * abs(value) / top) for value in values])
            for said, count, values in zip(ranges, counts, means, strict=True)
        ]
        shown.append({"kind": kind, "columns": numbers, "rows": body})
    return shown


def learning(run: Run, name: str) -> Markup | None:
    table = RunFolder(run.path).validation_curve()
    table = (
        table if table is None else table.dropna().astype({"epoch": float})
    )  # undefined where scores were constant
    if table is None or table.empty:
        return None
    curves = {
        int(str(seed)): list(zip(rows["epoch"].tolist(), rows["srcc"].tolist(), strict=True))
        for seed, rows in table.groupby("split")
    }
    seeds = [split["seed"] for split in run.document["splits"]]
    epochs = dict(zip(seeds, run.record["chosen_epochs"], strict=True))
    chosen = [
        point for seed, points in curves.items() for point in points if point[0] == epochs.get(seed)
    ]
    middle = table.groupby("epoch")["srcc"].median()
    median = list(zip(middle.index.tolist(), middle.tolist(), strict=True))
    said = f"{name}: SRCC on validation by epoch, {len(curves)} splits and their median"
    return charts.learning(curves, median, chosen, said)


def train_command(run: Run) -> str:
    """What trains such a run again, every option spelt out: defaults may change."""
    options = dict(run.record["options"])
    baseline, oracle = options.pop("baseline", None), options.pop("oracle_epoch", False)
    words = [
        "vqa-fuse",
        "train" if baseline is None else "ablate",
        "--dataset",
        run.record["dataset"],
    ]
    if baseline is not None:
        options = {
            key: value
            for key, value in options.items()
            if key in ("spatial", "temporal", "protocol", "seed")
        }
        words += ["--fusion", "", "--baselines", baseline]
    for key, value in options.items():
        if value is not None:
            words += [f"--{key.replace('_', '-')}", str(value)]
    words += ["--oracle-epoch"] if oracle else []
    return shlex.join([*words, "--cache", run.record["cache"]["absolute"]])


def _number(value: float | None) -> str:
    return "undefined" if value is None or np.isnan(value) else f"{value:.3f}"
