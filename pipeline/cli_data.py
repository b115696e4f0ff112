"""The command vqa-data: it parses arguments and prints results, and leaves the work to others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.addresses import FOLDER_ADVICE, is_address, require_local
from vqa_twostage.pipeline.completion import any_dataset
from vqa_twostage.pipeline.console import (
    LocalPath,
    as_json_option,
    limits_option,
    scratch_options,
    version_option,
)
from vqa_twostage.pipeline.datasets.table_options import DATASET, load_as_said, table_options
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

SETTINGS = {"help_option_names": ["-h", "--help"]}
dataset_argument = click.argument("dataset", shell_complete=any_dataset(), metavar=DATASET)
root_option = click.option(
    "--root",
    metavar="DIR|ADDRESS",
    type=click.Path(path_type=str),
    help="Folder of the videos and label files, or its address as s3://bucket/folder [default: "
    "$VQA_DATA/<dataset>].",
)


@click.group("vqa-data", context_settings=SETTINGS)
@version_option
def data_command() -> None:
    """Known datasets, checks of a copy on disk, frozen manifests, and the demo dataset.

    \b
    Example
      vqa-data check konvid --root /data/konvid
    """


@data_command.command("list")
@as_json_option
def list_datasets(as_json: bool) -> int:
    """List the datasets that have a manifest: number of videos, range of the labels, official
    splits, and home page.

    \b
    Example
      vqa-data list
    """
    from vqa_twostage.pipeline.datasets.loading import describe
    from vqa_twostage.pipeline.datasets.schema import names

    datasets = [describe(name) for name in names()]
    if as_json:
        click.echo(json.dumps([dataset.to_json() for dataset in datasets], indent=2))
        return DONE
    click.echo(f"{'name':<15} {'videos':>6}  {'labels':<28} {'splits':<24} title and home page")
    for dataset in datasets:
        low, high = dataset.scale
        labels = f"{dataset.label} {low:g} to {high:g}"
        splits = ", ".join(dataset.splits) or ("by group" if dataset.grouped else "-")
        click.echo(
            f"{dataset.name:<15} {dataset.videos:>6}  {labels:<28} {splits:<24} {dataset.title}"
        )
        click.echo(f"{'':<77} {dataset.homepage}")
    return DONE


@data_command.command()
@dataset_argument
@root_option
@click.option(
    "--missing",
    "missing_file",
    type=LocalPath(dir_okay=False),
    help="File that lists all missing videos, if there are any [default: <dataset>-missing.csv].",
)
@table_options
@limits_option
@scratch_options
@as_json_option
def check(
    dataset: str,
    root: str | None,
    missing_file: Path | None,
    limits: str | None,
    scratch: str | None,
    scratch_gb: float | None,
    as_json: bool,
    **said: Any,
) -> int:
    """Read the labels of a dataset, look for its videos and open each; exit code 3 if something is
    wrong.

    The check reports videos that are missing or cannot be opened, videos that are copies of each
    other, labels out of range, and which known release has as many videos. Damage after the first
    frame of a video is only found when features are extracted.

    \b
    Example
      vqa-data check konvid --root /data/konvid
      vqa-data check ratings.tsv --root videos --mos-column quality --scale 1 5
    """
    from vqa_twostage.extract.decoding.fetching import Scratch
    from vqa_twostage.extract.decoding.probe import probe_all
    from vqa_twostage.pipeline.datasets.check import (
        check_dataset,
        findings,
        is_sound,
        summary,
        write_missing,
    )
    from vqa_twostage.pipeline.datasets.loading import releases_of
    from vqa_twostage.pipeline.limits import SCRATCH_GB, parse_limits

    allowed = parse_limits(limits or "")
    require_local(scratch or "", "--scratch", FOLDER_ADVICE)
    manifest = load_as_said(dataset, root, said)
    with console.progress(f"check {manifest.name}") as on_progress:
        result = check_dataset(
            manifest,
            releases_of(dataset),
            lambda videos: probe_all(
                videos,
                manifest.raw,
                on_progress=on_progress,
                limits=allowed,
                scratch=Scratch(scratch or "", scratch_gb or SCRATCH_GB),
            ),
        )
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        click.echo("\n".join(summary(result, manifest)))
        for line in findings(result):
            click.echo(f"  {line}", err=True)
    if result.missing and (missing_file or not as_json):
        missing_file = missing_file or Path(f"{manifest.name}-missing.csv")
        line = f"  missing: {result.missing[0][1]}"
        if len(result.missing) > 1:
            line += f" and {len(result.missing) - 1} others"
        try:
            write_missing(missing_file, result)
            click.echo(f"{line}; listed in {missing_file}", err=True)
        except OSError as error:  # the result of the check is shown all the same
            click.echo(
                f"{line}; {missing_file} cannot be written ({error.strerror}): give another file "
                "with --missing FILE",
                err=True,
            )
    return DONE if is_sound(result) else SOME_FAILED


@data_command.command()
@dataset_argument
@root_option
@click.option(
    "--output",
    required=True,
    type=LocalPath(dir_okay=False),
    help="The .csv file to write.",
)
@table_options
def export(dataset: str, root: str | None, output: Path, **said: Any) -> int:
    """Write the manifest of a dataset to a .csv, which --dataset takes: it freezes exactly what a
    study used.

    It contains everything: ids, paths, labels, groups and splits, and the dataset's name and scale.

    \b
    Example
      vqa-data export konvid --root /data/konvid --output konvid-frozen.csv
    """
    from vqa_twostage.pipeline.datasets.export import write_csv

    if output.suffix.lower() != ".csv":
        raise UsageError(f"--output {output} is not a .csv; name it {output.with_suffix('.csv')}")
    manifest = load_as_said(dataset, root, said)
    if output.exists() and Path(dataset).exists() and output.samefile(dataset):
        raise UsageError(f"--output {output} is the file that is exported; give another name")
    write_csv(manifest, output)
    click.echo(f"{output}: {len(manifest)} rows, {manifest.digest}")
    # absolute paths are taken where no root is given
    apart = all(is_address(path) or Path(path).is_absolute() for path in manifest.rows["path"])
    where = "" if apart else f" --root {manifest.root}"
    click.echo(f"next: vqa-extract --dataset {output}{where}")
    return DONE


@data_command.command()
@click.argument("what", type=click.Choice(["demo"]))
@click.option(
    "--root",
    type=LocalPath(),
    default=Path("demo"),
    show_default=True,
    help="Folder of the demo dataset.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Number of encoders that run at the same time.",
)
def make(what: str, root: Path, workers: int) -> int:
    """Make the demo dataset: real footage and photographs with known distortions.

    Its labels are pseudo-MOS (VMAF), not opinions. Contents that are already finished are kept.

    \b
    Example
      vqa-data make demo --root demo
    """
    from vqa_twostage.pipeline.demo import build_demo

    with console.progress("make demo") as on_progress:
        labels = build_demo(root, workers=workers, on_progress=on_progress)
    with labels.open(encoding="utf-8") as file:
        videos = sum(1 for _ in file) - 1
    click.echo(f"{labels}: {videos} videos with pseudo-MOS (VMAF)")
    click.echo(f"next: vqa-extract --dataset demo --root {root} --preset offline")
    return DONE


def main() -> None:
    console.run(data_command)


if __name__ == "__main__":
    main()
