"""MLflow keeps a run in a folder, once, and a refusal of its is one message."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import called, document

pytest.importorskip("mlflow")

TRAIN = ["vqa-fuse", "train", "--fusion", "concat", "--protocol", "random:n=2,train=0.5,val=0.15"]
TRAIN += ["--epochs", "4", "--members", "1", "--workers", "1", "--run", "one", "--log", "mlflow"]


@pytest.mark.long
def test_run_is_kept_once_however_often_it_is_logged(
    toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "kept").as_uri())
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    for _ in range(2):
        result = called(*TRAIN, "--cache", toy_cache, "--json", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert "mlflow: run one of vqa-twostage" in result.stderr
    client = MlflowClient((tmp_path / "kept").as_uri())
    experiment = client.get_experiment_by_name("vqa-twostage")
    assert experiment is not None
    (kept,) = client.search_runs([experiment.experiment_id])
    evaluation = document(result)
    assert kept.info.run_name == "one" and kept.info.status == "FINISHED"
    assert kept.data.params["fusion"] == "concat" and kept.data.params["n_videos"] == "60"
    median = evaluation["median"]["srcc"]
    assert kept.data.metrics["median over splits/srcc"] == pytest.approx(median)
    for split in evaluation["splits"]:
        value = kept.data.metrics[f"test/rmse/split {split['seed']}"]
        assert value == pytest.approx(split["rmse"])
    curve = client.get_metric_history(kept.info.run_id, "validation/srcc/split 0")
    assert len(curve) > 0 and all(point.step >= 0 for point in curve)
    artifacts = {file.path for file in client.list_artifacts(kept.info.run_id)}
    assert artifacts == {"scatter.png", "metrics.md", "run.json"}


def test_refusal_says_what_to_do_and_the_run_stays(
    toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nothing://known")
    result = called(*TRAIN, "--cache", toy_cache, cwd=tmp_path)
    assert result.returncode == 2 and (tmp_path / "one" / "run.json").is_file()
    assert "set MLFLOW_TRACKING_URI to the address of a server" in result.stderr
