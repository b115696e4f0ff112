"""Inference restores the settings of torch that belong to the calling program."""

from __future__ import annotations

import pytest
import torch

from vqa_twostage.extract.inference.runtime import Runtime, few_threads, full_float32


@pytest.mark.parametrize("allowed", [True, False])
def test_tensor_float_32_is_disabled_during_inference_and_restored_afterwards(
    allowed: bool,
) -> None:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    cudnn.allow_tf32 = matmul.allow_tf32 = allowed
    try:
        with full_float32():
            if hasattr(cudnn, "conv"):
                assert cudnn.conv.fp32_precision == matmul.fp32_precision == "ieee"
            else:
                assert not cudnn.allow_tf32 and not matmul.allow_tf32
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (allowed, allowed)
        with pytest.raises(KeyboardInterrupt), full_float32():
            raise KeyboardInterrupt
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (allowed, allowed)
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


@pytest.mark.parametrize(("name", "meanwhile"), [("openvino", 1), ("torch", 2)])
def test_torch_has_one_thread_where_it_runs_no_network(name: str, meanwhile: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    runtime = Runtime(name, torch.device("cpu"), "fp32")
    try:
        with few_threads(runtime):
            assert torch.get_num_threads() == meanwhile
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyboardInterrupt), few_threads(runtime):
            raise KeyboardInterrupt
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
