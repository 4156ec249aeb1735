"""LGV: a plain loop's weights, at the right steps; a job that goes on; and an attack on what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from eager_networks import eager, images_and_labels, model, write_photos
from torch import nn
from torch.nn import functional

import linbp
from linbp.data.image_list import list_images
from linbp.errors import ModelError, RecipeError, StoreError
from linbp.models.refined import Refined
from linbp.randomness import generator
from linbp.training.lgv import HighRate, refine_lgv

COUNT, HELD = 20, 2
SETTINGS = HighRate(epochs=2, snapshots=2, batch_size=4, learning_rate=0.1, weight_decay=0.01, augment=())
"""18 images: five steps an epoch, the last of two images. Weights are kept after steps 2, 5, 7 and 10."""
MARKS = [2, 5, 7, 10]


class Killed(BaseException):
    """What no code catches."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos"), COUNT)


def job(photos: Path, out: Path, **options: Any) -> Any:
    settings = options.pop("settings", SETTINGS)
    given = options.pop("model", None) or model(torch.float64)
    return refine_lgv(given, list_images(photos), out, settings=settings, trust_labels=True, **options)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("jobs") / "lgv"
    job(photos, out)
    return out


def ids_of(photos: Path) -> list[str]:
    return [record.image_id for record in list_images(photos)]


def by_hand(ids: list[str], seed: int) -> dict[int, nn.Module]:
    """The plain loop: nothing of linbp in it but where the random numbers come from."""
    images, labels = images_and_labels(COUNT)
    inputs = (images.double() / 255 - 0.4) / 0.3
    held = sorted(range(COUNT), key=lambda row: generator(seed, ids[row], 0, "linearize.validation").random())[:HELD]
    rest = [row for row in range(COUNT) if row not in held]
    module = eager().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    kept, step = {}, 0
    for epoch in range(2):
        order = sorted(rest, key=lambda row: generator(seed, ids[row], epoch, "linearize.order").random())
        for start in range(0, len(order), 4):
            rows = order[start : start + 4]
            torch.manual_seed(int(generator(seed, "", step, "linearize.network").integers(2**63)))
            optimizer.zero_grad()
            functional.cross_entropy(module(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            step += 1
            if step in MARKS:
                copy = eager()
                copy.load_state_dict(module.state_dict())
                kept[step] = copy.eval()
    return kept


def test_the_weights_are_those_of_a_plain_loop_at_equal_distances(photos: Path, whole: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    snapshots = manifest["result"]["snapshots"]
    assert [one["step"] for one in snapshots] == MARKS
    with torch.random.fork_rng():
        expected = by_hand(ids_of(photos), SETTINGS.seed)
    images = images_and_labels(6, seed=4)[0].double() / 255
    for one in snapshots:
        found = linbp.load_model(whole / one["file"])
        with torch.no_grad():
            logits = expected[one["step"]]((images - 0.4) / 0.3)
        assert torch.allclose(found.logits(images), logits, rtol=1e-9, atol=1e-10)
    assert set(manifest["accuracy"]) == {"before", "refined"}
    assert len(manifest["history"]) == 2


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
        found = [one["weights_sha256"] for one in report.manifest["result"]["snapshots"]]
        assert found == [one["weights_sha256"] for one in expected["snapshots"]]
        names = [f"snapshot-{number}.{ending}" for number in range(1, 5) for ending in ("json", "pt2")]
        assert sorted(path.name for path in out.iterdir()) == [".lock", "manifest.json", *names]
    assert job(photos, out).already_finished
    (out / "snapshot-3.pt2").unlink()
    with pytest.raises(ModelError, match=r"lacks snapshot-3\.pt2"):
        linbp.load_model(out)
    assert not job(photos, out).already_finished
    with pytest.raises(StoreError, match="learning_rate"):
        job(photos, out, settings=HighRate(**{**vars(SETTINGS), "learning_rate": 0.2}))


def surrogate_of(folder: Path) -> Refined:
    found = linbp.load_model(folder)
    assert isinstance(found, Refined)
    return found


def turns(seed: int, count: int) -> list[int]:
    return [int(turn) for turn in generator(seed, "", 0, "turns 0").permutation(count)]


@pytest.mark.parametrize(
    ("recipe", "rule"), [("ifgsm", None), ("leaky-linbp + mi", linbp.LinBP(start=0, rebalance=None, leak=0.1))]
)
def test_an_attack_takes_turns_that_are_the_same_for_all_images(whole: Path, recipe: str, rule: Any) -> None:
    """Neither the order nor anything else depends on an image's companions."""
    images, labels = images_and_labels(5, seed=4)
    refined = surrogate_of(whole)
    assert refined.turns == 4
    options: dict[str, Any] = {"eps": 16 / 255, "steps": 6, "step_size": 2 / 255, "seed": 3}
    found = linbp.craft(refined, images, labels, recipe, **options)
    order = turns(3, 4)
    assert sorted(order) == [0, 1, 2, 3]
    members = [linbp.Surrogate(refined.of_turn(turn), rule) for turn in order]
    clean = images.double() / 255
    here, total = clean.clone(), torch.zeros_like(clean)
    for step in range(6):
        gradient = members[step % 4].gradient(here, labels)
        if "mi" in recipe.split(" + "):
            total = total + gradient / gradient.abs().sum((1, 2, 3), keepdim=True)
            gradient = total
        here = (here + 2 / 255 * gradient.sign()).clamp(clean - 16 / 255, clean + 16 / 255).clamp(0, 1)
    assert torch.equal((found * 255).round(), (here * 255).round())
    parts = [
        linbp.craft(refined, images[at : at + 1], labels[at : at + 1], recipe, ids=[str(at)], **options)
        for at in range(5)
    ]
    assert torch.equal(torch.cat(parts), found)


@pytest.mark.parametrize(
    "recipe", ["fia(at=conv1, samples=2) + mi", "tap(at=conv2)", "ilpd(at=norm) + di(scale=1.5)", "ila(at=conv1)"]
)
def test_every_kind_of_part_works_on_it(whole: Path, recipe: str) -> None:
    images, labels = images_and_labels(4, seed=4)
    options: dict[str, Any] = {"eps": 16 / 255, "steps": 5, "seed": 3}
    refined = surrogate_of(whole)
    found = linbp.craft(refined, images, labels, recipe, **options)
    first = linbp.craft(linbp.load_model(refined.programs[0][0]), images, labels, recipe, **options)
    assert not torch.equal(found, first)
    assert torch.equal(found, linbp.craft(refined, images, labels, recipe, batch_size=3, **options))


def test_turns_of_the_same_weights_are_the_plain_attack(whole: Path, tmp_path: Path) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    first = manifest["result"]["snapshots"][0]
    manifest["result"]["snapshots"] = [first] * 3
    for name in ("snapshot-1.pt2", "snapshot-1.json"):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    images, labels = images_and_labels(4, seed=4)
    made = [
        linbp.craft(linbp.load_model(path), images, labels, "di(scale=1.5) + mi", eps=16 / 255, steps=5)
        for path in (tmp_path, tmp_path / "snapshot-1.pt2")
    ]
    assert torch.equal(*made)


def test_it_is_no_victim_and_says_what_it_is(whole: Path) -> None:
    images, labels = images_and_labels(4, seed=4)
    refined = surrogate_of(whole)
    with pytest.raises(ModelError, match=r"4 networks"):
        linbp.evaluate(str(whole), images, images, labels)
    identity = refined.identity()
    assert (identity["refined"], identity["snapshots"], identity["name"]) == ("lgv", 4, "lgv")
    assert len(identity["snapshots_sha256"]) == 64


def test_a_file_that_was_exchanged_is_refused(whole: Path, tmp_path: Path) -> None:
    for path in whole.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "snapshot-2.pt2").write_bytes((whole / "snapshot-3.pt2").read_bytes())
    with pytest.raises(ModelError, match=r"snapshot-2\.pt2 is another file"):
        surrogate_of(tmp_path).of_turn(1)


@pytest.mark.parametrize("content", [None, "{", '{"format": "craft 1"}'])
def test_other_folders_are_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match="is a folder"):
        linbp.load_model(tmp_path)


@pytest.mark.parametrize(
    "given", [{"epochs": 0}, {"snapshots": 0}, {"learning_rate": 0}, {"batch_size": 0}, {"augment": ("turn",)}]
)
def test_settings_out_of_range_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        HighRate(**given)


def test_an_epoch_with_fewer_steps_than_weights_to_keep_is_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="epoch of 5 steps"):
        job(photos, tmp_path / "out", settings=HighRate(**{**vars(SETTINGS), "snapshots": 6}))
    assert HighRate(snapshots=3, epochs=2).marks(10) == [3, 6, 10, 13, 16, 20]


def test_networks_that_are_not_kept_are_read_again(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = images_and_labels(3, seed=4)
    options: dict[str, Any] = {"eps": 16 / 255, "steps": 9, "seed": 3}
    kept = linbp.craft(surrogate_of(whole), images, labels, "mi", **options)
    monkeypatch.setattr("linbp.graph.turns.KEPT", 0)
    surrogate = linbp.Surrogate(surrogate_of(whole))
    assert torch.equal(linbp.craft(surrogate, images, labels, "mi", **options), kept)
    assert surrogate.of_turn(2) is surrogate.of_turn(2)
    assert surrogate.of_turn(1) is not surrogate.of_turn(2)
    assert list(surrogate._turns) == [2]


def test_a_turn_is_captured_once_whatever_the_rule(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    plain = Refined.of_turn
    monkeypatch.setattr(Refined, "of_turn", lambda self, number: asked.append(number) or plain(self, number))
    surrogate = linbp.Surrogate(surrogate_of(whole))
    images, labels = images_and_labels(3, seed=4)
    for recipe in ("ifgsm", "leaky-linbp + mi", "linbp(start=2)"):
        linbp.craft(surrogate, images, labels, recipe, eps=16 / 255, steps=5)
    assert sorted(asked) == [1, 2, 3]


@pytest.mark.parametrize("fuse", ["logits", "losses"])
def test_it_stands_beside_other_surrogates(whole: Path, fuse: Any) -> None:
    images, labels = images_and_labels(3, seed=4)
    options: dict[str, Any] = {"eps": 16 / 255, "steps": 4, "seed": 3}
    members = [surrogate_of(whole), model(torch.float64)]
    found = linbp.craft(linbp.Ensemble(members, fuse=fuse), images, labels, "mi", **options)
    still = [linbp.load_model(whole / "snapshot-1.pt2"), model(torch.float64)]
    assert not torch.equal(found, linbp.craft(linbp.Ensemble(still, fuse=fuse), images, labels, "mi", **options))
