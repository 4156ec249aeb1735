"""Linear fits of a direction from few points in a space of many dimensions."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any, Literal

import torch

from linbp.errors import RecipeError

__all__ = ["REGULARISATION", "Fit", "fitted_direction"]

Fit = Literal["mean", "ridge", "svr"]
REGULARISATION: dict[Fit, float] = {"mean": 0.0, "ridge": 1.0, "svr": 1e10}
"""Those of the authors' code, which writes the last one as C = 1e-10; the mean has none."""
AT_ONCE = 2**22
"""Numbers that are made float64 at a time."""
TOLERANCE = 1e-4
"""Of the support vector regression, as in the authors' code."""
MOST_ITERATIONS = 100_000


def fitted_direction(
    rows: torch.Tensor, values: torch.Tensor, fit: Fit, regularisation: float, normalise: bool
) -> torch.Tensor:
    """The direction w in which a value rises fastest, by a linear fit of the values to the rows.

    Every fit is a sum of the rows, w = H' a, and a depends on nothing but the rows' inner products H H', so that the
    fit itself is as small as the number of rows.

    Args:
        rows: (T, D), of any float dtype, with D much larger than T.
        values: (T,), float64, on the CPU.
        fit: how.
        regularisation: ridge's lambda, or 1 / C of the support vector regression.
        normalise: whether each row is divided by its norm before the fit; a row of zeros stays one.

    Returns:
        (D,), the rows' dtype and device; its norm has no meaning.

    Raises:
        RecipeError: scikit-learn is needed and not installed.
    """
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64)
    for some in _in_float64(rows):
        products += (some @ some.t()).cpu()
    scale = torch.ones(len(rows), dtype=torch.float64)
    if normalise:
        norms = products.diagonal().sqrt()
        scale = torch.where(norms > 0, 1 / torch.where(norms > 0, norms, 1), 0)
        products = products * scale[:, None] * scale
    if fit == "mean":
        shares = values / len(values)
    elif fit == "ridge":
        # r - (K + lambda)^-1 K r = lambda (K + lambda)^-1 r, which loses no digits where lambda is large
        unit = torch.eye(len(values), dtype=torch.float64)
        shares = regularisation * torch.linalg.solve(products + regularisation * unit, values)
    else:
        shares = _support_vector_shares(products, values, regularisation)
    shares = shares * scale
    return torch.cat([(shares.to(some.device) @ some).to(rows) for some in _in_float64(rows)])


def _in_float64(rows: torch.Tensor) -> Iterator[torch.Tensor]:
    """The rows in float64, some columns at a time: never all of them at once."""
    for some in torch.split(rows, max(AT_ONCE // len(rows), 1), dim=1):
        yield some.cpu().double() if some.device.type == "mps" else some.double()  # Apple's devices have no float64


def _support_vector_shares(products: torch.Tensor, values: torch.Tensor, regularisation: float) -> torch.Tensor:
    """The shares of the rows in the weights of a linear support vector regression.

    The rows are replaced by T numbers each that have the same inner products; the regression cannot tell.
    """
    regression = _linear_svr()(
        C=1 / regularisation, epsilon=0.0, tol=TOLERANCE, max_iter=MOST_ITERATIONS, random_state=0
    )
    strengths, axes = torch.linalg.eigh(products)
    present = strengths > strengths.max().clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    roots = torch.where(present, strengths, 0).sqrt()
    regression.fit((axes * roots).numpy(), values.numpy())
    weights = torch.from_numpy(regression.coef_).double()
    shares: torch.Tensor = axes @ torch.where(present, weights / torch.where(present, roots, 1), 0)
    return shares


def _linear_svr() -> Any:
    try:
        return importlib.import_module("sklearn.svm").LinearSVR
    except ImportError as fault:
        raise RecipeError(
            "ila-plus-plus(fit=svr) needs scikit-learn, which is not installed.",
            "Install it with pip install '.[svr]' in linbp's folder, or use fit=ridge or fit=mean.",
        ) from fault
