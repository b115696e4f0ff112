"""Models by name: the registry's cards, and the hub's repositories through its real client."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import called, run
from hub_server import HubServer, hub_server
from scipy import stats

from vqa_twostage.fuse import score
from vqa_twostage.fuse.delivery.model_cards import FOLDER, SHIPPED, agreement_of, model_cards
from vqa_twostage.fuse.delivery.named_models import load_named
from vqa_twostage.fuse.learning.scorer_file import FILE
from vqa_twostage.pipeline.errors import UsageError

REPOSITORY = "tester/vqa"
CARD = "---\nlicense: apache-2.0\n---\n\n# A card of its own\n"


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with hub_server() as server:
        yield server


@pytest.fixture
def published(hub: HubServer) -> HubServer:
    content = (FOLDER / "demo.safetensors").read_bytes()
    hub.repositories[REPOSITORY] = {FILE: content, "README.md": CARD.encode()}
    return hub


def test_every_card_says_what_a_model_learnt_from_and_is_good_for() -> None:
    cards = model_cards()
    assert SHIPPED in cards
    for card in cards.values():
        assert card.about and card.license and len(card.card) > 100
        assert not isinstance(card.source, Path) or card.source.is_file()


def test_model_without_a_name_is_the_one_that_ships() -> None:
    assert score.load().agreement == model_cards()[SHIPPED].agreement


@pytest.mark.long
@pytest.mark.real
def test_agreement_that_the_card_states_is_the_one_measured(real: Path, tmp_path: Path) -> None:
    with (real / "clips" / "mos.csv").open() as file:
        mos = {row["path"]: float(row["mos"]) for row in csv.DictReader(file)}
    scores = score.score(real / "clips", cache=tmp_path)
    labels = [mos[Path(item.video).name] for item in scores]
    measured = stats.spearmanr([item.score for item in scores], labels).statistic
    agreement = scores[0].agreement
    assert agreement is not None and agreement.videos == len(labels)
    assert agreement.srcc == pytest.approx(measured, abs=5e-4)


def test_card_of_a_new_model_is_a_new_model(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "demo.safetensors", tmp_path / "weights.safetensors")
    text = 'about = "mine"\nlicense = "MIT"\ncard = "…"\nfile = "weights.safetensors"\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert list(model_cards(tmp_path)) == ["mine"]
    assert load_named("mine", tmp_path).agreement is None
    text += '[opinions]\ndataset = "LIVE-VQC"\nvideos = 585\nsrcc = 0.8\n'
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert load_named("mine", tmp_path).agreement == agreement_of("LIVE-VQC", 585, 0.8)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "KeyError: 'file'"),
        ('file = "a"\nsize = 3', "unknown size"),
        ('hub = "a/b"\nrevision = "main"', "'main' is no commit"),
        ("file = ", "is no card of a model"),
        ('file = "a"\n[opinions]\ndataset = "D"\nvideos = 2\nsrcc = 0.5', "has no interval"),
    ],
)
def test_card_that_is_none_is_refused_with_its_name(
    line: str, message: str, tmp_path: Path
) -> None:
    text = f'about = "a"\nlicense = "MIT"\ncard = "…"\n{line}\n'
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"bad\.toml is no card of a model") as refused:
        model_cards(tmp_path)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model", "dem"], "unknown model 'dem'; choose from demo, or name one of the hub"),
        (["--model", "demo", "--run", "r"], "--run and --model contradict each other"),
    ],
)
def test_name_of_no_model_is_refused_with_the_choices(
    words: list[str], message: str, tmp_path: Path
) -> None:
    done = called("vqa-fuse", "score", "x.mp4", *words, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr


def test_list_has_a_line_for_each_model(tmp_path: Path) -> None:
    done = called("vqa-fuse", "score", "--list", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("demo: ")
    assert "SRCC with opinions 0.76 on 8 videos of KoNViD-1k" in done.stdout


# --- the hub ---


def score_from(
    hub: HubServer, model: str, clip: Path, kept: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    words = ["vqa-fuse", "score", clip, "--model", model, "--cache", kept / "features", "--csv"]
    return run(*words, cwd=kept, **{**hub.environment(kept / "hub"), **more})


@pytest.mark.long
def test_model_of_the_hub_scores_as_the_same_model_here(
    published: HubServer, clips: Path, tmp_path: Path
) -> None:
    clip = clips / "testsrc.mp4"
    here = called(
        "vqa-fuse", "score", clip, "--cache", tmp_path / "features", "--csv", cwd=tmp_path
    )
    commit = published.commit(REPOSITORY)
    for model in (f"hub:{REPOSITORY}", f"hub:{REPOSITORY}@{commit}"):
        done = score_from(published, model, clip, tmp_path)
        assert (done.returncode, done.stdout) == (0, here.stdout), done.stderr
    # fetched once
    assert sum(asked.startswith("GET") for asked in published.asked) == 1
    published.repositories.clear()
    offline = score_from(published, f"hub:{REPOSITORY}", clip, tmp_path, HF_HUB_OFFLINE="1")
    assert (offline.returncode, offline.stdout) == (0, here.stdout), offline.stderr


@pytest.mark.long
def test_download_that_was_cut_goes_on_where_it_was(
    published: HubServer, clips: Path, tmp_path: Path
) -> None:
    published.cut = [100_000, 50_000]
    done = score_from(published, f"hub:{REPOSITORY}", clips / "testsrc.mp4", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(asked.startswith("GET") for asked in published.asked) == 3


@pytest.mark.long
def test_download_that_was_changed_on_its_way_is_refused_and_fetched_anew(
    published: HubServer, clips: Path, tmp_path: Path
) -> None:
    published.changed = {FILE}
    done = score_from(published, f"hub:{REPOSITORY}", clips / "testsrc.mp4", tmp_path)
    assert done.returncode == 2 and "was damaged on its way" in done.stderr
    published.changed = set()
    again = score_from(published, f"hub:{REPOSITORY}", clips / "testsrc.mp4", tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.long
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("hub:tester/none", "there is no such repository, or it is not public"),
        ("hub:tester/vqa@v9", "the repository has no such revision"),
        ("hub:tester/empty", "it has no model.safetensors: it is no model of vqa-fuse export"),
        ("hub:a b", "that is no name of a repository (OWNER/NAME)"),
        ("hub:", "that is no name of a repository (OWNER/NAME)"),
        ("hub:vqa/other@", "no such repository"),
    ],
)
def test_model_that_the_hub_does_not_have_is_refused_with_the_reason(
    model: str, message: str, published: HubServer, clips: Path, tmp_path: Path
) -> None:
    published.repositories["tester/empty"] = {"README.md": b"nothing"}
    done = score_from(published, model, clips / "testsrc.mp4", tmp_path)
    assert done.returncode == 2 and message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.long
def test_hub_that_cannot_be_reached_is_one_message_that_says_what_to_do(
    clips: Path, tmp_path: Path
) -> None:
    with hub_server() as hub:
        pass
    done = score_from(hub, f"hub:{REPOSITORY}", clips / "testsrc.mp4", tmp_path)
    assert done.returncode == 2 and "the hub cannot be reached" in done.stderr
    assert f"hf download {REPOSITORY} {FILE} --local-dir FOLDER" in done.stderr


@pytest.mark.long
def test_exported_model_is_published_whole_and_comes_back_equal(
    hub: HubServer, tmp_path: Path
) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    shutil.copy(FOLDER / "demo.safetensors", folder / FILE)
    (folder / "README.md").write_text(CARD)
    code = (
        "from vqa_twostage.fuse.hub import VideoScorer\n"
        f"VideoScorer.from_pretrained({str(folder)!r}).push_to_hub({REPOSITORY!r})\n"
        f"back = VideoScorer.from_pretrained({REPOSITORY!r})\n"
        "print(back.scorer.training.title)\n"
    )
    environment = {**os.environ, **hub.environment(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == score.load().training.title
    files = hub.repositories[REPOSITORY]
    assert files[FILE] == (folder / FILE).read_bytes()
    assert "# A card of its own" in files["README.md"].decode()
    assert "config.json" in files
