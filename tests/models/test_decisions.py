"""Victims of the user's own that answer with labels, or with the best few classes and their scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fitted_networks import KINDS, fitted, patterned

import linbp
from linbp.errors import ModelError, RecipeError
from linbp.evaluation.asked_twice import UnsteadyError
from linbp.models import BlackBox
from linbp.models.decisions import as_scores


class Decides:
    """The network 1, which tells less than its scores."""

    name = "decides"

    def __init__(self, answers: str, **attributes: Any) -> None:
        self.answers = answers
        vars(self).update(attributes)

    def logits(self, images: torch.Tensor) -> Any:
        scores = fitted(1).logits(images)
        if self.answers == "labels":
            return scores.argmax(1)
        best = scores.topk(2)
        return torch.full_like(scores, -torch.inf).scatter(1, best.indices, best.values)

    def identity(self) -> dict[str, str]:
        return {"name": self.name}


@pytest.mark.parametrize("answers", ["labels", "top-k"])
def test_success_needs_no_more(answers: str) -> None:
    """The same records as from the scores; losses, margins and probabilities are not made up."""
    clean, labels = patterned(24)
    adv = clean.flip(2)
    wanted = linbp.evaluate(fitted(1), clean, adv, labels)
    found = linbp.evaluate(Decides(answers, classes=KINDS), clean, adv, labels)  # type: ignore[arg-type]
    assert found.records == wanted.records
    assert 0 < found.statistics.fooled.successes < 24
    said = " ".join(found.notes)
    assert "success needs no more" in said
    assert "probabilities" not in said
    assert "two or more best" not in said


def test_labels_need_the_number_of_classes() -> None:
    images = torch.zeros(2, 3, 16, 16)
    with pytest.raises(ModelError, match="how many classes") as error:
        BlackBox(Decides("labels")).logits(images)
    assert "class_names" in error.value.hint
    assert BlackBox(Decides("labels", class_names=("a", "b", "c", "d"))).logits(images).shape == (2, 4)
    with pytest.raises(ModelError, match=r"class \d, and has 1 classes"):
        BlackBox(Decides("labels", classes=1)).logits(patterned(8)[0].float() / 255)
    with pytest.raises(ModelError, match="scores, labels, top-k"):
        BlackBox(Decides("words"))


def test_classes_that_are_not_listed_are_below_those_that_are() -> None:
    listed = torch.tensor([[-torch.inf, 3.0, 1.0, -torch.inf], [5.0, -torch.inf, -torch.inf, -torch.inf]])
    scores = as_scores(listed, "top-k", 4, "best")
    np.testing.assert_array_equal(scores.numpy(), [[-1, 3, 1, -1], [5, 4, 4, 4]])


def test_they_are_no_proxies_and_no_surrogates() -> None:
    images, labels = patterned(4)
    for answers in ("labels", "top-k"):
        with pytest.raises(RecipeError, match="no scores of all classes"):
            linbp.choose_start(
                fitted(0),
                images,
                labels,
                "linbp(start=auto) + ifgsm",
                proxies=[BlackBox(Decides(answers, classes=KINDS))],
                eps=8 / 255,
                steps=1,
            )


def test_labels_that_change_are_found_out() -> None:
    """Every third answer is another class: the words speak of classes, not of scores."""

    class Moody(Decides):
        asked = 0

        def logits(self, images: torch.Tensor) -> Any:
            numbers = torch.arange(len(images)) + self.asked
            self.asked += len(images)
            return (super().logits(images) + (numbers % 3 == 0)) % KINDS

    clean, labels = patterned(24)
    with pytest.raises(UnsteadyError, match="another class") as error:
        linbp.evaluate(
            Moody("labels", classes=KINDS),  # type: ignore[arg-type]
            clean,
            clean,
            labels,
            trust_labels=True,
        )
    assert "of their range" not in error.value.message
