"""MBA: a plain loop's moments, a job that goes on, and an attack on what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from eager_networks import eager, images_and_labels, model, write_photos
from torch import nn
from torch.nn import functional

import linbp
from linbp.data.image_list import list_images
from linbp.errors import ModelError, RecipeError, StoreError
from linbp.models.sampled import Sampled, draw_weights
from linbp.randomness import generator
from linbp.training.fine_tuning.gradient_penalty import GradientPenalty
from linbp.training.mba import Bayesian, refine_mba
from linbp.training.mba.moments import Moments

COUNT, HELD = 20, 2
SETTINGS = Bayesian(
    epochs=2,
    snapshots=2,
    batch_size=4,
    learning_rate=0.02,
    weight_decay=0.01,
    augment=(),
    penalty=0.7,
    radius=0.05,
    samples=5,
    seed=2,
)
"""18 images: five steps an epoch, the last of two images. Weights are counted after steps 2, 5, 7 and 10."""
MARKS = [2, 5, 7, 10]


class Killed(BaseException):
    """What no code catches."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), COUNT)


def job(photos: Path, out: Path, **options: Any) -> Any:
    settings = options.pop("settings", SETTINGS)
    given = options.pop("model", None) or model(torch.float64)
    return refine_mba(given, list_images(photos), out, settings=settings, trust_labels=True, **options)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("jobs") / "mba"
    job(photos, out)
    return out


def sampled_of(folder: Path) -> Sampled:
    found = linbp.load_model(folder)
    assert isinstance(found, Sampled)
    return found


def order_of(ids: list[str], rows: list[int], epoch: int, what: str = "order") -> list[int]:
    return sorted(rows, key=lambda row: generator(SETTINGS.seed, ids[row], epoch, f"linearize.{what}").random())


def by_hand(photos: Path) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """The plain loop: the mean network and the deviations, with nothing of linbp in it but the random numbers."""
    images, labels = images_and_labels(COUNT)
    inputs = (images.double() / 255 - 0.4) / 0.3
    ids = [record.image_id for record in list_images(photos)]
    held = order_of(ids, list(range(COUNT)), 0, "validation")[:HELD]
    rest = [row for row in range(COUNT) if row not in held]
    module = eager().train()
    parameters = dict(module.named_parameters())
    velocity = {name: torch.zeros_like(value) for name, value in parameters.items()}
    versions: list[dict[str, torch.Tensor]] = []

    def gradient(rows: list[int], step: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(int(generator(SETTINGS.seed, "", step, "linearize.network").integers(2**63)))
        loss = functional.cross_entropy(module(inputs[rows]), labels[rows])
        found = torch.autograd.grad(loss, list(parameters.values()))
        return dict(zip(parameters, found, strict=True))

    def move(by: dict[str, torch.Tensor], times: float) -> None:
        with torch.no_grad():
            for name, value in parameters.items():
                value.add_(by[name], alpha=times)

    step = 0
    for epoch in range(2):
        order = order_of(ids, rest, epoch)
        for start in range(0, len(order), 4):
            rows = order[start : start + 4]
            first = gradient(rows, step)
            before = {name: value.detach().clone() for name, value in parameters.items()}
            length = float(sum((value**2).sum() for value in first.values())) ** 0.5
            move(first, 0.05 / length)
            second = gradient(rows, step)
            with torch.no_grad():
                for name, value in parameters.items():
                    value.copy_(before[name])
                    total = first[name] + 0.7 * (second[name] - first[name]) / 0.05 + 0.01 * value
                    velocity[name] = 0.9 * velocity[name] + total
            move(velocity, -0.02)
            step += 1
            if step in MARKS:
                versions.append({name: value.detach().clone() for name, value in parameters.items()})
    stacked = {name: torch.stack([one[name] for one in versions]) for name in parameters}
    with torch.no_grad():
        for name, value in parameters.items():
            value.copy_(stacked[name].mean(0))
        norms = [one for one in module.modules() if isinstance(one, nn.BatchNorm2d)]
        module.eval()
        for norm in norms:
            norm.momentum = None  # the mean over all batches
            norm.reset_running_stats()
            norm.train()
        order = order_of(ids, rest, 0)
        for start in range(0, len(order), 4):
            module(inputs[order[start : start + 4]])
    return module.eval(), {name: (value**2).mean(0) - value.mean(0) ** 2 for name, value in stacked.items()}


def test_mean_and_deviations_are_those_of_a_plain_loop(photos: Path, whole: Path) -> None:
    with torch.random.fork_rng():
        module, variances = by_hand(photos)
    images = images_and_labels(6, seed=4)[0].double() / 255
    with torch.no_grad():
        logits = module((images - 0.4) / 0.3)
    sampled = sampled_of(whole)
    assert torch.allclose(sampled.logits(images), logits, rtol=1e-8, atol=1e-9)
    assert set(sampled.deviations) == set(variances)
    for name, variance in variances.items():
        assert torch.allclose(sampled.deviations[name], variance.clamp(min=1e-30).sqrt(), rtol=1e-6, atol=1e-12)
    manifest = json.loads((whole / "manifest.json").read_text())
    assert set(manifest["accuracy"]) == {"before", "refined", "drawn"}
    assert manifest["result"]["versions"] == len(MARKS)
    alone = linbp.load_model(whole / "mean.pt2")
    assert torch.equal(alone.logits(images), sampled.logits(images))


def test_a_draw_is_the_mean_and_its_own_noise_in_module_and_graph(whole: Path) -> None:
    images = images_and_labels(3, seed=4)[0].double() / 255
    sampled, module = sampled_of(whole), eager()
    mean = linbp.load_model(whole / "mean.pt2")
    assert isinstance(mean, linbp.Model)
    kept = {name: value for name, value in mean.module.state_dict().items() if name in module.state_dict()}
    for number in (0, 3):
        module.load_state_dict(kept)
        with torch.no_grad():
            for name, value in module.named_parameters():
                noise = generator(SETTINGS.seed, name, number, "mba.weights").standard_normal(tuple(value.shape))
                value.add_(sampled.deviations[name] * torch.from_numpy(noise), alpha=1.5)
            expected = module((images - 0.4) / 0.3)
        drawn = sampled.of_turn(number)
        assert torch.allclose(drawn.logits(images), expected, rtol=1e-9, atol=1e-10)
        captured = linbp.Surrogate(sampled).of_turn(number)
        assert torch.allclose(captured.run(images), expected, rtol=1e-9, atol=1e-10)
        assert not torch.allclose(expected, sampled.logits(images), rtol=1e-3)


def test_drawn_weights_have_the_deviations_as_often_as_a_normal_distribution_has() -> None:
    mean, deviations = {"w": torch.full((400, 50), 3.0)}, {"w": torch.full((400, 50), 0.2)}
    drawn = draw_weights(mean, deviations, scale=1.5, seed=1, number=7)["w"].double()
    assert abs(float(drawn.mean()) - 3) < 0.01
    assert abs(float(drawn.std()) - 0.3) < 0.005
    assert abs(float(((drawn - 3).abs() < 0.3).double().mean()) - 0.6827) < 0.015
    other = draw_weights(mean, deviations, scale=1.5, seed=1, number=8)["w"].double()
    assert abs(float(((drawn - 3) * (other - 3)).mean())) < 0.002  # 0.09 where they were the same
    assert torch.equal(draw_weights(mean, deviations, scale=0, seed=1, number=7)["w"], mean["w"])


def test_moments_of_many_close_values_do_not_cancel() -> None:
    values = torch.randn(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-6 + 1e3
    moments = Moments({"w": values[0]})
    for value in values:
        moments.add({"w": value})
    assert torch.allclose(moments.deviations()["w"], values.std(0, correction=0), rtol=1e-9)
    assert float(Moments({"w": values[0]}).mean()["w"].sum()) == 0


def test_the_penalty_is_the_gradient_of_the_norm_on_a_quadratic() -> None:
    """|gradient| of w'Aw/2 is |Aw|, whose gradient is AAw / |Aw|; the second pass finds A Aw / |Aw| exactly."""
    matrix = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    weights = nn.Parameter(torch.tensor([0.4, -1.1], dtype=torch.float64))

    def loss() -> torch.Tensor:
        return weights @ matrix @ weights / 2

    before = weights.detach().clone()
    GradientPenalty(weight=0.3, radius=0.01).backward(loss(), loss, [weights])
    first = matrix @ before
    assert weights.grad is not None
    assert torch.allclose(weights.grad, first + 0.3 * matrix @ first / first.norm(), rtol=1e-10)
    assert torch.equal(weights, before)


@pytest.mark.slow
def test_a_job_killed_at_any_step_ends_with_the_same_files(photos: Path, whole: Path, tmp_path: Path) -> None:
    expected = json.loads((whole / "manifest.json").read_text())["result"]
    for step, kept in {0: 0, 3: 0, 5: 3, 8: 6}.items():

        def tell(stage: str, done: int, total: int, words: str, step: int = step) -> None:
            if (stage, done) == ("collecting weights", step):
                raise Killed

        out = tmp_path / f"killed at {step}"
        with pytest.raises(Killed):
            job(photos, out, progress=tell, checkpoint_every=3)
        with pytest.raises(ModelError, match="not finished"):
            linbp.load_model(out)
        report = job(photos, out, checkpoint_every=3)
        assert report.resumed_at == kept
        found = report.manifest["result"]
        assert found["files"][0]["weights_sha256"] == expected["files"][0]["weights_sha256"]
        assert found["files"][1]["file_sha256"] == expected["files"][1]["file_sha256"]
        names = ["deviations.safetensors", "manifest.json", "mean.json", "mean.pt2"]
        assert sorted(path.name for path in out.iterdir()) == [".lock", *names]
    assert job(photos, out).already_finished
    (out / "deviations.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks deviations\.safetensors"):
        linbp.load_model(out)
    assert not job(photos, out).already_finished
    with pytest.raises(StoreError, match="radius"):
        job(photos, out, settings=Bayesian(**{**vars(SETTINGS), "radius": 0.2}))


@pytest.mark.parametrize(
    ("recipe", "rule"), [("ifgsm", None), ("leaky-linbp + mi", linbp.LinBP(start=0, rebalance=None, leak=0.1))]
)
def test_an_attack_takes_another_draw_at_each_step_the_same_for_all_images(whole: Path, recipe: str, rule: Any) -> None:
    images, labels = images_and_labels(5, seed=4)
    sampled = sampled_of(whole)
    options: dict[str, Any] = {"eps": 16 / 255, "steps": 7, "step_size": 2 / 255, "seed": 3}
    found = linbp.craft(sampled, images, labels, recipe, **options)
    order = [int(turn) for turn in generator(3, "", 0, "turns 0").permutation(5)]
    members = [linbp.Surrogate(sampled.of_turn(turn), rule) for turn in order]
    clean = images.double() / 255
    here, total = clean.clone(), torch.zeros_like(clean)
    for step in range(7):
        gradient = members[step % 5].gradient(here, labels)
        if "mi" in recipe.split(" + "):
            total = total + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
            gradient = total
        here = (here + 2 / 255 * gradient.sign()).clamp(clean - 16 / 255, clean + 16 / 255).clamp(0, 1)
    assert torch.equal((found * 255).round(), (here * 255).round())
    parts = [
        linbp.craft(sampled, images[at : at + 1], labels[at : at + 1], recipe, ids=[str(at)], **options)
        for at in range(5)
    ]
    assert torch.equal(torch.cat(parts), found)


def test_without_deviations_the_attack_is_that_on_the_mean(photos: Path, tmp_path: Path) -> None:
    job(photos, tmp_path / "mba", settings=Bayesian(**{**vars(SETTINGS), "scale": 0, "samples": 2}))
    images, labels = images_and_labels(4, seed=4)
    made = [
        linbp.craft(linbp.load_model(path), images, labels, "di(scale=1.5) + mi", eps=16 / 255, steps=5)
        for path in (tmp_path / "mba", tmp_path / "mba" / "mean.pt2")
    ]
    assert torch.equal(*made)


def test_a_step_may_take_the_mean_of_several_draws(whole: Path) -> None:
    images, labels = images_and_labels(3, seed=4)
    sampled, step = sampled_of(whole), 2 / 255
    options: dict[str, Any] = {"eps": 16 / 255, "steps": 3, "step_size": step, "seed": 1}
    found = linbp.craft(sampled, images, labels, "turns(count=2)", **options)
    order = [int(turn) for turn in generator(1, "", 0, "turns 0").permutation(5)]
    here = clean = images.double() / 255
    for first in (0, 2, 4):
        members = [linbp.Surrogate(sampled.of_turn(order[turn % 5])) for turn in (first, first + 1)]
        total = members[0].gradient(here, labels) + members[1].gradient(here, labels)
        here = (here + step * total.sign()).clamp(clean - 16 / 255, clean + 16 / 255).clamp(0, 1)
    assert torch.equal((found * 255).round(), (here * 255).round())
    with pytest.raises(RecipeError, match="there is only one"):
        linbp.craft(linbp.load_model(whole / "mean.pt2"), images, labels, "turns(count=3)", **options)


def test_it_is_no_victim_and_says_what_it_is(whole: Path) -> None:
    images, labels = images_and_labels(4, seed=4)
    with pytest.raises(ModelError, match=r"5 networks"):
        linbp.evaluate(str(whole), images, images, labels)
    identity = sampled_of(whole).identity()
    assert (identity["refined"], identity["samples"], identity["scale"]) == ("mba", 5, 1.5)
    assert len(identity["deviations_sha256"]) == 64


@pytest.mark.parametrize("name", ["mean.pt2", "deviations.safetensors"])
def test_a_file_that_was_exchanged_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if name == "mean.pt2":
        drawn = sampled_of(whole).of_turn(1)
        assert drawn.program is not None
        torch.export.save(drawn.program, tmp_path / name)
    else:
        state = safetensors.torch.load_file(whole / name)
        safetensors.torch.save_file({key: 2 * value for key, value in state.items()}, tmp_path / name)
    with pytest.raises(ModelError, match="is another file"):
        linbp.load_model(tmp_path)


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 4)
        self.second.weight = self.first.weight

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = functional.avg_pool2d(images, 5).flatten(1)
        logits: torch.Tensor = self.head(torch.tanh(self.second(torch.relu(self.first(value)))))
        return logits


def test_a_weight_with_two_names_is_drawn_once(photos: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tied = Tied().double()
    given = linbp.Model(tied, input_size=10, mean=0.4, std=0.3, name="tied")
    job(photos, tmp_path / "mba", model=given)
    sampled = sampled_of(tmp_path / "mba")
    drawn = sampled.of_turn(1)
    assert drawn.program is not None
    for state in (drawn.program.state_dict, drawn.module.state_dict()):
        weights = [value for name, value in state.items() if name in ("first.weight", "second.weight")]
        assert weights
        assert all(torch.equal(weights[0], other) for other in weights)
    images = images_and_labels(3, seed=4)[0].double() / 255
    assert torch.allclose(linbp.Surrogate(drawn).run(images), drawn.logits(images), rtol=1e-10)


@pytest.mark.parametrize(
    "given", [{"penalty": -1}, {"radius": 0}, {"scale": -0.1}, {"samples": 1}, {"samples": 2.5}, {"epochs": 0}]
)
def test_settings_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        Bayesian(**given)
