"""Repositories of the Hugging Face hub, and folders that hold what such a repository does."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from linbp.errors import ModelError

__all__ = ["find_folder", "quiet_hub"]

_WEIGHTS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
_PICKLED = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
_TEXT = (".json", ".txt", ".model")
"""Endings of the small files: configuration, preprocessing, tokenizer."""


def find_folder(rest: str, source: str) -> tuple[Path, dict[str, Any]]:
    """The folder of `FOLDER`, or of `ORG/NAME` or `ORG/NAME@REVISION` on the hub, downloaded where the cache lacks it.

    Args:
        rest: what stands behind the source's colon.
        source: the word before the colon.

    Returns:
        the folder, and for results where it came from: `repository` and `revision`, the commit's hash; nothing of a
        local folder.

    Raises:
        ModelError: no such folder or repository, or no network, and no copy in the cache.
    """
    place = Path(rest).expanduser()
    if place.is_dir():
        return place, {}
    if not rest or rest.startswith((".", "/", "~")) or "\\" in rest or rest.count("/") > 1:
        raise ModelError(
            f"{source}:{rest} names no folder that is there.",
            f"Write {source}:FOLDER, which holds config.json and the weights, or {source}:ORG/NAME of the hub.",
        )
    name, _, revision = rest.partition("@")
    with quiet_hub():
        folder = _fetch(name, revision or None, source)
    # The cache calls the folder of a snapshot by its commit.
    return folder, {"repository": name, "revision": folder.name}


def _fetch(name: str, revision: str | None, source: str) -> Path:
    """The cached snapshot of a repository, with one set of weights; safetensors if there are any.

    Raises:
        ModelError: see `find_folder`.
    """
    hub = HfApi()
    try:
        info = hub.model_info(name, revision=revision)
        files = list(_wanted(entry.rfilename for entry in info.siblings or ()))
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=files))
    except HFValidationError as error:
        raise ModelError(
            f"{source}:{name} is neither a folder nor a name of the hub.",
            f"Write {source}:FOLDER or {source}:ORG/NAME.",
        ) from error
    except GatedRepoError as error:
        raise ModelError(
            f"The repository {name} is gated: its owner asks for your consent.",
            f"Accept its terms at hf.co/{name}, run `hf auth login`, and then the same command again.",
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"The repository {name} has no revision {revision!r}.", f"Look at hf.co/{name}/commits for those it has."
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"The hub has no repository {name!r}, or shows it only to its members.",
            f"Look for the name at hf.co/models; for a private one, run `hf auth login`; a folder is {source}:./DIR.",
        ) from error
    # The hub's client raises its own, its transport's and the operating system's exceptions; all mean the same here.
    except Exception as error:
        return _cached(name, revision, source, error)


def _wanted(files: Iterable[str]) -> Iterator[str]:
    """Of a repository's files, the small ones and one set of weights."""
    top = [file for file in files if "/" not in file]
    weights = [file for file in top if _WEIGHTS.fullmatch(file)] or [file for file in top if _PICKLED.fullmatch(file)]
    yield from weights
    yield from (file for file in top if file.endswith(_TEXT) and file not in weights and ".index." not in file)


def _cached(name: str, revision: str | None, source: str, error: Exception) -> Path:
    found = try_to_load_from_cache(name, "config.json", revision=revision)
    if isinstance(found, str):
        return Path(found).parent
    line = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    raise ModelError(
        f"{source}:{name} could not be fetched: {line}.",
        f"Without a network, run `hf download {name} --local-dir {name.rpartition('/')[2]}` elsewhere, copy the "
        f"folder, and write {_of_folder(source)}path/to/{name.rpartition('/')[2]}.",
    ) from error


def _of_folder(source: str) -> str:
    """What stands before the path of a folder."""
    return "timm:local-dir:" if source.startswith("timm:") else f"{source}:"


@contextmanager
def quiet_hub() -> Iterator[None]:
    """Inside, the hub's client neither logs nor draws bars: what goes wrong is told in two lines."""
    logger = logging.getLogger("huggingface_hub")
    level, bars = logger.level, not are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            enable_progress_bars()
