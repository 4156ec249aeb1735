"""An audit agrees with attacks made and counted one by one; run again, it does only what is missing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from fitted_networks import KINDS, fitted, patterned, write_patterned
from PIL import Image
from scipy.stats import binomtest
from small_audits import SETTINGS

import linbp
from linbp.audit.audit_suite import read_audit_suite
from linbp.audit.controls import noisy, resized
from linbp.audit.prepare import AuditPlan
from linbp.audit.resolve import read_audit
from linbp.audit.result import Audit
from linbp.audit.run_audit import run_audit
from linbp.bench.table import read_results
from linbp.errors import LinbpError, ModelError, StoreError
from linbp.evaluation.statistics import Rate

Made = tuple[Audit, list[AuditPlan]]
IDS = [f"i{number:03}" for number in range(40)]


@pytest.fixture(scope="module")
def audit(made_audit: Made) -> Audit:
    return made_audit[0]


@pytest.fixture(scope="module")
def photos(audit: Audit) -> Path:
    return Path(audit.out).parent / "photos" / "images.csv"


def same(found: Rate, successes: int, n: int) -> None:
    """A rate with its counts and Wilson's bounds, as statsmodels and scipy have them."""
    assert (found.successes, found.n) == (successes, n)
    bounds = binomtest(successes, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))


def by_hand(eps: str) -> tuple[list[np.ndarray], np.ndarray]:
    """For each attack at a radius, which images the network 1 has wrong; and which it has right when they are clean."""
    images, labels = patterned(40)
    victim = fitted(1)
    found = []
    for surrogate in (fitted(0), fitted(2)):
        for recipe in read_audit_suite("exposure-own-1").recipes.values():
            adv = linbp.craft(surrogate, images, labels, recipe, eps=eps, steps=8, ids=IDS, batch_size=16)
            found.append((victim.logits(adv).argmax(1) != labels).numpy())
    return found, (victim.logits(images / 255).argmax(1) == labels).numpy()


def test_the_exposure_is_the_worst_case_of_the_attacks_made_by_hand(audit: Audit) -> None:
    assert [one.eps_text for one in audit.radii] == ["8/255", "16/255"]
    for one in audit.radii:
        wrong, right = by_hand(one.eps_text)
        assert right.sum() < 40  # so that it matters which images are counted
        same(one.worst, int((np.any(wrong, axis=0) & right).sum()), int(right.sum()))
        rates = sorted(int((each & right).sum()) for each in wrong)
        assert sorted(attack.rate.successes for attack in one.attacks) == rates
        same(one.best.rate, rates[-1], int(right.sum()))
        assert audit.exposure[int(one.eps_text.split("/")[0]) / 255] == one.worst
    same(audit.victim.clean, int(right.sum()), 40)


def test_noise_is_counted_as_it_is_by_hand(audit: Audit) -> None:
    images, labels = patterned(40)
    victim = fitted(1)
    right = victim.logits(images / 255).argmax(1) == labels
    for one in audit.radii:
        made = np.stack(
            [noisy(image.permute(1, 2, 0).numpy(), one.eps, name, 0) for image, name in zip(images, IDS, strict=True)]
        )
        gap = made.astype(int) - images.permute(0, 2, 3, 1).numpy()
        assert set(np.unique(np.abs(gap))) == {round(255 * one.eps)}  # no pixel of these is near black or white
        assert abs(float(np.sign(gap).mean())) < 0.02
        wrong = victim.logits(torch.from_numpy(made).permute(0, 3, 1, 2) / 255).argmax(1) != labels
        assert one.noise is not None
        same(one.noise, int((wrong & right).sum()), int(right.sum()))


def test_changed_images_are_those_on_disk_after_the_change(audit: Audit) -> None:
    images, labels = patterned(40)
    victim = fitted(1)
    right = (victim.logits(images / 255).argmax(1) == labels).numpy()
    folder = Path(audit.out) / "attacks" / audit.headline.best.attack
    adv = [np.asarray(Image.open(folder / f"{name}.png")) for name in IDS]
    changes = {
        "jpeg-90": lambda pixels: saved(pixels, 90),
        "jpeg-75": lambda pixels: saved(pixels, 75),
        "resized": resized,
    }
    assert [one.control for one in audit.changed] == list(changes)
    for one in audit.changed:
        sides = []
        for pixels in (adv, [image.permute(1, 2, 0).numpy() for image in images]):
            after = np.stack([changes[one.control](each) for each in pixels])
            sides.append((victim.logits(torch.from_numpy(after).permute(0, 3, 1, 2) / 255).argmax(1) != labels).numpy())
        same(one.rate, int((sides[0] & right).sum()), int(right.sum()))
        same(one.clean, int((sides[1] & right).sum()), int(right.sum()))
        before = (victim.logits(torch.from_numpy(np.stack(adv)).permute(0, 3, 1, 2) / 255).argmax(1) != labels).numpy()
        same(one.survival, int((before & right & sides[0]).sum()), int((before & right).sum()))


def saved(pixels: np.ndarray, quality: int) -> np.ndarray:
    """By way of a JPEG with colours at half resolution."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file).convert("RGB"))


def test_classes_add_up_and_examples_are_of_the_run(audit: Audit) -> None:
    assert sum(one.rate.n for one in audit.classes) == audit.headline.worst.n
    assert sum(one.rate.successes for one in audit.classes) == audit.headline.worst.successes
    assert {one.name for one in audit.classes} == {"red", "green", "blue", "grey"}
    assert [one.rate.low for one in audit.classes] == sorted((one.rate.low for one in audit.classes), reverse=True)
    assert len(audit.examples) == 6
    table = read_results(audit.out).to_pylist()
    for one in audit.examples:
        (row,) = [row for row in table if (row["attack"], row["image_id"]) == (one.attack, one.image_id)]
        assert row["success"] is one.fooled
        assert one.clean == one.label
        assert (one.adv == one.label) is not one.fooled


def test_what_was_announced_is_what_was_done(made_audit: Made) -> None:
    audit, (plan,) = made_audit
    assert (plan.images, plan.attacks, plan.eps, plan.classes) == (40, 6, ("8/255", "16/255"), KINDS)
    assert plan.surrogates == ("fitted0", "fitted2")
    assert not plan.resumed
    assert plan.queries == audit.queries.total == 40 * (12 + 1 + 2 + 6)
    assert audit.queries.attacks == 40 * 12


def test_it_is_read_back_as_it_was(audit: Audit) -> None:
    again = read_audit(audit.out)
    assert again.radii == audit.radii
    assert again.flags == audit.flags
    assert again.victim == audit.victim
    assert again.changed == audit.changed


def test_run_again_nothing_is_made_and_another_threshold_is_another_verdict(audit: Audit, photos: Path) -> None:
    run = Path(audit.out)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.png")} | {
        path: path.stat().st_mtime_ns for name in ("answers", "controls") for path in (run / name).iterdir()
    }
    plans: list[AuditPlan] = []
    changed = {**SETTINGS, "fail_above": ["0.9"], "strict": True}
    again = run_audit(fitted(1), photos, audit.out, surrogates=[fitted(0), fitted(2)], announce=plans.append, **changed)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert plans[0].resumed
    assert again.radii == audit.radii
    assert [one.threshold for one in again.verdicts] == [0.9, None]
    run_audit(fitted(1), photos, audit.out, surrogates=[fitted(0), fitted(2)], **SETTINGS)


def test_the_verdict_is_about_the_thresholds(audit: Audit) -> None:
    first, second = audit.verdicts
    assert (first.threshold, second.threshold, audit.decisive) == (0.2, None, "8/255")
    assert first.failed is (first.exposure.low > 0.2)
    assert audit.failed is first.failed


def test_a_victim_that_is_its_own_surrogate_is_counted_and_flagged(photos: Path, tmp_path: Path) -> None:
    found = run_audit(
        fitted(1), photos, tmp_path / "run", surrogates=[fitted(1)], eps=["16/255"], budget=15, trust_victim=True
    )
    assert found.headline.worst.value is not None
    assert found.headline.worst.value > 0.9
    assert all(one.white_box and one.gradients <= 5 for one in found.headline.attacks)
    assert {"white-box", "saturated"} <= {flag.kind for flag in found.flags}


class Stops:
    """A service that answers so many images and no more."""

    name, dtype, class_names = "service", torch.float64, ("red", "green", "blue", "grey")

    def __init__(self, after: int) -> None:
        self.left = after

    def identity(self) -> dict[str, str]:
        return {"name": self.name}

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        self.left -= len(images)
        if self.left < 0:
            raise ConnectionError("the service is gone")
        return fitted(1).logits(images)


def test_of_a_victim_that_stops_answering_what_there_is_is_reported_and_the_rest_made_up(
    audit: Audit, photos: Path, tmp_path: Path
) -> None:
    from linbp.audit.run_audit import Incomplete

    options = {"surrogates": [fitted(0), fitted(2)], **SETTINGS}
    with pytest.raises(ModelError, match="the service is gone"):
        run_audit(Stops(60), photos, tmp_path / "run", **options)  # before anything was finished
    with pytest.raises(Incomplete) as caught:
        run_audit(Stops(36 + 4 * 40 + 20), photos, tmp_path / "run", **options)
    partial = caught.value.audit
    assert "the service is gone" in caught.value.fault.message
    assert not partial.complete
    assert partial.flags[0].kind == "incomplete"
    assert {one.eps_text for one in partial.radii} <= {"8/255", "16/255"}  # tasks are done in any order
    full = {attack.attack: attack.rate for one in audit.radii for attack in one.attacks}
    asked = {attack.attack: attack.rate for one in partial.radii for attack in one.attacks}
    assert 1 <= len(asked) < len(full)
    assert all(full[name] == rate for name, rate in asked.items())
    whole = run_audit(Stops(10_000), photos, tmp_path / "run", **options)
    assert whole.complete
    assert [one.worst for one in whole.radii] == [one.worst for one in audit.radii]
    assert whole.changed == audit.changed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surrogates": ()}, ("4 classes",)),
        ({"suite": "exposure-imagenet-1"}, ("1000 classes",)),
        ({"suite": "exposure-imagnet"}, ("exposure-imagenet-1",)),
        ({"suite": "exposure-own-1", "surrogates": ()}, ("--surrogate",)),
        ({"eps": []}, ("radius",)),
        ({"budget": 1}, ("--budget",)),
        ({"data": "nowhere"}, ("nowhere",)),
        ({"baseline": "nowhere"}, ("nowhere",)),
    ],
)
def test_bad_input_is_told_in_a_line_and_writes_nothing(
    photos: Path, tmp_path: Path, change: dict[str, object], words: tuple[str, ...]
) -> None:
    options: dict[str, object] = {"surrogates": [fitted(0)], "data": photos, "eps": ["8/255"], **change}
    if "suite" in change:
        options.setdefault("surrogates", ())
        if change["suite"] == "exposure-imagenet-1":
            options["surrogates"] = ()
    with pytest.raises(LinbpError) as caught:
        run_audit(fitted(1), options.pop("data"), tmp_path / "run", **options)  # type: ignore[arg-type]
    told = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in told
    assert not (tmp_path / "run").exists()


def test_labels_that_do_not_fit_are_told_before_anything_is_attacked(tmp_path: Path) -> None:
    wrong = write_patterned(tmp_path / "shifted", 40, shift=1)
    with pytest.raises(LinbpError) as caught:
        run_audit(fitted(1), wrong, tmp_path / "run", surrogates=[fitted(0)], trust_victim=True)
    assert "order" in caught.value.message
    with pytest.raises(ModelError, match="none of the 40"):
        run_audit(Blind(), wrong, tmp_path / "blind", surrogates=[fitted(0)], trust_labels=True)
    assert not list((tmp_path / "blind").rglob("attacks"))


class Blind(Stops):
    """Never right: what it sees is the kind after the one that the label names."""

    def __init__(self) -> None:
        super().__init__(10_000)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        return super().logits(images).roll(3, dims=1)


def test_another_runs_folder_is_refused(audit: Audit, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letter.txt").write_text("mine")
    with pytest.raises(StoreError):
        run_audit(fitted(1), photos, tmp_path / "run", surrogates=[fitted(0)])
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letter.txt"]


def test_networks_that_are_objects_stay_in_their_process(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(LinbpError, match="objects of this process"):
        run_audit(fitted(1), photos, tmp_path / "run", surrogates=[fitted(0)], eps=["8/255"], workers=2)


def test_the_package_is_a_function_that_writes_the_report_too(photos: Path, tmp_path: Path) -> None:
    made = linbp.audit(fitted(1), photos, out=tmp_path / "run", surrogates=[fitted(0)], eps=["8/255"], budget=6)
    assert made.exposure[8 / 255].n == 35
    for name in ("report.html", "summary.md", "results.json", "junit.xml"):
        assert (tmp_path / "run" / name).stat().st_size > 500
    with pytest.raises(ModelError, match="the service is gone"):
        linbp.audit(
            Stops(1 + 32 + 40 + 36 + 40 + 20),
            photos,
            out=tmp_path / "partial",
            surrogates=[fitted(0)],
            eps=["8/255"],
            budget=6,
        )
    assert "incomplete" in (tmp_path / "partial" / "results.json").read_text()
