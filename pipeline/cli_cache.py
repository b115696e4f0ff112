"""vqa-cache: parses, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from vqa_twostage.pipeline import console
from vqa_twostage.pipeline.cache import CACHE_VARIABLE
from vqa_twostage.pipeline.completion import any_dataset, cached_datasets, tracks
from vqa_twostage.pipeline.console import (
    LocalPath,
    as_json_option,
    cache_option,
    printable,
    removal_agreed,
    version_option,
)
from vqa_twostage.pipeline.datasets.table_options import DATASET, load_as_said, table_options
from vqa_twostage.pipeline.errors import DONE, SOME_FAILED, UsageError

SHOWN = 20  # lines of one kind, and how many more there are

cache_argument = click.argument(
    "cache", type=LocalPath(), default=Path("cache"), envvar=CACHE_VARIABLE
)


@click.group("vqa-cache", context_settings={"help_option_names": ["-h", "--help"]})
@version_option
def cache_command() -> None:
    """The feature cache: what is in it, and whether it is sound.

    \b
    Example
      vqa-cache info cache
    """


@cache_command.command()
@cache_argument
@as_json_option
def info(cache: Path, as_json: bool) -> int:
    """Every track in CACHE: videos, size, and its whole identity.

    \b
    Example
      vqa-cache info cache --json
    """
    from vqa_twostage.pipeline.cache.info import track_files, track_info

    tracks = [track_info(path) for path in track_files(cache)]
    if as_json:
        document = {"cache": str(cache), "tracks": [track.to_json() for track in tracks]}
        click.echo(json.dumps(document, indent=2))
        return DONE
    for track in tracks:
        click.echo(f"{track.path}: {track.videos} videos, {track.bytes / 1e6:.1f} MB")
        for field, value in track.identity.to_json().items():
            click.echo(f"  {field}: {printable(str(value))}")
    return DONE


@cache_command.command()
@cache_argument
def verify(cache: Path) -> int:
    """Read every array of every track in CACHE; exit code 3 where something is wrong.

    \b
    Example
      vqa-cache verify cache
    """
    from vqa_twostage.pipeline.cache.info import track_files
    from vqa_twostage.pipeline.cache.verifying import manifest_faults
    from vqa_twostage.pipeline.cache.verifying import verify as verify_track

    damaged = manifest_faults(cache)
    for fault in damaged.values():
        click.echo(printable(fault), err=True)
    faults = {path: verify_track(path) for path in track_files(cache)}
    for path, found in faults.items():
        click.echo(f"{path}: {'sound' if not found else f'{len(found)} faults'}")
        for fault in found:
            click.echo(f"  {printable(fault)}", err=True)
    return SOME_FAILED if damaged or any(faults.values()) else DONE


@cache_command.command()
@cache_argument
def repair(cache: Path) -> int:
    """Drop what is damaged in the tracks in CACHE and keep the rest; exit code 3 where videos were
    dropped.

    The next vqa-extract makes the dropped videos again. A sound track stays as it is.

    \b
    Example
      vqa-cache repair cache
    """
    from vqa_twostage.pipeline.cache.info import track_files
    from vqa_twostage.pipeline.cache.rewriting import repair as repair_track

    dropped = False
    for path in track_files(cache):
        result = repair_track(path)
        click.echo(str(result))
        for video_id in result.dropped:
            click.echo(f"  dropped: {printable(video_id)}", err=True)
        dropped = dropped or bool(result.dropped)
    return SOME_FAILED if dropped else DONE


@cache_command.command()
@cache_argument
def compact(cache: Path) -> int:
    """Give back the space of videos that were extracted again; every track in CACHE is written
    anew, in one step each.

    \b
    Example
      vqa-cache compact cache
    """
    from vqa_twostage.pipeline.cache.info import track_files
    from vqa_twostage.pipeline.cache.rewriting import compact as compact_track

    for path in track_files(cache):
        click.echo(str(compact_track(path)))
    return DONE


@cache_command.command()
@cache_argument
@as_json_option
def du(cache: Path, as_json: bool) -> int:
    """Bytes and videos of CACHE by dataset and track, and how much of it vqa-cache compact would
    give back ("dead"); exit code 3 where a track cannot be opened.

    \b
    Example
      vqa-cache du cache --json
    """
    from vqa_twostage.pipeline.cache.usage import summary, usage_of

    usage = usage_of(cache)
    console.show(usage.to_json(), as_json, lambda _: click.echo("\n".join(summary(usage))))
    for fault in usage.faults:
        click.echo(f"  {fault}", err=True)
    return SOME_FAILED if usage.faults else DONE


@cache_command.command()
@click.argument("place", type=LocalPath(), metavar="TRACK|CACHE")
@click.option(
    "--dataset", shell_complete=cached_datasets(), metavar="NAME", help="Which dataset of CACHE."
)
@click.option(
    "--video",
    "videos",
    multiple=True,
    metavar="ID",
    help="Only this video, from TRACK or from every track of the dataset; may be repeated.",
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
def rm(place: Path, dataset: str | None, videos: tuple[str, ...], yes: bool) -> int:
    """Remove a track, a dataset of a cache with its labels, or single videos; asks first.

    The labels of videos that are removed singly stay, and the next vqa-extract makes their
    features again. A track that another process writes to is refused, and nothing is removed then.

    \b
    Example
      vqa-cache rm cache/konvid/uniform-frames8/tsm-60c3cc6f45.h5
      vqa-cache rm cache --dataset konvid --video 3339962845 --video 4265466447
      vqa-cache rm cache --dataset konvid --yes
    """
    from vqa_twostage.pipeline.cache.removing import plan_removal, remove

    removal = plan_removal(place, dataset, videos)
    if not yes and not removal_agreed(removal, "Remove it?"):
        return DONE
    remove(removal)
    click.echo(f"removed {removal}")
    return DONE


@cache_command.command()
@click.argument("sources", type=LocalPath(), nargs=-1, required=True, metavar="CACHE…")
@click.option(
    "--cache",
    type=LocalPath(),
    required=True,
    help="The cache that all of it goes into.",
)
@as_json_option
def merge(sources: tuple[Path, ...], cache: Path, as_json: bool) -> int:
    """Join caches that several machines made of parts of one dataset; exit code 3 where two
    contradict each other.

    Each machine extracts its part with vqa-extract --shard I/N into a cache of its own. What is in
    --cache stays.

    \b
    Example
      vqa-cache merge part-1 part-2 part-3 --cache cache
    """
    from vqa_twostage.pipeline.cache.merging import merge_caches

    with console.progress("merge") as on_progress:
        result = merge_caches(sources, cache, on_progress)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
    else:
        for track in result.tracks:
            counts = f"{track.added} added, {track.there} were there"
            if track.differing:
                counts += f", {track.differing} of them with other values in a part"
            click.echo(f"{track.path}: {track.videos} of {track.of} videos, {counts}")
    for note in result.notes:
        click.echo(f"note: {printable(note)}", err=True)
    for conflict in result.conflicts[:SHOWN]:
        conflicting = f"{conflict.id} of {conflict.track}: {conflict.reason}"
        click.echo(f"  {printable(conflicting)}", err=True)
    if len(result.conflicts) > SHOWN:
        more = len(result.conflicts) - SHOWN
        click.echo(f"  and {more} more such videos; --json lists all of them", err=True)
    return SOME_FAILED if result.conflicts else DONE


@cache_command.command()
@click.option(
    "--dataset",
    shell_complete=cached_datasets(),
    metavar="NAME",
    help="Which dataset of the cache [default: the only one].",
)
@click.option(
    "--to",
    required=True,
    type=click.Choice(["npz", "npy", "parquet"]),
    help="One file; a folder of .npy files; one table (needs pyarrow).",
)
@click.option(
    "--output",
    required=True,
    type=LocalPath(file_okay=False),
    help="The folder for the files, one for each track; none is overwritten.",
)
@click.option(
    "--spatial",
    shell_complete=tracks("spatial"),
    metavar="TRACK",
    multiple=True,
    help="Only this track, and those of --temporal; may be repeated.",
)
@click.option(
    "--temporal",
    shell_complete=tracks("temporal"),
    metavar="TRACK",
    multiple=True,
    help="Only this track, and those of --spatial; may be repeated.",
)
@click.option(
    "--pooled", is_flag=True, help="The mean over the frames of each video, instead of each frame."
)
@cache_option("Where the features are.")
@as_json_option
def export(to: str, output: Path, pooled: bool, as_json: bool, **chosen: Any) -> int:
    """Write the features and labels of a dataset to files that other programs read.

    Of each track: ids, labels, groups, numbers and times of the frames, and every array. Videos
    that have no features are left out and counted. vqa-cache import reads the files again.

    \b
    Example
      vqa-cache export --dataset konvid --to npz --output features
      vqa-cache export --dataset konvid --to parquet --pooled --output features
    """
    from vqa_twostage.pipeline.cache.exporting import export_tracks, tracks_to_export

    paths = tracks_to_export(**chosen)
    with console.progress("export") as on_progress:
        result = export_tracks(paths, to, output, pooled, on_progress)
    console.show(
        result.to_json(),
        as_json,
        lambda _: click.echo("\n".join(printable(str(track)) for track in result.tracks)),
    )
    return DONE


@cache_command.command("import")
@click.argument("file", type=LocalPath())
@click.option(
    "--dataset",
    shell_complete=any_dataset(),
    required=True,
    metavar=DATASET,
    help="Whose features they are, with its labels.",
)
@click.option("--kind", type=click.Choice(["spatial", "temporal"]), help="What they describe.")
@click.option("--name", help="What the track is to be called: small letters, digits and _.")
@click.option(
    "--block",
    "blocks",
    multiple=True,
    metavar="NAME[:FROM:TO]=KIND",
    help="Instead: an array of an .npz, or its columns FROM to TO (not included), as a spatial or "
    "temporal track of that name; may be repeated.",
)
@click.option("--key", help="Which array of FILE; may be left out where only one can be meant.")
@click.option(
    "--columns",
    metavar="A:B[,C:D…]",
    help="Columns from 0, ends not included, as 30:35,51:54 [default: all].",
)
@click.option(
    "--ids",
    "ids_file",
    type=LocalPath(),
    help="The videos of FILE's rows: an id a line, or a CSV with a header and the ids first "
    "[default: the ids in an .npz, else the dataset's videos in their order].",
)
@click.option(
    "--trained-on",
    metavar="NAME[,NAME…]",
    help="Datasets from whose opinions the features learnt, as lsvq,maxwell; every figure that "
    "rests on them will say so.",
)
@click.option(
    "--root",
    metavar="DIR|ADDRESS",
    type=click.Path(path_type=str),
    help="Where the labels are; else $VQA_DATA/<dataset>.",
)
@table_options
@cache_option("Where features go.")
@as_json_option
def import_track(
    file: Path,
    dataset: str,
    root: str | None,
    cache: Path,
    blocks: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> int:
    """Put features that others computed, in FILE, into the cache; exit code 3 where some videos
    have none.

    FILE is .mat (v5 or v7.3), .npy, .npz, .csv or .h5, with a row of numbers for each video; or
    videos x frames x columns; or an .h5 with an array for each video, named by its id; or a folder
    with a .npy or .npz for each video, frames x columns, named by it. Videos themselves are not
    needed. Or it is what vqa-cache export wrote (.npz, .parquet, a folder of
    .npy), whose arrays, frames and ids come back as they were. Numbers that are not finite are kept
    and listed. Importing the same again changes nothing.

    Names in FILE or --ids are the ids of videos; or their paths; or the same without folder and
    extension; or without letter case, signs and an ending NEW. Only names that are clear count, and
    all others are listed.

    \b
    Example
      vqa-cache import feats.mat --dataset konvid --root labels --kind temporal \\
                --name tlvqm --columns 30:35,51:54 --ids metadata.csv
      vqa-cache import konvid1k.npz --dataset konvid --root labels --block higrade=spatial \\
                --block brisque_sts:0:36=spatial --block brisque_sts:36:=temporal
      vqa-cache import features/resnet --dataset konvid --root labels --kind spatial --name resnet
    """
    from vqa_twostage.pipeline.cache.feature_blocks import parse_block
    from vqa_twostage.pipeline.cache.importing import (
        Selection,
        import_blocks,
        import_features,
        summary,
    )
    from vqa_twostage.pipeline.identity import parse_opinions

    _require_one_way(bool(blocks), options)
    chosen = [parse_block(text) for text in blocks]
    manifest = load_as_said(dataset, root, options)
    ids_file, said = options["ids_file"], options["trained_on"]
    trained_on = "" if said is None else parse_opinions(said)
    if chosen:
        results = import_blocks(manifest, cache, file, chosen, ids_file, trained_on)
    else:
        selection = Selection(options["key"], options["columns"], ids_file)
        kind, name = options["kind"], options["name"]
        results = [import_features(manifest, cache, file, kind, name, selection, trained_on)]
    documents = [result.to_json() for result in results]
    if as_json:
        click.echo(json.dumps({"tracks": documents} if chosen else documents[0], indent=2))
    else:
        click.echo("\n".join(printable(line) for line in summary(results)))
    first = results[0]  # all have the same videos
    console.print_unmatched("features", first.missing, first.ambiguous, first.unknown)
    return SOME_FAILED if first.missing else DONE


def _require_one_way(blocks: bool, options: dict[str, Any]) -> None:
    """UsageError unless either --block, or --kind and --name, say what is imported."""
    said = [name for name in ("kind", "name", "key", "columns") if options[name] is not None]
    if blocks and said:
        listed = ", ".join(f"--{name}" for name in said)
        raise UsageError(f"--block says it; leave out {listed}")
    if not blocks and not {"kind", "name"} <= set(said):
        raise UsageError(
            "what is imported? give --kind and --name, or --block NAME=spatial for each array of "
            "an .npz"
        )


def main() -> None:
    console.run(cache_command)


if __name__ == "__main__":
    main()
