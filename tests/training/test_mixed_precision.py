"""Where training computes in bfloat16."""

from __future__ import annotations

import pytest
import torch

from linbp.errors import ModelError
from linbp.training.mixed_precision import has_fast_bfloat16, uses_bfloat16

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has", "fast"), [({"avx512_bf16": True}, True), ({"avx2": True}, False), ({}, False)])
def test_it_is_fast_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, bool], fast: bool
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)
    assert has_fast_bfloat16(CPU) is fast
    assert not has_fast_bfloat16(torch.device("mps"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not has_fast_bfloat16(CPU)


@pytest.mark.parametrize("supported", [True, False])
def test_unasked_it_is_used_on_gpus_that_have_it(monkeypatch: pytest.MonkeyPatch, supported: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    assert uses_bfloat16(None, torch.float32, torch.device("cuda")) is supported
    assert not uses_bfloat16(None, torch.float64, torch.device("cuda"))
    assert not uses_bfloat16(None, torch.float32, CPU)
    assert uses_bfloat16(True, torch.float32, CPU)
    with pytest.raises(ModelError, match="float64"):
        uses_bfloat16(True, torch.float64, CPU)
