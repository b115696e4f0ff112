"""Files of strangers are read right or refused with one message: nothing crashes, hangs, takes all
memory or writes elsewhere, whatever their checksums say.

`make soak` tries as often as SECURITY.md says.
"""

from __future__ import annotations

import json
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import pytest
from commands import called
from forging import change_record, read_model, seal, write_model
from mutations import HOSTILE, mutated_bytes, mutated_json, mutated_text
from toy_cache import manifest_of, write_features

from vqa_twostage.fuse.compare import compare
from vqa_twostage.fuse.data import load_dataset
from vqa_twostage.fuse.evaluate import evaluate
from vqa_twostage.fuse.learning import scorer_file
from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.report import write_report
from vqa_twostage.fuse.reproduce import reproduce_run
from vqa_twostage.fuse.runs import TABLES, Run
from vqa_twostage.fuse.train import train
from vqa_twostage.pipeline.cache import track_writer
from vqa_twostage.pipeline.cache.info import track_info
from vqa_twostage.pipeline.cache.journal import CHANGE, HEADER, journal_of
from vqa_twostage.pipeline.cache.journal import MAGIC as JOURNAL_MAGIC
from vqa_twostage.pipeline.cache.layout import TrackPath, load_cached_manifest, manifest_path
from vqa_twostage.pipeline.cache.rewriting import repair
from vqa_twostage.pipeline.cache.same_dataset import save_manifest
from vqa_twostage.pipeline.cache.track import open_track
from vqa_twostage.pipeline.cache.track_index import MAGIC, TRAILER
from vqa_twostage.pipeline.cache.track_writer import write_track
from vqa_twostage.pipeline.cache.verifying import verify
from vqa_twostage.pipeline.checksum import ENCODED, checksum
from vqa_twostage.pipeline.datasets.axes import Axis
from vqa_twostage.pipeline.errors import UsageError, VideoError
from vqa_twostage.pipeline.files import read_json

pytestmark = pytest.mark.usefixtures("one_thread", "bounded_memory")

QUICK = TrainOptions(
    fusion="dynamic",
    temporal_encoder="attention",
    epochs=2,
    members=2,
    protocol="random:n=2",
    axes=("technical",),
)
SECONDS, MEMORY = 10.0, 4 << 30


@pytest.fixture(scope="module")
def bounded_memory() -> Iterator[None]:
    """What takes this much more than the libraries have is a MemoryError, here and in parsers."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@dataclass(frozen=True)
class Project:
    """A cache with one dataset of two tracks and two labels a video, and a run on it."""

    folder: Path

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def run(self) -> Path:
        return self.folder / "runs" / "one"

    @property
    def tracks(self) -> list[Path]:
        return sorted(self.cache.glob("toy/*/*.h5"))

    def copy(self, folder: Path) -> Project:
        shutil.rmtree(folder, ignore_errors=True)
        return Project(Path(shutil.copytree(self.folder, folder)))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = Project(tmp_path_factory.mktemp("strangers") / "project")
    plain = manifest_of("toy", 6, 2)
    rows = plain.rows.assign(mos_technical=np.arange(12) % 5.0)
    manifest = replace(plain, rows=rows, axes=(Axis("technical", (0.0, 4.0)),))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(track_writer, "CHUNK_BYTES", 512)
        save_manifest(made.cache, manifest)
        write_features(made.cache, manifest, "spatial")
        write_features(made.cache, manifest, "temporal")
    train(made.cache, QUICK, run=made.run)
    return made


class Outcome:
    """How often a file was used and refused, and what went wrong otherwise."""

    def __init__(self) -> None:
        self.used = self.refused = 0
        self.faults: list[str] = []

    def attempt(self, what: str, function: Callable[[], Any]) -> Any:
        """What ``function`` returns; None where it refuses the file."""
        start = time.monotonic()
        try:
            result = function()
            self.used += 1
            return result
        except (UsageError, VideoError) as error:
            self.refused += 1
            if not str(error).strip():
                self.faults.append(f"{what}: no message")
        except Exception as error:  # noqa: BLE001  each is a fault to report
            place = traceback.extract_tb(error.__traceback__)[-3:]
            where = " < ".join(f"{Path(at.filename).name}:{at.lineno}" for at in reversed(place))
            self.faults.append(f"{what}: {type(error).__name__}: {str(error)[:200]} at {where}")
        finally:
            if time.monotonic() - start > SECONDS:
                self.faults.append(f"{what}: took {time.monotonic() - start:.0f} s")
        return None

    def check(self) -> None:
        distinct = sorted(set(self.faults))
        assert not self.faults, f"{len(self.faults)} faults:\n" + "\n".join(distinct[:30])
        assert self.refused > self.used / 20


def everything_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# --- manifests ---


@pytest.mark.soak(40, 2000)
def test_no_changed_manifest_is_used_as_another(
    project: Project, tmp_path: Path, times: int
) -> None:
    random, outcome = Random(1), Outcome()
    original = manifest_path(project.cache, "toy").read_bytes()
    manifest = load_cached_manifest(project.cache, "toy")
    path = manifest_path(tmp_path, "toy")
    path.parent.mkdir()
    for number in range(times):
        path.write_bytes(mutated_bytes(original, random))
        found = outcome.attempt(f"manifest {number}", lambda: load_cached_manifest(tmp_path, "toy"))
        assert found is None or found.to_json() == manifest.to_json(), number
    outcome.check()


@pytest.mark.soak(40, 2000)
def test_manifest_of_a_stranger_is_used_or_refused(
    project: Project, tmp_path: Path, times: int
) -> None:
    random, outcome = Random(2), Outcome()
    document = read_json(manifest_path(project.cache, "toy"))
    work = project.copy(tmp_path / "outer" / "work")
    before = everything_below(tmp_path)
    for number in range(times):
        write_forged(manifest_path(work.cache, "toy"), document, random)

        def use(trains: bool = number % 20 == 0) -> None:
            data = load_dataset(work.cache, "toy", None, None)
            assert data.manifest.name == "toy"
            save_manifest(work.cache, data.manifest)
            if trains:
                train(work.cache, replace(QUICK, baseline="ridge"), run=work.folder / "new")
                evaluate(work.folder / "new")

        outcome.attempt(f"manifest {number}", use)
    shutil.rmtree(work.folder / "new", ignore_errors=True)
    assert everything_below(tmp_path) == before
    outcome.check()


def write_forged(path: Path, document: dict[str, Any], random: Random) -> None:
    """The document with another content and its right digest."""
    while True:
        changed = mutated_json({key: document[key] for key in document if key != "sha256"}, random)
        try:
            path.write_text(json.dumps(seal(changed)))
        except (RecursionError, ValueError):
            path.write_text(mutated_text(document, random))
        return


# --- runs ---


@pytest.mark.soak(40, 2000)
def test_no_changed_file_of_a_run_is_used_as_another(
    project: Project, tmp_path: Path, times: int
) -> None:
    random, outcome = Random(3), Outcome()
    work = project.copy(tmp_path / "work")
    original = everything_read(work.run)
    names = ["run.json", *(name for name in TABLES if (work.run / name).is_file())]
    assert len(names) == 5
    for number in range(times):
        path = work.run / names[number % len(names)]
        content = path.read_bytes()
        path.write_bytes(mutated_bytes(content, random))
        found = outcome.attempt(f"{path.name} {number}", lambda: everything_read(work.run))
        path.write_bytes(content)
        assert found is None or found == original, number
    outcome.check()


def everything_read(run: Path) -> list[str]:
    source = Run(run)
    tables = (source.predictions(), source.attention(), source.gates(), source.validation_curve())
    texts = [table.to_csv() for table in tables if table is not None]
    return [json.dumps(source.record().to_json()), json.dumps(evaluate(run).to_json()), *texts]


@pytest.mark.long
@pytest.mark.soak(16, 2000)
def test_run_of_a_stranger_is_used_or_refused(project: Project, tmp_path: Path, times: int) -> None:
    random, outcome = Random(4), Outcome()
    work = project.copy(tmp_path / "outer" / "work")
    record = read_json(work.run / "run.json")
    tables = {name: (work.run / name).read_bytes() for name in TABLES}
    before = everything_below(tmp_path)
    page = work.folder / "report.html"
    for number in range(times):
        shutil.rmtree(work.run)
        shutil.copytree(project.run, work.run)
        if number % 2:
            write_forged(work.run / "run.json", record, random)
        else:
            name = random.choice(TABLES)
            (work.run / name).write_bytes(mutated_table(tables[name], random))
            change_record(work.run)
        label = f"run {number}"
        outcome.attempt(f"evaluate {label}", lambda: json.dumps(evaluate(work.run).to_json()))
        outcome.attempt(f"compare {label}", lambda: compare([project.run, work.run]))
        outcome.attempt(f"report {label}", lambda: write_report(work.run, page, cache=work.cache))
        if number % 20 < 2:
            outcome.attempt(f"reproduce {label}", lambda: reproduce_run(work.run, work.cache))
    page.unlink(missing_ok=True)
    assert everything_below(tmp_path) == before
    outcome.check()


def mutated_table(content: bytes, random: Random) -> bytes:
    """A table with another cell, or as `mutated_bytes`."""
    if random.randrange(3) == 0:
        return mutated_bytes(content, random)
    lines = content.decode().splitlines()
    line = random.randrange(len(lines))
    cells = lines[line].split(",")
    values = [item for item in HOSTILE if isinstance(item, str | float | int)]
    value = str(random.choice([*values, "inf", "", "1_000", "0x10", "\u0661", '"']))
    cells[random.randrange(len(cells))] = value.encode(errors="replace").decode()
    lines[line] = ",".join(cells)
    return "\n".join(lines).encode()


# --- models ---


@pytest.mark.soak(40, 2000)
def test_no_changed_model_is_used_as_another(project: Project, tmp_path: Path, times: int) -> None:
    random, outcome = Random(5), Outcome()
    content = (project.run / scorer_file.FILE).read_bytes()
    data = load_dataset(project.cache, "toy", None, None)
    scores = scorer_file.load(project.run).scores(data.features)
    head = 8 + int.from_bytes(content[:8], "little")
    for number in range(times):
        changed = mutated_bytes(content, random)
        if number % 2:  # the header is a small part of the file
            changed = mutated_bytes(content[:head], random) + content[head:]
        (tmp_path / scorer_file.FILE).write_bytes(changed)
        model = outcome.attempt(f"model {number}", lambda: scorer_file.load(tmp_path))
        if model is not None:
            assert np.array_equal(model.scores(data.features), scores), number
    outcome.check()


@pytest.mark.soak(30, 2000)
def test_model_of_a_stranger_is_used_or_refused(
    project: Project, tmp_path: Path, times: int
) -> None:
    random, outcome = Random(6), Outcome()
    about, tensors = read_model(project.run / scorer_file.FILE)
    data = load_dataset(project.cache, "toy", None, None)
    for number in range(times):
        changed, values = about, tensors
        if number % 3:
            changed = mutated_json(about, random)
        if number % 3 != 1:
            values = mutated_tensors(tensors, random)
        try:
            write_model(tmp_path / scorer_file.FILE, changed, values)
        except (RecursionError, ValueError, TypeError):
            continue  # no file can be like that

        def use() -> None:
            model = scorer_file.load(tmp_path)
            with np.errstate(all="ignore"):
                scores = model.scores(data.features)
            assert scores.shape == data.mos.shape

        outcome.attempt(f"model {number}", use)
    outcome.check()


def mutated_tensors(tensors: dict[str, np.ndarray], random: Random) -> dict[str, np.ndarray]:
    changed = dict(tensors)
    name = random.choice(list(tensors))
    array = changed.pop(name)
    other = random.choice(list(tensors))
    match random.randrange(7):
        case 0:
            changed[f"{name}.{other}"] = array
        case 1:
            changed[name] = array.astype(random.choice(("f2", "f8", "i8", "u1", "bool")))
        case 2:
            changed[name] = array.reshape(-1)[: random.randrange(array.size + 1)].copy()
        case 3:
            changed[name] = array[None]
        case 4:
            changed[name] = np.full_like(array, random.choice((np.nan, np.inf, 0, -1, 1e38)))
        case 5:
            changed[name] = np.zeros((0, *array.shape[1:]), array.dtype)
        case _:
            changed[name] = tensors[other]
    return changed


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("fusion", "dynamic:experts=1000000000"),
        ("fusion", "dynamic:hidden=1000000000"),
        ("fusion", "cross_modal:width=1000000000"),
        ("temporal_encoder", "gru:hidden=100000"),
    ],
)
def test_model_with_an_enormous_head_is_refused_before_it_is_built(
    option: str, text: str, project: Project, tmp_path: Path
) -> None:
    about, tensors = read_model(project.run / scorer_file.FILE)
    about["options"][option] = text
    write_model(tmp_path / scorer_file.FILE, about, tensors)
    start = time.monotonic()
    with pytest.raises(UsageError, match=r"head|options of|damaged"):
        scorer_file.load(tmp_path)
    assert time.monotonic() - start < SECONDS


# --- caches ---


@pytest.mark.soak(6, 1000)
@pytest.mark.parametrize("half", [0, 1])  # which run side by side
def test_changed_cache_is_used_refused_or_repaired(
    half: int, project: Project, tmp_path: Path, times: int
) -> None:
    random, outcome = Random(f"{half} of a cache"), Outcome()
    changes = (damage, forge_head, forge_offsets, forge_table, forge_hdf5, forge_journal)
    folder = tmp_path / "outer" / "work"
    for number in range(times):
        work = project.copy(folder)
        names = everything_below(tmp_path)
        path = work.tracks[number % 2]
        change = changes[number % len(changes)]
        change(path, random)
        label = f"{number} after {change.__name__}"
        use_track(work, path, label, outcome)
        for added in everything_below(tmp_path) - names:
            assert added.name.startswith(path.name), added
        assert path.stat().st_size < 1 << 30, label
    outcome.check()


def use_track(work: Project, path: Path, label: str, outcome: Outcome) -> None:
    """What vqa-cache info, verify and repair, vqa-fuse train and vqa-extract do with a track."""
    place = TrackPath.parse(path)
    outcome.attempt(f"info {label}", lambda: json.dumps(track_info(path).to_json()))
    outcome.attempt(f"verify {label}", lambda: verify(path))
    outcome.attempt(f"load {label}", lambda: load_dataset(work.cache, None, None, None))
    copy = path.read_bytes()
    outcome.attempt(f"extract {label}", lambda: write_again(place))
    path.write_bytes(copy)
    if outcome.attempt(f"repair {label}", lambda: repair(path)) is not None:
        assert not verify(path), label
        outcome.attempt(f"load repaired {label}", lambda: [read_all(path)])


def write_again(place: TrackPath) -> None:
    with open_track(place) as track:
        identity, names = track.identity, track.ids
        videos = [track.read(name) for name in names[:2]]
    with write_track(place, identity, {}) as writer:
        for name, video in zip(names, videos, strict=False):
            writer.write(f"{name} again", video)


def read_all(path: Path) -> int:
    with open_track(path) as track:
        return len([track.read(name) for name in track.ids])


def damage(path: Path, random: Random) -> None:
    path.write_bytes(mutated_bytes(path.read_bytes(), random))


def parts_of(path: Path) -> tuple[bytes, dict[str, Any], bytes]:
    """HDF5's part, the head of the index and its offsets."""
    content = path.read_bytes()
    _, size, head, _ = TRAILER.unpack(content[-TRAILER.size :])
    index = content[-TRAILER.size - size : -TRAILER.size]
    return content[: -TRAILER.size - size], json.loads(index[:head]), index[head:]


def write_parts(path: Path, hdf5: bytes, head: bytes, offsets: bytes) -> None:
    index = head + offsets
    path.write_bytes(hdf5 + index + TRAILER.pack(MAGIC, len(index), len(head), checksum(index)))


def forge_head(path: Path, random: Random) -> None:
    hdf5, head, offsets = parts_of(path)
    write_parts(path, hdf5, mutated_text(head, random).encode(), offsets)


def forge_offsets(path: Path, random: Random) -> None:
    hdf5, head, offsets = parts_of(path)
    numbers = np.frombuffer(offsets, "<i8").copy()
    values = (0, -1, 1, 8, len(hdf5), len(hdf5) - 1, 2**62, 2**63 - 1, int(numbers[0]))
    for _ in range(random.randint(1, 4)):
        numbers[random.randrange(len(numbers))] = random.choice(values)
    write_parts(path, hdf5, json.dumps(head).encode(), numbers.tobytes())


def forge_table(path: Path, random: Random) -> None:
    """Fields of entries of the table of videos, with their checksums."""
    hdf5, head, offsets = parts_of(path)
    with open_track(path) as track:
        table, column = track._table.copy(), track.index.table
        assert column is not None
        ((place, size),) = column.extents(0, min(len(table), column.chunk_rows))
    for _ in range(random.randint(1, 3)):
        row, field = random.randrange(len(table)), random.choice(table.dtype.names[:-1])
        kind = table.dtype[field].base.kind
        if kind == "S":
            table[field][row] = random.choice((b"", b"\xff\xfe", b"\x1b[2J", b"../../x", b"a\nb"))
        elif kind == "f":
            table[field][row] = random.choice((np.nan, np.inf, -1, 1e308))
        else:
            values = (0, 1, 3, 40) if kind == "u" else (0, -1, 1, 3, 40, 2**31, 2**62, 2**63 - 1)
            table[field][row] = random.choice(values)
    data = bytearray(table.tobytes())
    size_of = table.dtype.itemsize
    for at in range(0, len(data), size_of):
        end = at + size_of
        data[end - ENCODED.size : end] = ENCODED.pack(checksum(data[at : end - ENCODED.size]))
    changed = hdf5[:place] + bytes(data[:size]) + hdf5[place + size :]
    write_parts(path, changed, json.dumps(head).encode(), offsets)


def forge_hdf5(path: Path, random: Random) -> None:
    """HDF5's part by an HDF5 library, with or without the index behind it."""
    hdf5, head, offsets = parts_of(path)
    path.write_bytes(hdf5)
    with h5py.File(path, "r+") as file:
        names = ["frame_index", "timestamp", "videos", "features/c1/mean", "features/last/std"]
        name = random.choice(names)
        match random.randrange(9):
            case 0:
                file[name].resize(2**40, axis=0)
            case 1:
                file[name].resize(random.randrange(9), axis=0)
            case 2:
                del file[name]
                file[name] = h5py.ExternalLink("/dev/zero", "/x")
            case 3:
                del file[name]
                file[name] = h5py.SoftLink(f"/{random.choice(names)}")
            case 4:
                del file[name]
                file.create_dataset(name, (2**50,), "f2", chunks=(random.choice((1, 2**20)),))
            case 5:
                holder = random.choice((file, file["videos"]))
                key = random.choice(list(holder.attrs))
                values = [item for item in HOSTILE if isinstance(item, str | float)]
                value = random.choice([item for item in values if item not in ("\ud800", "\udc80")])
                holder.attrs[key] = value[:30_000] if isinstance(value, str) else value
            case 6:
                text = mutated_text(json.loads(file["videos"].attrs["arrays"]), random)
                file["videos"].attrs["arrays"] = text[:30_000]
            case 7:
                layout = h5py.VirtualLayout((5,), "f2")
                layout[:] = h5py.VirtualSource("/etc/passwd", "x", (5,))
                del file[name]
                file.create_virtual_dataset(name, layout)
            case _:
                text = mutated_text(json.loads(file.attrs["identity"]), random)
                file.attrs["identity"] = text[:30_000]
    if random.randrange(2):
        write_parts(path, path.read_bytes(), json.dumps(head).encode(), offsets)


def forge_journal(path: Path, random: Random) -> None:
    """A journal that a killed writer left, as it says."""
    size = path.stat().st_size
    sizes = (0, 1, size, size - 1, size + 100, 2**33, 2**40, 2**62, 2**64 - 1)
    parts = [HEADER.pack(JOURNAL_MAGIC, random.choice(sizes), random.choice((0, 1, 2, 2**62)))]
    for _ in range(random.randrange(3)):
        data = random.randbytes(random.choice((0, 1, 100)))
        offset = random.choice((0, size // 2, size, *sizes))
        parts += [CHANGE.pack(offset, random.choice((len(data), len(data), 2**63))), data]
    body = b"".join(parts)
    content = body + ENCODED.pack(checksum(body))
    journal_of(path).write_bytes(
        mutated_bytes(content, random) if random.randrange(4) == 0 else content
    )


# --- the command line ---


def forged_record(project: Project, **changes: object) -> None:
    change_record(project.run, lambda record: record.update(changes))


def forged_manifest(project: Project, **changes: object) -> None:
    path = manifest_path(project.cache, "toy")
    path.write_text(json.dumps(seal(read_json(path) | changes)))


def forged_model(project: Project, **changes: object) -> None:
    about, tensors = read_model(project.run / scorer_file.FILE)
    write_model(project.run / scorer_file.FILE, about | changes, tensors)


def forged_tracks(project: Project, **changes: object) -> None:
    for path in project.tracks:
        hdf5, head, offsets = parts_of(path)
        write_parts(path, hdf5, json.dumps(head | changes).encode(), offsets)


EVALUATE = "vqa-fuse evaluate runs/one"
COMMANDS: Sequence[tuple[str, Callable[..., None], dict[str, object]]] = [
    (EVALUATE, forged_record, {"label": "\x1b[2J"}),
    (EVALUATE, forged_record, {"notes": [1]}),
    (EVALUATE, forged_record, {"command": "\x1b[2J"}),
    (EVALUATE, forged_record, {"medians": {"srcc": "0.9"}}),
    ("vqa-fuse compare runs/one", forged_record, {"n_dataset": 10**400}),
    ("vqa-fuse report runs/one --output report.html", forged_record, {"missing": "x"}),
    ("vqa-fuse reproduce runs/one", forged_record, {"dataset": "../../etc"}),
    ("vqa-fuse train --run runs/new --epochs 1", forged_manifest, {"name": "../../evil"}),
    ("vqa-fuse evaluate runs/one --dataset toy", forged_model, {"shapes": {"spatial": {"a": [9]}}}),
    ("vqa-fuse export runs/one --output model", forged_model, {"std": "nan"}),
    ("vqa-fuse score . --run runs/one", forged_model, {"training": {}}),
    ("vqa-cache info cache", forged_tracks, {"videos": 2**60}),
    ("vqa-cache verify cache", forged_tracks, {"identity": [[]]}),
    ("vqa-cache repair cache", forged_tracks, {"rows": 2**62}),
]


@pytest.mark.parametrize(
    ("command", "forge", "changes"), COMMANDS, ids=[str(number) for number in range(len(COMMANDS))]
)
def test_command_refuses_a_forged_file_in_one_message(
    command: str,
    forge: Callable[..., None],
    changes: dict[str, object],
    project: Project,
    tmp_path: Path,
) -> None:
    work = project.copy(tmp_path / "work")
    forge(work, **changes)
    before = everything_below(tmp_path)
    done = called(*command.split(), cwd=work.folder)
    assert done.returncode in (0, 2, 3), done.stderr
    assert (done.returncode == 0) == ("repair" in command), done.stderr
    assert "Traceback" not in done.stderr and "\x1b" not in done.stderr + done.stdout
    assert done.stderr.startswith("Error: ") == (done.returncode == 2)
    assert done.returncode == 3 or done.stderr.count("\n") <= 1
    assert everything_below(tmp_path) == before
