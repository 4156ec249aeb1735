"""ILA++: its fits against numpy's and scikit-learn's on explicit features, and whole attacks with it."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
import torch
from eager import (
    EPS,
    STEP,
    Array,
    Setting,
    climb,
    craft,
    cross_entropy,
    cross_entropy_gradient,
    linbp_gradient,
    look,
    make_setting,
    pull_back,
)
from tiny_networks import SIZE

from linbp.attack.parts.objective import fits
from linbp.attack.parts.objective.fits import Fit, fitted_direction
from linbp.errors import RecipeError
from linbp.randomness import generator


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


def rows_and_values(setting: Setting, row: int, points: list[Array], at: str) -> tuple[Array, Array]:
    """H and r at the points of a guide."""
    before = look(setting.net, setting.clean[row], [at]).features[at]
    looks = [look(setting.net, point, [at]) for point in points]
    rows = np.stack([(one.features[at] - before).ravel() for one in looks])
    return rows, np.array([cross_entropy(one.logits, setting.labels[row]) for one in looks])


def unit_rows(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


def least_squares(rows: Array, values: Array, strength: float) -> Array:
    """Ridge regression as a system with rows of its own for the penalty."""
    many = rows.shape[1]
    system = np.concatenate([rows, np.sqrt(strength) * np.eye(many)])
    return np.linalg.lstsq(system, np.concatenate([values, np.zeros(many)]), rcond=None)[0]


def support_vectors(rows: Array, values: Array, c: float) -> Array:
    svm = pytest.importorskip("sklearn.svm")
    return svm.LinearSVR(C=c, tol=1e-4, max_iter=100_000, random_state=0).fit(rows, values).coef_


PLUS_PLUS: list[tuple[str, Callable[[Array, Array], Array]]] = [
    ("", lambda rows, values: (unit_rows(rows) * values[:, None]).mean(0)),
    ("normalise=false", lambda rows, values: (rows * values[:, None]).sum(0)),
    ("fit=ridge", lambda rows, values: least_squares(unit_rows(rows), values, 1.0)),
    ("fit=ridge, regularisation=0.05", lambda rows, values: least_squares(unit_rows(rows), values, 0.05)),
    ("fit=ridge, normalise=false", lambda rows, values: least_squares(rows, values, 1.0)),
    ("fit=svr", lambda rows, values: support_vectors(unit_rows(rows), values, 1e-10)),
    ("fit=svr, normalise=false, regularisation=0.1", lambda rows, values: support_vectors(rows, values, 10.0)),
]


def cosine(one: Array, other: Array) -> float:
    return float(one.ravel() @ other.ravel() / np.linalg.norm(one) / np.linalg.norm(other))


@pytest.fixture(scope="module")
def points() -> tuple[Array, Array]:
    """Rows as an attack makes them: growing, alike, the first one zero; and values that rise."""
    draw = np.random.default_rng(3)
    rows = np.cumsum(draw.standard_normal((8, 300)) + 0.3 * draw.standard_normal(300), axis=0)
    rows[0] = 0
    return rows, np.sort(draw.uniform(0, 4, 8))


def fitted(points: tuple[Array, Array], fit: Fit, strength: float = 0.0, normalise: bool = False) -> Array:
    rows, values = (torch.from_numpy(given) for given in points)
    return fitted_direction(rows, values, fit, strength, normalise).numpy()


@pytest.mark.parametrize("strength", [1e-3, 1.0, 50.0, 1e6])
@pytest.mark.parametrize("normalise", [True, False])
def test_ridge_is_least_squares_with_a_penalty_and_the_paper_s_formula(
    points: tuple[Array, Array], strength: float, normalise: bool
) -> None:
    rows, values = unit_rows(points[0]) if normalise else points[0], points[1]
    found = fitted(points, "ridge", strength, normalise)
    assert np.allclose(found, strength * least_squares(rows, values, strength), rtol=1e-6, atol=1e-9)
    back = np.linalg.inv(rows @ rows.T + strength * np.eye(len(rows)))
    formula = rows.T @ values - rows.T @ back @ rows @ rows.T @ values
    assert np.allclose(found, formula, rtol=1e-6, atol=1e-9)


def test_the_limit_of_ridge_is_the_mean(points: tuple[Array, Array]) -> None:
    limit = fitted(points, "mean")
    assert np.allclose(limit, (points[0] * points[1][:, None]).mean(0))
    away = [1 - cosine(fitted(points, "ridge", 10.0**power), limit) for power in range(0, 13, 2)]
    assert away == sorted(away, reverse=True)
    assert away[0] > 0.1
    assert away[-1] < 1e-12


@pytest.mark.parametrize("c", [1e-10, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("normalise", [True, False])
def test_support_vectors_are_scikit_learn_s_on_explicit_features(
    points: tuple[Array, Array], c: float, normalise: bool
) -> None:
    rows = unit_rows(points[0]) if normalise else points[0]
    found, expected = fitted(points, "svr", 1 / c, normalise), support_vectors(rows, points[1], c)
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-8 * np.abs(expected).max())
    if c == 1e-10:
        assert cosine(found, rows.sum(0)) > 1 - 1e-9
    elif c >= 1:
        assert cosine(found, rows.sum(0)) < 0.9


@pytest.mark.parametrize("fit", ["mean", "ridge", "svr"])
def test_fits_of_float32_rows_in_pieces(points: tuple[Array, Array], fit: Fit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stay in their dtype; what is summed up piece by piece is float64."""
    rows, values = torch.from_numpy(points[0]).float(), torch.from_numpy(points[1])
    whole = fitted_direction(rows.double(), values, fit, 2.0, True)
    monkeypatch.setattr(fits, "AT_ONCE", 8 * 7)
    found = fitted_direction(rows, values, fit, 2.0, True)
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))


@pytest.mark.parametrize("fit", ["mean", "ridge", "svr"])
def test_a_guide_that_never_moved_gives_no_direction(fit: Fit) -> None:
    found = fitted_direction(torch.zeros(4, 30), torch.ones(4).double(), fit, 1.0, True)
    assert torch.equal(found, torch.zeros(30))


def test_without_scikit_learn_one_error_names_the_extra(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> object:
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(RecipeError, match="needs scikit-learn") as caught:
        craft(setting, "ila-plus-plus(at=blocks.0, fit=svr)", 2)
    assert "'.[svr]'" in caught.value.hint
    craft(setting, "ila-plus-plus(at=blocks.0, fit=ridge)", 2)


@pytest.mark.parametrize(("options", "fit"), PLUS_PLUS, ids=[options or "mean" for options, _ in PLUS_PLUS])
@pytest.mark.parametrize("guide", ["ifgsm", "linbp(start=1) + mi", "random-start"])
def test_ila_plus_plus(setting: Setting, guide: str, options: str, fit: Callable[[Array, Array], Array]) -> None:
    more = f", {options}" if options else ""
    found = craft(setting, f"{guide} >> ila-plus-plus(at=blocks.0, steps=2{more})", 5)
    net = setting.net
    for row, clean in enumerate(setting.clean):
        label = setting.labels[row]
        sizes = {"step_size": STEP, "eps": EPS}

        def plain(at: Array, label: int = label) -> Array:
            if "linbp" in guide:
                return linbp_gradient(net, at, label)
            return pull_back(net, at, {"logits": cross_entropy_gradient(look(net, at).logits, label, None)})

        noise = 2 * generator(9, str(row), 0, "random-start").random(clean.shape) - 1
        first = clean + EPS * noise if guide == "random-start" else None
        points = climb(clean, plain, steps=5, first=first, momentum=1.0 if "mi" in guide else None, **sizes)
        direction = fit(*rows_and_values(setting, row, points, "blocks.0")).reshape(6, SIZE, SIZE)
        expected = climb(
            clean, lambda at, direction=direction: pull_back(net, at, {"blocks.0": direction}), steps=2, **sizes
        )[-1]
        assert np.array_equal(found[row], np.rint(expected * 255))


def test_ila_plus_plus_leads_to_a_target_although_its_objective_is_negative(setting: Setting) -> None:
    """The target's log-probability is below 0: weighted with it, every row would point back. Its gain is taken."""
    found = craft(setting, "ila-plus-plus(at=blocks.0, steps=2)", 5, targeted=True)
    net = setting.net
    for row, clean in enumerate(setting.clean):
        target = setting.targets[row]
        sizes = {"step_size": STEP, "eps": EPS}

        def plain(at: Array, target: int = target) -> Array:
            return pull_back(net, at, {"logits": cross_entropy_gradient(look(net, at).logits, 0, target)})

        points = climb(clean, plain, steps=5, **sizes)
        rows, _ = rows_and_values(setting, row, points, "blocks.0")
        values = np.array([-cross_entropy(look(net, point).logits, target) for point in points])
        assert (values < 0).all()
        direction = (unit_rows(rows) * (values - values[0])[:, None]).sum(0).reshape(6, SIZE, SIZE)
        expected = climb(
            clean, lambda at, direction=direction: pull_back(net, at, {"blocks.0": direction}), steps=2, **sizes
        )[-1]
        assert np.array_equal(found[row], np.rint(expected * 255))
        assert cross_entropy(look(net, found[row] / 255).logits, target) < cross_entropy(
            look(net, clean).logits, target
        )
