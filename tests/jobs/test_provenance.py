"""What a run says of itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from linbp.jobs.provenance import run_facts
from linbp.jobs.tf32 import tf32


@pytest.fixture
def convolutions(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A GPU in name, and settings of precision that are put back."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    before = torch.backends.cudnn.conv.fp32_precision
    yield
    torch.backends.cudnn.conv.fp32_precision = before


@pytest.mark.usefixtures("convolutions")
@pytest.mark.parametrize("precision", ["tf32", "ieee"])
def test_a_run_on_a_gpu_says_what_its_convolutions_are_computed_in(precision: str) -> None:
    torch.backends.cudnn.conv.fp32_precision = precision
    facts = run_facts("cuda", "linbp craft")
    assert facts["device"] == "cuda (Some GPU)"
    assert facts["float32_convolutions"] == precision
    assert facts["float32_products"] in ("none", "ieee", "tf32")


def test_a_run_on_a_cpu_has_nothing_to_say_of_it() -> None:
    facts = run_facts("cpu", "linbp craft")
    assert facts["device"] == "cpu"
    assert not [name for name in facts if name.startswith("float32")]


@pytest.mark.usefixtures("convolutions")
@pytest.mark.parametrize(("wanted", "precision"), [(True, "tf32"), (False, "ieee")])
def test_tf32_may_be_chosen_and_a_run_says_so(wanted: bool, precision: str) -> None:
    def said() -> tuple[str, str]:
        facts = run_facts("cuda", "linbp craft")
        return facts["float32_convolutions"], facts["float32_products"]

    before = said()
    with tf32(wanted):
        assert said() == (precision, precision)
        with tf32(None):
            assert said() == (precision, precision)
    assert said() == before
