"""How long an extraction of a million videos takes on many machines, and what it costs: simulated.

    python -m benchmarks.million                                    # a million on 64 machines
    python -m benchmarks.million --videos 1e8 --machines 2000 --shards 20000
    python -m benchmarks.million --measured cache --seconds 115     # from an extraction of your own

Draws the seconds of each video from those of a measured extraction (`million.json`), deals shards
to machines as `deploy/` does, and lets machines be slow, fail, begin again and wait for storage.
Equal seeds give equal results. Every assumption is printed, and each is an option.
`tests/whole/test_million.py` holds the simulation to what can be computed by hand.
"""

from __future__ import annotations

import heapq
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import click
import numpy as np

from vqa_twostage.pipeline.cache.layout import datasets, tracks
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.usage import bytes_a_video

MEASURED = Path(__file__).with_suffix(".json")
HOUR, DAY, GB, MB = 3600.0, 86400.0, 1e9, 1e6


@dataclass(frozen=True)
class Measured:
    """An extraction on one machine: ``seconds`` of single videos, from one being done to the next,
    as quantiles; ``file_bytes`` and ``cache_bytes`` of a video on average; ``start_s`` until the
    first video; ``how`` it was measured.
    """

    how: str
    seconds: list[float]
    file_bytes: float
    cache_bytes: float
    start_s: float


@dataclass(frozen=True)
class Assumptions:
    """Everything that the result rests on, beside `Measured`."""

    videos: int = 1_000_000
    machines: int = 64
    shards: int = 0
    """Parts of the dataset, which machines take as they become free; 0 is one a machine."""
    speed: float = 1.0
    """Of a machine, as a multiple of the one that was measured."""
    price: float = 0.10
    """Of a machine for an hour, in any currency."""
    mtbf_h: float = 200.0
    """Mean hours between failures of a machine, or until it is taken away."""
    restart_s: float = 300.0
    """Until a machine that failed goes on, or another in its place."""
    lost_s: float = 1.0
    """Of work at each failure: what was not committed."""
    stragglers: float = 0.05
    """The part of the machines that is slow."""
    straggling: float = 2.0
    """How many times as long these take."""
    failing: float = 0.002
    """The part of the videos that cannot be used; each takes its time, and has no features."""
    file_mb: float = 0.0
    """Of a video; 0 is as measured."""
    storage_mb_s: float = 2000.0
    """Of the storage that all machines read videos from."""
    link_mb_s: float = 100.0
    """Of one machine's network."""
    writer_videos_s: float = 187.0
    """What one writer takes, where one process writes for all machines (`python -m
    benchmarks.merging`)."""
    merge_mb_s: float = 81.0
    """Of `vqa-cache merge` (`python -m benchmarks.merging`)."""
    merge_bytes_a_video: float = 1400.0
    """Of memory, for each video of a track (likewise)."""
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """What came of it. ``hours`` from start to the last machine's end and, with the merge,
    ``hours_merged``; ``machine_hours`` are paid for: a machine is given back when no shard is left.
    """

    hours: float
    hours_merged: float
    machine_hours: float
    cost: float
    cache_gb: float
    failed_videos: int
    machine_failures: int
    shortest_h: float
    """Of the machines, the one that was given back first."""
    held_by: str
    """What a machine waits for: its processors, its network, or the storage."""
    one_writer_hours: float
    """From start to end where one process writes for all machines, none of which then waits."""
    merge_memory_gb: float


def simulated(measured: Measured, given: Assumptions) -> Outcome:
    """Shards are dealt to machines in their order, each to the one that is free first."""
    generator = np.random.default_rng(given.seed)
    shards = min(given.shards or given.machines, given.videos)
    counts = np.full(shards, given.videos // shards)
    counts[: given.videos % shards] += 1
    seconds, held_by = _seconds_of_a_video(measured, given)
    # how often each of the measured times is drawn, for all videos of a shard at once
    drawn = generator.multinomial(counts, np.full(len(seconds), 1 / len(seconds)))
    work = drawn @ seconds
    machines = min(given.machines, shards)
    slow = generator.random(machines) < given.stragglers
    factors = np.where(slow, given.straggling, 1.0)
    free = [(0.0, machine) for machine in range(machines)]
    failures = 0
    for of_shard in work:
        since, machine = heapq.heappop(free)
        spent = measured.start_s + float(of_shard) * factors[machine]
        again = _failures(spent, given, generator)
        failures += again
        spent += again * (given.restart_s + given.lost_s + measured.start_s)
        heapq.heappush(free, (since + spent, machine))
    ends = np.array([end for end, _ in free])
    failed = int(generator.binomial(given.videos, given.failing))
    cache = (given.videos - failed) * measured.cache_bytes
    merge = cache / MB / given.merge_mb_s
    # dealt one video at a time, all machines end together; but no faster than the writer takes them
    together = float(work.sum() / (1 / factors).sum())
    return Outcome(
        hours=float(ends.max()) / HOUR,
        hours_merged=(float(ends.max()) + merge) / HOUR,
        machine_hours=(float(ends.sum()) + merge) / HOUR,
        cost=(float(ends.sum()) + merge) / HOUR * given.price,
        cache_gb=cache / GB,
        failed_videos=failed,
        machine_failures=failures,
        shortest_h=float(ends.min()) / HOUR,
        held_by=held_by,
        one_writer_hours=max(together, given.videos / given.writer_videos_s) / HOUR,
        merge_memory_gb=given.videos * given.merge_bytes_a_video / GB,
    )


def _seconds_of_a_video(measured: Measured, given: Assumptions) -> tuple[np.ndarray, str]:
    """Of each of the measured videos, what it takes on a machine: computing and fetching go on at
    the same time, so the slower of the two counts on average.
    """
    computing = np.array(measured.seconds) / given.speed
    share = given.storage_mb_s / given.machines
    size = given.file_mb or measured.file_bytes / MB
    fetching = size / min(given.link_mb_s, share)
    if fetching <= computing.mean():
        return computing, "processors"
    held_by = "storage" if share < given.link_mb_s else "network"
    return computing * fetching / computing.mean(), held_by


def _failures(spent: float, given: Assumptions, generator: np.random.Generator) -> int:
    """How often a machine fails in so many seconds of work, and while it begins again."""
    failures = total = int(generator.poisson(spent / HOUR / given.mtbf_h))
    while failures:
        failures = int(generator.poisson(failures * given.restart_s / HOUR / given.mtbf_h))
        total += failures
    return total


def measured_in(cache: Path, seconds: float, how: str) -> Measured:
    """From a cache and the seconds of its extraction: the decoding time of each video is recorded,
    and the rest is the same for all, since networks see as many frames of each.
    """
    (name,) = datasets(cache)
    stored, sizes, decoding = 0.0, [], []
    for number, path in enumerate(tracks(cache, name)):
        with open_track(path) as track:
            stored += bytes_a_video(track)
            if not number:
                found = [track.attributes(video_id) for video_id in track.ids]
                sizes = [attributes.source_size for attributes in found]
                decoding = [attributes.seconds for attributes in found]
    if not decoding:
        raise click.ClickException(f"{cache} holds no video")
    record = json.loads((cache / name / "extraction.json").read_text())
    start = record["phases"]["load networks"]
    # decoding is beside the networks where there are processors for it, else between them
    mean = (seconds - start) / len(decoding)
    each = np.maximum(mean - np.mean(decoding), 0) + np.array(decoding)
    each *= mean / each.mean()
    quantiles = np.quantile(each, (np.arange(40) + 0.5) / 40)
    quantiles *= mean / quantiles.mean()  # the longest are between two of these
    return Measured(
        how, quantiles.round(4).tolist(), float(np.mean(sizes)), round(stored, 1), round(start, 2)
    )


def kept() -> dict[str, Measured]:
    """What was measured, by name."""
    found = json.loads(MEASURED.read_text(encoding="utf-8"))
    return {name: Measured(**values) for name, values in found.items()}


def report(measured: Measured, given: Assumptions, outcome: Outcome) -> list[str]:
    """In lines: what is assumed, and what comes of it."""
    mean = float(np.mean(measured.seconds))
    lines = [
        "measured",
        f"  {measured.how}",
        f"  {mean:.3f} s a video ({min(measured.seconds):.3f} to {max(measured.seconds):.3f}), "
        f"files of {measured.file_bytes / MB:.2f} MB, features of {measured.cache_bytes / 1e3:.0f} "
        f"kB, {measured.start_s:.1f} s to start",
        "assumed",
        *(f"  --{name.replace('_', '-')} {value:,}" for name, value in asdict(given).items()),
        "comes to",
        f"  {outcome.hours:,.1f} hours, {outcome.hours_merged:,.1f} with one merge; "
        f"{outcome.machine_hours:,.0f} machine hours, which cost {outcome.cost:,.0f}",
        f"  {outcome.cache_gb:,.0f} GB of features; {outcome.failed_videos:,} videos fail; "
        f"{outcome.machine_failures:,} machines fail and go on",
        f"  machines wait for: {outcome.held_by}; the first is given back after "
        f"{outcome.shortest_h:,.1f} hours",
        f"  with one writer for all machines: {outcome.one_writer_hours:,.1f} hours",
        f"  one merge of all shards needs {outcome.merge_memory_gb:,.1f} GB of memory",
    ]
    return lines


def _options(command: Any) -> Any:
    """An option for each assumption, so that none can be forgotten."""
    for field in reversed(fields(Assumptions)):
        kind = _whole if isinstance(field.default, int) else float
        flag = f"--{field.name.replace('_', '-')}"
        command = click.option(flag, type=kind, default=field.default, show_default=True)(command)
    return command


def _whole(text: str | int) -> int:
    """A whole number, also as 1e8."""
    value = float(text)
    if value != int(value) or value < 0:
        raise click.BadParameter(f"{text} is no whole number of 0 or more")
    return int(value)


@click.command()
@click.option("--kind", default="demo", show_default=True, help="Which of million.json.")
@click.option("--measured", type=click.Path(path_type=Path), help="A cache instead of these.")
@click.option("--seconds", type=float, help="With --measured: what its extraction took.")
@click.option("--json", "as_json", is_flag=True, help="One document.")
@_options
def main(
    kind: str, measured: Path | None, seconds: float | None, as_json: bool, **given: Any
) -> None:
    """Hours, cost and bytes of a large extraction."""
    known = kept()
    if kind not in known:
        raise click.ClickException(f"unknown --kind {kind!r}; choose from {', '.join(known)}")
    base = known[kind]
    if measured is not None:
        if seconds is None:
            raise click.ClickException("--measured needs --seconds, what the extraction took")
        base = measured_in(measured, seconds, f"the extraction of {measured}, {seconds:g} s")
    assumed = Assumptions(**given)
    if min(assumed.videos, assumed.machines) < 1:
        raise click.ClickException("--videos and --machines must be at least 1")
    outcome = simulated(base, assumed)
    if as_json:
        document = {"measured": asdict(base), "assumed": asdict(assumed)}
        click.echo(json.dumps({**document, "outcome": asdict(outcome)}, indent=1))
        return
    click.echo("\n".join(report(base, assumed, outcome)))


if __name__ == "__main__":
    main()
