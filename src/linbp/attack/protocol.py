"""What a protocol is: how a published set of figures prepared its images, attacked them, and counted."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from linbp.data.preprocessing import Interpolation, Preparation, View, write_view
from linbp.errors import RecipeError
from linbp.validation import read_fraction

__all__ = ["Protocol"]

EQUAL = 1e-9
"""Numbers that differ by less than this, relative to their size, are the same radius or step."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """One published set-up, as its released code has it.

    Attributes:
        name: what `--protocol` takes.
        title: one line.
        paper: where it was published.
        sources: the repositories and files that the values were read from.
        preparation: of the photographs; None: the shorter side to the surrogate's input size with the surrogate's
            interpolation, and the middle of that size.
        eps: the radii that were used, as written; the first is the default.
        steps: the numbers of steps that were used; the first is the default.
        step_size: as written.
        norm: of the ball.
        rounding: to the 8-bit grid.
        target_rule: the rule of its targeted attacks (`shift:500`), `column` where a list gives the targets, or None
            where there are none.
        victims: what is done to an image before a victim sees it.
        white_box: the same, for the surrogate's own network.
        selection: `every-victim` if its images are those that every victim knows, else None.
        images: which images it uses.
        surrogates: the networks it attacks, with their weights.
        victim_networks: the networks it asks, with their weights.
        odd: what a reader of its figures should know.
        unverified: what no source was found for.
    """

    name: str
    title: str
    paper: str
    sources: tuple[str, ...]
    preparation: Preparation | None
    eps: tuple[str, ...]
    steps: tuple[int, ...]
    step_size: str
    norm: Literal["linf", "l2"] = "linf"
    rounding: Literal["inward", "nearest", "truncate"] = "nearest"
    target_rule: str | None
    victims: View
    white_box: View
    selection: Literal["every-victim"] | None
    images: str
    surrogates: str
    victim_networks: str
    odd: tuple[str, ...]
    unverified: tuple[str, ...]

    def prepare_for(self, size: tuple[int, int], interpolation: str) -> Preparation:
        """The preparation of the photographs for a surrogate.

        Args:
            size: (height, width) of the surrogate's input.
            interpolation: with which the surrogate's photographs are resized.
        """
        if self.preparation is not None:
            return self.preparation
        filter_name: Interpolation = "bicubic" if interpolation == "bicubic" else "bilinear"
        filter_name = "nearest" if interpolation == "nearest" else filter_name
        return Preparation(resize=size[0] if size[0] == size[1] else size, interpolation=filter_name, crop=size)

    def resolve_number(self, option: str, given: float | None, allowed: tuple[str, ...]) -> float:
        """A radius or step size: the one given if the protocol has it, or the protocol's first.

        Args:
            option: what messages call it, such as `eps`.
            given: what the user asks for, or None.
            allowed: the protocol's values, as written.

        Raises:
            RecipeError: the protocol has another value.
        """
        for text in allowed:
            value = read_fraction(text)
            if given is None or abs(given - value) <= EQUAL * value:
                return value
        raise self.contradiction(option, f"{given:.6g}", allowed)

    def resolve(self, option: str, given: Any, allowed: tuple[Any, ...]) -> Any:
        """A whole number or a word: the one given if the protocol has it, or the protocol's first.

        Raises:
            RecipeError: the protocol has another value.
        """
        if given is None:
            return allowed[0]
        if given not in allowed:
            raise self.contradiction(option, given, allowed)
        return given

    def check_targets(self, rule: str | None, column: bool) -> None:
        """Refuse a targeted attack other than the protocol's; an untargeted one is always let through.

        Args:
            rule: the target rule asked for, such as `shift:500`.
            column: whether the targets come from a list.

        Raises:
            RecipeError: the protocol has another rule, or no targeted attack.
        """
        if rule is None and not column:
            return
        asked = f"target-rule {rule}" if rule is not None else "targets from a column"
        if self.target_rule is None:
            raise RecipeError(
                f"{asked[0].upper()}{asked[1:]} contradicts the protocol {self.name}, which has no targeted attack.",
                "Leave the targets out, or leave the protocol out.",
            )
        if self.target_rule == "column" and rule is not None:
            raise RecipeError(
                f"target-rule {rule} contradicts the protocol {self.name}, whose targets come with its list.",
                "Give the list's column with --targets, or leave the protocol out.",
            )
        if self.target_rule != "column" and (column or rule != self.target_rule):
            raise RecipeError(
                f"{asked[0].upper()}{asked[1:]} contradicts the protocol {self.name} (target-rule {self.target_rule}).",
                f"Use --target-rule {self.target_rule}, or leave the protocol out.",
            )

    def contradiction(self, option: str, given: Any, allowed: tuple[Any, ...]) -> RecipeError:
        """The error for an option that says something else than the protocol."""
        values = " or ".join(map(str, allowed))
        return RecipeError(
            f"{option} {given} contradicts the protocol {self.name} ({option} {values}).",
            f"Leave {option} out, or leave the protocol out and give every value: linbp show {self.name} lists them.",
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        plain = dataclasses.asdict(self)
        plain["preparation"] = "the surrogate's own" if self.preparation is None else self.preparation.to_dict()
        plain["victims"], plain["white_box"] = write_view(self.victims), write_view(self.white_box)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
