"""vqa-extract: parses, nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vqa_twostage.extract.options import (
    BATCH_FRAMES,
    CONVERTED_FROM,
    DECODERS,
    HDRS,
    LARGEST_BATCH,
    PRECISIONS,
    RUNTIMES,
    ExtractOptions,
)
from vqa_twostage.pipeline import console, presets, spec
from vqa_twostage.pipeline.completion import any_dataset, plugins
from vqa_twostage.pipeline.console import (
    as_json_option,
    cache_option,
    engine_options,
    limits_option,
    preset_option,
    scratch_options,
    version_option,
)
from vqa_twostage.pipeline.datasets.table_options import DATASET, load_as_said, table_options
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

if TYPE_CHECKING:
    from vqa_twostage.extract.dry_run import DryRun  # torch is not loaded for help and lists
    from vqa_twostage.extract.extraction.estimate import Estimate
    from vqa_twostage.extract.results import Extraction

DEFAULTS = ExtractOptions()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@version_option
@click.option(
    "--dataset",
    shell_complete=any_dataset(),
    metavar=DATASET,
    help="A name from data_manifests, a .toml like those, or a table with columns path and mos: "
    ".csv, .tsv, .txt, .xlsx, .json, .jsonl, .mat.",
)
@click.option(
    "--root",
    metavar="DIR|ADDRESS",
    type=click.Path(path_type=str),
    help="Where the videos are, a folder or an address as s3://bucket/folder; else "
    "$VQA_DATA/<dataset>.",
)
@click.option(
    "--name",
    metavar="NAME",
    help="What the cache calls the dataset [default: the name of the file, without its ending].",
)
@table_options
@click.option(
    "--spatial",
    shell_complete=plugins("extract.spatial"),
    metavar="SPEC",
    multiple=True,
    help=f"Spatial backbone; may be repeated [default: {' '.join(DEFAULTS.spatial)}].",
)
@click.option(
    "--temporal",
    shell_complete=plugins("extract.temporal"),
    metavar="SPEC",
    multiple=True,
    help=f"Temporal model; may be repeated [default: {' '.join(DEFAULTS.temporal)}].",
)
@click.option(
    "--sampler",
    shell_complete=plugins("extract.samplers"),
    metavar="SPEC",
    help=f"Which frames are looked at [default: {DEFAULTS.sampler}].",
)
@preset_option
@cache_option("Where features go.")
@click.option(
    "--decoder",
    type=click.Choice(DECODERS),
    help="auto is pyav; decord takes the files that it is known to decode exactly, PyAV the "
    f"others [default: {DEFAULTS.decoder}].",
)
@click.option(
    "--hdr",
    type=click.Choice(HDRS),
    help="tonemap makes HDR video (PQ, HLG) SDR, clip takes its values as if they were SDR, refuse "
    f"uses no such video [default: {DEFAULTS.hdr}].",
)
@click.option("--device", help=f"auto, cpu, cuda or cuda:N [default: {DEFAULTS.device}].")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help=f"Of the networks [default: {DEFAULTS.precision}].",
)
@click.option(
    "--runtime",
    type=click.Choice(RUNTIMES),
    help=f"What runs them. auto: OpenVINO on a CPU for {CONVERTED_FROM} videos or more, where it "
    "is installed, "
    f"else torch [default: {DEFAULTS.runtime}].",
)
@click.option(
    "--batch-size",
    type=click.IntRange(0, LARGEST_BATCH),
    help=f"Frames in one pass; 0 is {BATCH_FRAMES['cpu']} on a CPU, {BATCH_FRAMES['cuda']} on a "
    "GPU "
    f"[default: {DEFAULTS.batch_size}].",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    help=f"Decoding processes; 0 is one per two cores [default: {DEFAULTS.workers}].",
)
@limits_option
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N videos.")
@click.option(
    "--shard",
    metavar="I/N",
    help="Only the I-th of N parts, on a machine of its own; vqa-cache merge joins them.",
)
@scratch_options
@engine_options
@click.option(
    "--wait",
    is_flag=True,
    default=None,
    help="Wait while another process writes to the same tracks, instead of refusing.",
)
@click.option(
    "--dry-run",
    "only_told",
    is_flag=True,
    help="Print what is there and what would be done, with a measured estimate of time and bytes.",
)
@click.option(
    "--machines",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --dry-run: the estimate for N machines, each as this one [default: 1].",
)
@click.option(
    "--price",
    type=click.FloatRange(min=0),
    metavar="X",
    help="With --dry-run: what a machine costs for an hour, in any currency.",
)
@click.option(
    "--list",
    "list_plugins",
    is_flag=True,
    help="List backbones, temporal models, samplers and presets, and stop.",
)
@as_json_option
def command(
    dataset: str | None,
    root: str | None,
    cache: Path,
    preset: str | None,
    only_told: bool,
    list_plugins: bool,
    as_json: bool,
    **given: Any,
) -> int:
    """Stage one: run frozen backbones over every video once, and keep the features in an HDF5
    cache.

    What the cache already holds is skipped; a video that fails is listed, and the others go on.

    \b
    Example: your own videos, without a network
      vqa-extract --dataset videos/mos.csv --root videos --preset offline
    Example: KoNViD-1k with the default backbone
      vqa-extract --dataset konvid --root /data/konvid
    """
    if list_plugins:
        print_plugins()
        return DONE
    if dataset is None:
        from vqa_twostage.pipeline.datasets.schema import names

        raise UsageError(
            f"--dataset is missing; give one of {', '.join(names())}, a .toml like those, or a "
            "table with the columns path and mos"
        )
    machines, price = given.pop("machines"), given.pop("price")
    if not only_told and (machines is not None or price is not None):
        raise UsageError(
            "--machines and --price are for the estimate of --dry-run; give it too, or to extract "
            "on N machines give --shard I/N on each"
        )
    if price is not None and not math.isfinite(price):
        raise UsageError(f"--price {price} is no amount; give a number such as 1.2")
    name = given.pop("name")
    preset_options = ExtractOptions.from_mapping(
        presets.load(preset, "extract"),
        where="options" if preset is None else str(presets.path_of(preset)),
    )
    typed_options = {
        field.name: given[field.name]
        for field in fields(ExtractOptions)
        if given.get(field.name) not in (None, ())
    }
    options = replace(preset_options, **typed_options)

    from vqa_twostage.pipeline.cache.same_dataset import with_what_was_said

    manifest = with_what_was_said(cache, load_as_said(dataset, root, given, name))
    for note in manifest.remarks:
        click.echo(f"note: {note}", err=True)
    if only_told:
        from vqa_twostage.extract.dry_run import dry_run
        from vqa_twostage.extract.extraction.estimate import Machines

        plan = dry_run(manifest, cache, options, Machines(machines or 1, price))
        other_stage = presets.load(preset, "fuse")
        if as_json:
            click.echo(json.dumps({**plan.to_json(), "fuse": other_stage}, indent=2))
        else:
            print_plan(plan, other_stage)
        return DONE
    from vqa_twostage.extract.run import extract_dataset

    with console.progress(f"extract {manifest.name}") as on_progress:
        extraction = extract_dataset(manifest, cache, options, on_progress)
    if as_json:
        click.echo(json.dumps(extraction.to_json(), indent=2))
    else:
        print_extraction(extraction)
    return SOME_FAILED if extraction.failed else DONE


def print_plugins() -> None:
    for title, found in [
        ("Spatial backbones (--spatial)", spec.available("extract.spatial")),
        ("Temporal models (--temporal)", spec.available("extract.temporal")),
        ("Samplers (--sampler)", spec.available("extract.samplers")),
        ("Presets (--preset; or the path of a .toml of the same form)", presets.available()),
    ]:
        width = max(map(len, found), default=0)
        click.echo(
            f"{title}\n" + "".join(f"  {name:<{width}}  {line}\n" for name, line in found.items())
        )


def print_plan(plan: DryRun, other_stage: Mapping[str, Any]) -> None:
    pending = "an unknown number" if plan.pending is None else plan.pending
    click.echo(
        f"{plan.dataset}: {plan.videos} videos: {pending} would be extracted, {plan.missing} are "
        f"missing; into {plan.folder} with"
    )
    given, resolved = asdict(plan.options), asdict(plan.resolved)
    for name, value in given.items():
        same = resolved[name] == value
        click.echo(f"  {name} = {_written(value)}" + ("" if same else f": {resolved[name]}"))
    for track in plan.tracks:
        click.echo(
            f"  {track.path}\n    {track.there} of {plan.videos} videos are there; weights "
            f"{track.identity.weights}, {track.identity.preprocessing}"
        )
    if plan.estimate:
        print_estimate(plan.estimate, plan.pending or 0)
    if plan.note:
        click.echo(plan.note)
    if other_stage:
        click.echo("and the same preset says to vqa-fuse train")
    for name, value in other_stage.items():
        click.echo(f"  {name} = {_written(value)}")


def print_estimate(estimate: Estimate, pending: int) -> None:
    within = "" if estimate.low is None else f" ({_time(estimate.low)} to {_time(estimate.high)})"
    click.echo(f"about {_time(estimate.seconds)}{within} and {estimate.bytes / 1e6:.1f} MB")
    click.echo(
        f"  measured with {estimate.tried} of {pending} videos, of all file sizes, in "
        f"{estimate.trial_seconds:.0f} s"
        + (", too few to tell how certain it is" if estimate.low is None else "")
    )
    if estimate.machines > 1 or estimate.price is not None:
        machines = "1 machine" if estimate.machines == 1 else f"{estimate.machines} machines"
        cost = (
            ""
            if estimate.price is None
            else f", which cost {estimate.cost:.3g} at {estimate.price:g} an hour"
        )
        parts = "" if estimate.machines == 1 else f", each with --shard I/{estimate.machines}"
        click.echo(f"  on {machines}{parts}: {estimate.machine_hours:.3g} machine hours{cost}")


def _time(seconds: float | None) -> str:
    """Seconds below two minutes, minutes below two hours, else hours."""
    assert seconds is not None
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.{0 if seconds >= 1200 else 1}f} min"
    return f"{seconds / 3600:.1f} h"


def _written(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def print_extraction(extraction: Extraction) -> None:
    from vqa_twostage.pipeline.cache.info import resembles

    click.echo(
        f"{extraction.dataset}: {extraction.videos} videos: {extraction.done} done, "
        f"{extraction.skipped} already there, {len(extraction.failed)} failed; "
        f"{extraction.frames} frames in {extraction.seconds:.1f} s"
    )
    if extraction.phases:
        phases = (f"{phase} {seconds:.1f} s" for phase, seconds in extraction.phases.items())
        click.echo(f"  {', '.join(phases)}")
    for path in extraction.tracks:
        likeness = resembles(path)
        click.echo(f"  {path}" + (f" ({likeness})" if likeness else ""))
    damaged = [f"{item.id}: {item.damage}" for item in extraction.damaged]
    print_some("damaged, used as far as it goes", damaged, extraction.record)
    notes = [f"{item.id}: {item.note}" for item in extraction.notes]
    print_some("note", notes, extraction.record)
    missing = [failure for failure in extraction.failed if failure.kind == "missing"]
    others = [failure for failure in extraction.failed if failure.kind != "missing"]
    reasons = [f"{failure.id}: {failure.reason}" for failure in others]
    print_some("failed", reasons, extraction.record)
    if missing:
        first = missing[0]
        click.echo(
            f"  missing: {len(missing)} of {extraction.videos} videos, first {first.id}: "
            f"{first.reason}; vqa-data check lists them, their record is {extraction.record}",
            err=True,
        )
    if missing and len(missing) == extraction.videos:
        click.echo(
            "  no video was found: is --root right? Paths of a dataset are relative to it",
            err=True,
        )


def print_some(heading: str, lines: list[str], record: Path, most: int = 20) -> None:
    """The first lines of a list; the record has all of them."""
    for line in lines[:most]:
        click.echo(f"  {heading}: {line}", err=True)
    if len(lines) > most:
        click.echo(f"  {heading}: and {len(lines) - most} more, all listed in {record}", err=True)


def main() -> None:
    console.run(command)


if __name__ == "__main__":
    main()
