"""Messages speak in the words that the user typed, whichever part of a named recipe they are about; numbers stay as
people write them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_networks import images_and_labels, tiny, tiny_chain

import linbp
from linbp.attack import AttackConfig, Momentum, Recipe
from linbp.errors import LinbpError, RecipeError
from linbp.registry import kinds, names, part, register
from linbp.registry.grammar import write_value

PARTS = {name for kind in kinds() if kind not in ("recipe", "defence") for name in names(kind)} - set(names("recipe"))


def untyped(message: str, *words: str) -> set[str]:
    """The names of parts in a message that the user typed nowhere."""
    return {name for name in re.findall(r"[a-z][a-z0-9-]*", message) if name in PARTS} - set(words)


def refusal(text: str) -> RecipeError | None:
    """Why a recipe is refused."""
    try:
        Recipe.parse(text)
    except RecipeError as fault:
        return fault
    return None


def test_every_conflict_of_two_names_names_both_as_they_were_typed() -> None:
    """Every pair of recipes and parts: the sum is read, or refused in its own words."""
    words = {*names("recipe"), *PARTS} - {"nrdm"}
    refused = 0
    for first, second in itertools.product(sorted(words), repeat=2):
        fault = refusal(f"{first} + {second}")
        if fault is None:
            continue
        refused += 1
        for word in (first, second):
            assert re.search(rf"(?<![\w-]){word}(?![\w-])", fault.message), fault
        said = fault.message.partition(":")[0]
        shared = {said.split()[-1].rstrip(".")} if "are both" in said else set()
        assert not untyped(said, first, second, *shared), fault
        assert fault.hint
    assert refused > 500


@pytest.mark.parametrize(
    ("text", "settings", "word"),
    [
        ("mifgsm(decay=-1)", {}, "mifgsm(decay=-1)"),
        ("nifgsm(scale=l2)", {}, "nifgsm(scale=l2)"),
        ("mdi2fgsm(interpolation=cubic)", {}, "mdi2fgsm(interpolation=cubic)"),
        ("pgd(radius=2)", {}, "pgd(radius=2)"),
        ("tifgsm(size=4)", {}, "tifgsm(size=4)"),
        ("tifgsm(sigma=0.01)", {}, "tifgsm(sigma=0.01)"),
        ("tapfgsm(distance=0, smoothness=0)", {}, "tapfgsm"),
        ("nrdmfgsm(at=[])", {}, "nrdmfgsm(at=[])"),
        ("mifgsm", {"steps": 1}, "mifgsm"),
        ("vmifgsm", {"steps": 1}, "vmifgsm"),
        ("tapfgsm", {"steps": 1}, "tapfgsm"),
        ("nrdmfgsm", {"targets": True}, "nrdmfgsm"),
        ("admix-mifgsm", {}, "admix-mifgsm"),
        ("mi >> difgsm", {}, "difgsm"),
        ("sifgsm + admix", {"pool": True}, "sifgsm"),
    ],
)
def test_settings_are_refused_in_the_words_that_were_typed(text: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(RecipeError) as caught:
        AttackConfig.resolve(text, **settings)
    assert word in caught.value.message
    assert not untyped(caught.value.message.partition(":")[0], "admix", *re.findall(r"[\w-]+", text))


@pytest.mark.parametrize(
    ("text", "ensemble", "word"),
    [
        ("difgsm(scale=1.01)", False, "difgsm(scale=1.01)"),
        ("mi >> difgsm(scale=1.01) + ila(at=blocks.0)", False, "difgsm(scale=1.01)"),
        ("svre-mifgsm", False, "svre-mifgsm"),
        ("tapfgsm(at=head)", True, "tapfgsm"),
    ],
)
def test_networks_and_images_are_refused_in_the_words_that_were_typed(text: str, ensemble: bool, word: str) -> None:
    model = linbp.Ensemble([tiny(), tiny_chain()]) if ensemble else tiny()
    with pytest.raises(RecipeError) as caught:
        linbp.craft(model, *images_and_labels(2), text, eps="4/255", steps=2)
    assert word in caught.value.message
    assert not untyped(caught.value.message)


@pytest.mark.parametrize(
    "wrong", [None, 3, ["mi"], linbp.LinBP, (Momentum(),)], ids=["none", "number", "list", "class", "tuple"]
)
def test_what_is_no_recipe_is_refused(wrong: Any) -> None:
    with pytest.raises(RecipeError, match="no recipe"):
        AttackConfig.resolve(wrong)


def test_a_part_alone_is_a_recipe() -> None:
    assert AttackConfig.resolve(linbp.LinBP(start=0)).recipe == Recipe.parse("linbp(start=0)")  # type: ignore[arg-type]
    for wrong, hint in ((3, "instances"), (Momentum, r"Momentum\(\.\.\.\)")):
        with pytest.raises(RecipeError, match=hint):
            Recipe.of([wrong])


@given(st.integers(1, 999), st.integers(2, 999))
def test_a_fraction_is_written_as_one_and_read_back_to_the_same_bits(top: int, bottom: int) -> None:
    value = top / bottom
    written = write_value(value)
    assert len(written) <= 8
    (term,) = Recipe.parse(f"mi(decay={written})").stages[0].terms
    assert term.options["decay"] == value
    assert write_value(8 / 7) == "8/7"
    assert write_value(0.1) == "0.1"


def test_no_text_of_a_named_recipe_has_long_decimals() -> None:
    for name in names("recipe"):
        for stage in Recipe.parse(name + (" + random-start" if name == "nrdm" else "")).stages:
            for text in (str(stage), stage.written_out(), str(Recipe.of([*stage.transforms, stage.update]))):
                assert not re.search(r"\d\.\d{8}", text), text


def test_parts_of_other_packages_that_break_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from linbp import registry

    for kind in ("transform", "recipe"):
        monkeypatch.setitem(registry._registry, kind, dict(registry._registry[kind]))

    @part("transform", "picky")
    class Picky:
        size: int = 3

        def __post_init__(self) -> None:
            self.size + 1

    def nothing() -> Any:
        return "mi"

    register("recipe", "nothing", nothing)
    register("recipe", "wrapped", lambda *, size=2: (Picky(size=size),))
    for text in ("picky(size=word)", "wrapped(size=word)"):
        with pytest.raises(RecipeError, match=re.escape(text)):
            Recipe.parse(text)
    with pytest.raises(LinbpError, match=r"nothing of .* gives 'mi', which is no part"):
        Recipe.parse("nothing")
