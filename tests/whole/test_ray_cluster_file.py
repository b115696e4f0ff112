"""deploy/ray/cluster.yaml is a file that `ray up` takes."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import yaml
from places import REPOSITORY

pytest.importorskip("ray", reason="the extra ray is not installed")

FILE = REPOSITORY / "deploy" / "ray" / "cluster.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    from ray.autoscaler._private.util import prepare_config

    return dict(prepare_config(yaml.safe_load(FILE.read_text())))


def test_ray_takes_the_cluster_file(config: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import validate_config

    validate_config(config)
    assert config["max_workers"] == len(config["provider"]["worker_ips"])
    broken = deepcopy(config) | {"setup_comands": []}
    with pytest.raises(Exception, match="setup_comands"):
        validate_config(broken)


def test_machines_install_what_the_engine_needs_and_find_the_head(config: dict[str, Any]) -> None:
    (install,) = (line for line in config["setup_commands"] if "pip install" in line)
    assert "vqa-twostage[ray,openvino]" in install
    assert any("--head" in line for line in config["head_start_ray_commands"])
    assert any("$RAY_HEAD_IP" in line for line in config["worker_start_ray_commands"])
