"""Weights & Biases keeps a run offline, and a refusal of its is one message."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import called

from vqa_twostage.fuse.evaluate import evaluate

wandb = pytest.importorskip("wandb")

TRAIN = ["vqa-fuse", "train", "--fusion", "concat", "--protocol", "random:n=2,train=0.5,val=0.15"]
TRAIN += ["--epochs", "4", "--members", "1", "--workers", "1", "--run", "one", "--log", "wandb"]


@pytest.fixture(autouse=True)
def _no_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is sent, whoever runs the tests."""
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield
    wandb.teardown()


@pytest.mark.long
def test_run_is_kept_offline_and_logged_again_without_training(
    toy_cache: Path, tmp_path: Path
) -> None:
    result = called(*TRAIN, "--cache", toy_cache, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    wandb.teardown()  # its own process writes the file, and has ended then
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert f"wandb sync {kept.parent}" in result.stderr
    content, evaluation = kept.read_bytes(), evaluate(tmp_path / "one")
    for text in ("validation/srcc split 0", "validation/srcc split 1", "median over splits/srcc"):
        assert text.encode() in content
    assert str(evaluation.median.srcc).encode() in content and b'"concat"' in content
    assert list(tmp_path.glob("wandb/*/files/media/images/scatter*.png"))
    again = called(*TRAIN, "--cache", toy_cache, cwd=tmp_path)
    assert again.returncode == 0 and "is finished, and is reported" in again.stderr


def test_refusal_says_what_to_do_and_the_run_stays(
    toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: object) -> None:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refused)
    result = called(*TRAIN, "--cache", toy_cache, cwd=tmp_path)
    assert result.returncode == 2 and "SRCC" in result.stdout
    assert "No API key configured.; run wandb login, or set WANDB_MODE=offline" in result.stderr
