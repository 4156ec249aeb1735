"""The networks of a run in one process: loaded when a task first needs them, and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch

from linbp.attack.ensemble import Attackable, Ensemble, Fuse, as_ensemble, identity_of
from linbp.attack.named_surrogates import split_rules
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.bench.suite import SuiteSurrogate
from linbp.errors import ModelError
from linbp.evaluation.predict import load_victim
from linbp.graph import Surrogate
from linbp.graph.kernels.groups import GROUP, computing_facts
from linbp.models import BlackBox, Classifier, Model, OnnxModel, load_model
from linbp.models.onnx_torch import as_torch

__all__ = ["Network", "Networks"]

Network = Model | OnnxModel | BlackBox

ROOM = 2 * 2**30
"""Bytes of weights that are kept; the network in use counts even if it is larger."""


class Networks:
    """Loads networks by name.

    Args:
        device: where they run; None: where they are loaded.
        given: networks that a caller has already, by the names that the suite calls them.
        room: how many bytes of weights are kept.
    """

    def __init__(
        self, device: str | None = None, given: Mapping[str, Classifier] | None = None, room: int = ROOM
    ) -> None:
        self.device, self.room = device, room
        self.given = dict(given or {})
        self._kept: OrderedDict[Any, tuple[Any, int]] = OrderedDict()

    def network(self, name: str) -> Network:
        """The network of that name.

        Raises:
            ModelError: it cannot be loaded.
        """
        found: Network = self._keep(("network", name), lambda: self._load(name))
        return found

    def model(self, name: str) -> Model:
        """The network of that name, which gives gradients; an ONNX file is turned into a PyTorch module.

        Raises:
            ModelError: it cannot be loaded, or gives none.
        """
        found = self.network(name)
        if isinstance(found, OnnxModel):
            file = found
            found = self._keep(("module", name), lambda: self._placed(as_torch(file)))
        if not isinstance(found, Model):
            raise ModelError(
                f"{found.name} gives no gradients, so it cannot be a surrogate.",
                "Use it as a victim, and a PyTorch network as the surrogate.",
            )
        return found

    def identity(self, surrogate: SuiteSurrogate) -> dict[str, Any]:
        """What results record about a surrogate, without capturing it.

        Raises:
            ModelError, RecipeError: a network cannot be loaded, or what stands after `with` is no rule.
        """
        pairs = [split_rules(text) for text in surrogate.models]
        members = [(self.model(name), rules) for name, rules in pairs]
        size, compiled = surrogate.group_size or GROUP, surrogate.compiled
        computing = [computing_facts(size, model.dtype, compiled) for model, _ in members]
        return identity_of(members, self._fuse(surrogate), computing)

    def surrogate(self, surrogate: SuiteSurrogate) -> Ensemble:
        """A surrogate, captured.

        Raises:
            ModelError, CaptureError, RuleError, RecipeError: it cannot be.
        """
        found: Ensemble = self._keep(("surrogate", surrogate), lambda: self._capture(surrogate))
        return found

    def prepared(self, surrogate: SuiteSurrogate, recipe: Recipe) -> Prepared:
        """A recipe on a surrogate.

        Raises:
            ModelError, CaptureError, RuleError, RecipeError: they do not fit.
        """
        key = ("prepared", surrogate, str(recipe))
        found: Prepared = self._keep(key, lambda: prepare(self.surrogate(surrogate), recipe))
        return found

    def drop(self) -> None:
        """Let go of every network."""
        self._kept.clear()

    @staticmethod
    def _fuse(surrogate: SuiteSurrogate) -> Fuse:
        return surrogate.fuse or ("logits" if len(surrogate.models) > 1 else "losses")

    def _load(self, name: str) -> Network:
        found = load_victim(self.given[name]) if name in self.given else load_model(name)
        assert isinstance(found, Model | OnnxModel | BlackBox)
        return self._placed(found)

    def _placed(self, network: Network) -> Network:
        return network if self.device is None or self.device == "cpu" else network.to(self.device)

    def _capture(self, surrogate: SuiteSurrogate) -> Ensemble:
        members = []
        for text in surrogate.models:
            name, rules = split_rules(text)
            members.append(Surrogate(self.model(name), rules or None))
        if len(members) == 1:
            found: Attackable = members[0]
        else:
            found = Ensemble(members, self._fuse(surrogate))
        return as_ensemble(found, group_size=surrogate.group_size, compiled=surrogate.compiled)

    def _keep(self, key: Any, make: Callable[[], Any]) -> Any:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        made = make()
        self._kept[key] = made, _size(made)
        while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > self.room:
            self._kept.popitem(last=False)
        return made


def _size(thing: Any) -> int:
    """Bytes of a network's weights, roughly; what is made of it shares most of them."""
    modules = [thing] if isinstance(thing, torch.nn.Module) else []
    if isinstance(thing, Ensemble):
        modules = [surrogate.model for surrogate in thing.surrogates]
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
