"""``--filter`` finds runs by what was asked for, by what that became, and by the name of a spec."""

from __future__ import annotations

from dataclasses import replace

import pytest
from written_runs import predictions_of, write_run

from vqa_twostage.fuse.options import TrainOptions
from vqa_twostage.fuse.run_filter import RunFilter
from vqa_twostage.fuse.run_record import RunRecord, RunSpecs
from vqa_twostage.fuse.runs import Run
from vqa_twostage.pipeline.errors import UsageError

PROTOCOL = "random:n=2,seed=0,train=0.6,val=0.2"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    options = TrainOptions(
        fusion="dynamic:experts=2", protocol="random:n=2", spatial=["net", "other"], seed=3
    )
    specs = RunSpecs("dynamic:experts=2", "avg", "avg", "mean", "l1", PROTOCOL)
    run = tmp_path_factory.mktemp("runs") / "run"
    return Run(write_run(run, predictions_of([30, 30]), options=options, specs=specs)).record()


@pytest.mark.parametrize(
    ("texts", "kept"),
    [
        ([], True),
        (["fusion=dynamic"], True),
        (["fusion=dynamic:experts=2"], True),
        (["fusion=dynamic:experts=3"], False),
        (["fusion=concat"], False),
        (["fusion=concat", "fusion=dynamic"], True),
        (["fusion=dynamic", "seed=3"], True),
        (["fusion=dynamic", "seed=0"], False),
        (["protocol=random"], True),
        (["protocol=random:n=2"], True),
        ([f"protocol={PROTOCOL}"], True),
        (["protocol=kfold"], False),
        (["temporal-encoder=mean", " dataset = clips"], True),
        (["spatial=other"], True),
        (["baseline=none", "oracle_epoch=false"], True),
        (["epochs=40"], False),
        (["dataset=clip"], False),
    ],
)
def test_run_is_kept_where_it_fits_every_key(
    texts: list[str], kept: bool, record: RunRecord
) -> None:
    assert RunFilter.of(texts).keeps(record) is kept


def test_baseline_is_found_by_its_name_and_not_as_the_default_head(record: RunRecord) -> None:
    specs = RunSpecs("ridge", "", "", "", "", PROTOCOL)
    ridge = replace(record, specs=specs, options=TrainOptions(baseline="ridge"))
    assert RunFilter.of(["fusion=ridge", "baseline=ridge"]).keeps(ridge)
    assert not RunFilter.of(["fusion=dynamic"]).keeps(ridge)


@pytest.mark.parametrize("text", ["fusion", "fuson=dynamic", "=3", ""])
def test_filter_without_a_known_key_is_refused_with_the_keys(text: str) -> None:
    with pytest.raises(UsageError, match=r"give KEY=VALUE, as fusion=dynamic, with a key of data"):
        RunFilter.of([text])
