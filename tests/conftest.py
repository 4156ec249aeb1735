"""What several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")  # no test may depend on time or luck

SHARED = Path(__file__).parents[1] / ".." / "shared"


@pytest.fixture
def shared() -> Path:
    """The folder of photographs and trained networks beside the repository; tests that ask for it need it there."""
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Captured programs go into a folder of the run's own, not into the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINBP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need the shared folder as skipped, with the reason, where it is missing."""
    if SHARED.is_dir():
        return
    missing = pytest.mark.skip(reason="the shared photographs and networks are not beside the repository")
    for item in items:
        if "shared" in getattr(item, "fixturenames", ()):
            item.add_marker(missing)
