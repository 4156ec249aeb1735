"""What several test files share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")  # no test may depend on time or luck

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell without job control starts what runs in its background so; the tests' own programs would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Lines are as long as where there is no terminal; some runners of tests say that theirs has 80 columns.
os.environ.pop("COLUMNS", None)

SHARED = Path(__file__).parents[1] / ".." / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of photographs and trained networks beside the repository; tests that ask for it need it there."""
    return SHARED


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the experiments' scripts, which can be imported by their names."""
    folder = Path(__file__).parents[1] / "experiments"
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Captured programs go into a folder of the run's own, which its processes share, not into the user's cache."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINBP_CACHE", str(folder / "programs"))
        yield


@pytest.fixture(scope="session")
def made_audit(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small audit, and what it announced; its images are in the folder `photos` beside its own."""
    import small_audits

    return small_audits.made_audit(tmp_path_factory.mktemp("audits"))


@pytest.fixture(scope="session")
def cifar_mosaics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the layout of mosaics: 60,000 images of four coloured squares, which nearly tell the class."""
    folder = tmp_path_factory.mktemp("mosaics")
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, 60_000, dtype=np.uint8)
    (folder / "labels.u8").write_bytes(labels.tobytes())
    colours = draw.integers(0, 200, (10, 2, 2, 3))
    for number, name in enumerate([*(f"train_{number}" for number in range(5)), "test_0"]):
        classes = labels[number * 10_000 : (number + 1) * 10_000]
        squares = (colours[classes] + draw.integers(0, 56, (10_000, 1, 1, 3))).astype(np.uint8)
        rows = squares.reshape(100, 100, 2, 2, 3).swapaxes(1, 2).reshape(200, 200, 3)
        mosaic = Image.fromarray(rows).resize((3200, 3200), Image.Resampling.NEAREST)
        mosaic.save(folder / f"{name}.webp", lossless=True, quality=0, method=0)
    return folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the exhaustive tests on a desk; mark those that need the shared folder, and skip them without it."""
    if not os.environ.get("LINBP_TEST_ALL"):
        left_out = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    missing = pytest.mark.skip(
        reason="needs photographs and networks that may not be shipped, in ../shared; docs/results.md has their figures"
    )
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.study)
            if not SHARED.is_dir():
                item.add_marker(missing)
