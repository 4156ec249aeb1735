"""What is no matrix of logits is refused with its cause, wherever a network is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from linbp.errors import ModelError
from linbp.models import Model
from linbp.models.logits import are_probabilities, check_logits

LOGITS = torch.linspace(-2, 2, 12).view(4, 3)

ANSWERS: dict[str, tuple[Callable[[], Any], str]] = {
    "one column": (lambda: LOGITS[:, :1], "torch.cat"),
    "one number": (lambda: LOGITS[:, 0], "torch.cat"),
    "no column": (lambda: LOGITS[:, :0], "torch.cat"),
    "class numbers": (lambda: LOGITS.argmax(1), "one_hot"),
    "the best classes": (lambda: LOGITS.topk(2).indices * torch.tensor([[3], [1], [7], [2]]), "one_hot"),
    "one pixel": (lambda: LOGITS[:, :, None, None], "flatten(1)"),
    "many pixels": (lambda: LOGITS[:, :, None, None].expand(-1, -1, 5, 5), "pool"),
    "transposed": (lambda: LOGITS.T, ".T"),
    "crops": (lambda: LOGITS.repeat(10, 1), "view(4, 10, -1)"),
    "rows missing": (lambda: LOGITS[:2], "(images, classes)"),
    "one row": (lambda: LOGITS[0], "(images, classes)"),
    "a dict": (lambda: {"aux": LOGITS[:, 0], "scores": LOGITS}, "answer['scores']"),
    "a dict with logits": (lambda: {"other": LOGITS, "logits": LOGITS}, "answer['logits']"),
    "a tuple": (lambda: (LOGITS[0], LOGITS), "answer[1]"),
    "a list": (LOGITS.tolist, "tensor"),
    "nothing": (lambda: None, "forward"),
    "NaN": (LOGITS.log, "log_softmax"),
    "infinity": (lambda: LOGITS / 0, "log_softmax"),
    "complex": (lambda: LOGITS.to(torch.complex64), "real"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_no_matrix_of_logits_is_refused(name: str) -> None:
    make, mend = ANSWERS[name]
    with pytest.raises(ModelError) as caught:
        check_logits(make(), 4, "net")
    assert caught.value.message.startswith("net answers")
    if name not in ("a list", "nothing"):
        assert mend in caught.value.hint, caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        LOGITS,
        LOGITS.half(),
        LOGITS.softmax(1),
        torch.eye(4, dtype=torch.int64),
        (LOGITS * 50 + 100).to(torch.uint8),
        (LOGITS * 1000).to(torch.int32),
        torch.tensor([[7, 0, 3], [0, 0, 9], [1, 0, 2], [4, 4, 1]]),
    ],
)
def test_scores_of_any_kind_are_answers(answer: torch.Tensor) -> None:
    assert check_logits(answer, 4, "net") is answer


def test_a_surrogate_of_one_column_is_refused() -> None:
    import linbp

    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
    model = Model(module, input_size=2)
    with pytest.raises(ModelError, match="1 column"):
        linbp.craft(model, torch.zeros(2, 3, 2, 2), [0, 0], "ifgsm", eps="8/255", steps=1)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_probabilities_are_known_in_every_dtype(dtype: torch.dtype) -> None:
    logits = torch.randn(16, 1000, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert are_probabilities(logits.softmax(1))
    assert are_probabilities((logits / 3).softmax(1))
    assert are_probabilities((logits * 100).softmax(1))  # saturated in some rows
    for other in (logits, logits.log_softmax(1), logits.sigmoid(), logits.abs()):
        assert not are_probabilities(other)
    assert not are_probabilities(torch.eye(16, dtype=dtype))  # decisions
