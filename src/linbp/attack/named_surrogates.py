"""Surrogates by name: a network, with a rule of its own where one is given; several are an ensemble."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from linbp.attack.ensemble import Attackable, Ensemble, Fuse
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage
from linbp.errors import ModelError, RecipeError
from linbp.graph import Rule, Surrogate
from linbp.models import Model, OnnxModel, load_model
from linbp.models.onnx_torch import as_torch

__all__ = ["load_surrogate", "load_surrogates", "split_rules"]

RULES = re.compile(r"(?P<model>.*\S)\s+with\s+(?P<rules>[A-Za-z_][\w.\-]*\s*(?:[(+>].*)?)", re.DOTALL)
"""A model's name, the word with, and what can only be the grammar of recipes: a word that a bracket, a sign or the end
follows. Anything else is a model's name, such as a path in which the word occurs."""


def split_rules(text: str) -> tuple[str, tuple[Rule, ...]]:
    """A model's name and the rules after the word `with`; none where it does not stand there.

    >>> split_rules("demo:squeezenet1_1 with linbp(start=0.5)")
    ('demo:squeezenet1_1', (LinBP(start=0.5, ...),))

    Raises:
        RecipeError: what stands there is no sum of rules.
    """
    match = RULES.fullmatch(text)
    if match is None:
        return text, ()
    *before, last = Recipe.parse(match["rules"]).stages
    if before or last != Stage(rules=last.rules) or not last.rules:
        raise RecipeError(
            f"{match['rules']} is no backward rule.",
            "After `with` stand rules (linbp list rules); what belongs to the whole attack stands in --recipe.",
        )
    return match["model"], last.rules


def load_surrogate(name: str) -> Model:
    """Load a network that gives gradients; an ONNX file is turned into a PyTorch module.

    Raises:
        ModelError: there is no such network, or it gives no gradients.
    """
    model = load_model(name)
    if isinstance(model, OnnxModel):
        model = as_torch(model)
    if not isinstance(model, Model):
        raise ModelError(
            f"{model.name} gives no gradients, so it cannot be a surrogate.",
            "Use it as a --victim, and a PyTorch network as the surrogate.",
        )
    return model


def load_surrogates(texts: Sequence[str], fuse: Fuse | None, tell: Callable[[str, int, int], None]) -> Attackable:
    """The network of that name, captured where it has a rule of its own, or the ensemble of several.

    Args:
        texts: a model's name each, or `MODEL with RULE`.
        fuse: what an ensemble averages; None is its default.
        tell: told how many are loaded, and how many there are.

    Raises:
        ModelError, CaptureError, RuleError: a network cannot be loaded or captured, or a rule does not fit it.
        RecipeError: no rule after `with`, or a fuse for one network.
    """
    if fuse is not None and len(texts) < 2:
        raise RecipeError(
            f"--fuse {fuse} would have no effect on one surrogate.", "Give --surrogate several times, or leave it out."
        )
    if twice := [text for text, times in Counter(texts).items() if times > 1]:
        raise ModelError(
            f"The surrogate {twice[0]} is given twice.", "Name each network once; in an ensemble all count the same."
        )
    task = "loading the surrogate" if len(texts) == 1 else "loading the surrogates"
    named = [split_rules(text) for text in texts]
    loaded: list[Model | Surrogate] = []
    tell(task, 0, len(named))
    for done, (name, rules) in enumerate(named, 1):
        model = load_surrogate(name)
        loaded.append(Surrogate(model, rules) if rules else model)
        tell(task, done, len(named))
    if len(loaded) == 1:
        return loaded[0]
    return Ensemble(loaded, fuse or "logits")
