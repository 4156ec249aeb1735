"""Random small networks are captured with the values and gradients of the module, or refused in one line."""

from __future__ import annotations

import os

import pytest
from random_networks import check

IN_EACH, CHUNKS = (25, 20) if os.environ.get("LINBP_TEST_ALL") else (12, 1)
"""500 networks in continuous integration, the first 12 of them elsewhere."""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_captured_as_they_are_or_refused(chunk: int) -> None:
    verdicts = [check(seed) for seed in range(IN_EACH * chunk, IN_EACH * (chunk + 1))]
    captured = verdicts.count("captured")
    assert IN_EACH // 4 < captured < IN_EACH, "nearly all are refused, or none is"
