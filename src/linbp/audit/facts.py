"""What an audit records about its suite and its model."""

from __future__ import annotations

from collections.abc import Sequence

from linbp.audit.audit_suite import AuditSuite
from linbp.audit.result import SuiteFacts
from linbp.bench.networks import Network
from linbp.models import Defended, Model
from linbp.registry.grammar import write_first

__all__ = ["hash_of", "preprocessing_of", "suite_facts"]


def suite_facts(suite: AuditSuite, *, steps: int | None, budget: int | None, seed: int) -> SuiteFacts:
    """What was tried, for the records."""
    return SuiteFacts(
        name=suite.name,
        version=suite.version,
        sha256=suite.sha256,
        about=" ".join(suite.about.split()),
        steps=steps,
        budget=budget,
        seed=seed,
    )


def hash_of(network: Network) -> str:
    """The hash of a network's weights, or of its file; empty for a black box."""
    facts = network.identity()
    return str(facts.get("weights_sha256") or facts.get("file_sha256") or "")


def preprocessing_of(network: Network) -> str:
    """What is done to an image before the network sees it, in words."""
    if isinstance(network, Defended):
        return ", then ".join([*map(write_first, network.defences), preprocessing_of(network.inner)])
    own = network if isinstance(network, Model) else network.preprocessing
    if own is None:
        return "its own: it gets images in [0, 1] at their own size"
    size = network.input_size
    if own.centre_crop is not None:
        words = [f"{own.centre_crop} ({own.interpolation})"]
    else:
        words = ["any size" if size is None else f"resized as a whole to {size[2]} x {size[1]} ({own.interpolation})"]
    normalised = any(own.mean) or any(value != 1 for value in own.std)
    words.append(
        f"minus {_numbers(own.mean)}, over {_numbers(own.std)}" if normalised else "RGB in [0, 1], not normalised"
    )
    return ", ".join(words)


def _numbers(values: Sequence[float]) -> str:
    texts = [f"{value:.4g}" for value in values]
    return texts[0] if len(set(texts)) == 1 else f"({', '.join(texts)})"
