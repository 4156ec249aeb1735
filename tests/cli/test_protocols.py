"""Protocols and target rules as a user types them; preparation and views are computed again with torchvision."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import Run, two_lines
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode

import linbp as library
from linbp.attack.published_protocols import PROTOCOLS
from linbp.data.images import Pixels, pixel_sha256, read_image, write_png
from linbp.errors import ModelError
from linbp.evaluation import evaluate_folder

NETWORKS = """
import torch
from torch import nn
import linbp


def network(seed, size, classes=5, interpolation="bilinear"):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        features = [nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4)]
        module = nn.Sequential(*features, nn.Flatten(), nn.Linear(96, classes))
    return linbp.Model(module, input_size=(3, *size), interpolation=interpolation, name=f"tiny{seed}")


class Fine(nn.Module):
    # Its class hangs on every pixel, so that another resizing gives another one as soon as not.

    def __init__(self, seed, side):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        weight = torch.randint(0, 2, (3, side, side), generator=draw, dtype=torch.float64) * 2 - 1
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return -(torch.remainder((x * self.weight).sum((1, 2, 3))[:, None] * 10, 5) - torch.arange(5)).abs()


def fine(seed, side, interpolation):
    return linbp.Model(Fine(seed, side), input_size=(3, side, side), interpolation=interpolation, name=f"fine{seed}")


def white(): return fine(0, 20, "bicubic")
def first(): return fine(1, 30, "bilinear")
def second(): return fine(2, 24, "bicubic")
def net(): return network(0, (24, 24))
def bicubic(): return network(0, (20, 20), interpolation="bicubic")
def victim(): return network(1, (30, 30))
def other(): return network(2, (24, 24), interpolation="bicubic")
def crops(): return linbp.Model(network(0, (24, 24)).module, input_size=24, resize=27, name="crops")
def ten(): return network(3, (32, 32), classes=10)


class Sizeless:
    name = "sizeless"

    def logits(self, images):
        weight = torch.arange(images.shape[-1]) % 7 - 3.0
        sums = (images * weight).mean((2, 3))
        return torch.cat([sums, -sums], dim=1)[:, :5]

    def identity(self):
        return {"name": self.name}
"""
SIZES = [(40, 30), (35, 50), (64, 64), (29, 43)]


def photograph(number: int) -> Pixels:
    """A coarse pattern, so that resizing leaves something to classify."""
    height, width = SIZES[number % len(SIZES)]
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Runs the command line in a folder with networks and eight photographs of four sizes."""
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    lines = ["file,label,target"]
    Path("photos").mkdir()
    for number in range(8):
        write_png(f"photos/i{number}.png", photograph(number))
        lines.append(f"i{number}.png,{number % 5},{(number + 2) % 5}")
    Path("photos/images.csv").write_text("\n".join(lines) + "\n")
    return run


def craft(*options: str, surrogate: str = "net", recipe: str = "ifgsm", out: str = "out") -> tuple[str, ...]:
    return (
        "craft", "--surrogate", f"file:networks.py:{surrogate}", "--recipe", recipe, "--data", "photos",
        "--out", out, "--labels", "predicted", *options,
    )  # fmt: skip


def load(name: str) -> library.Model:
    return library.load_model(f"file:networks.py:{name}")  # type: ignore[return-value]


def records(out: str = "out") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(out, "records.jsonl").read_text().splitlines()]


def settings(out: str = "out") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(out, "manifest.json").read_text())["settings"]
    return found


PREPARED = {
    "linbp-2020-imagenet": [transforms.Resize((256, 256)), transforms.CenterCrop(224)],
    "ta-bench-2023": [transforms.Resize(20, InterpolationMode.BICUBIC), transforms.CenterCrop(20)],
    "transferattack": [transforms.Resize((224, 224), InterpolationMode.BICUBIC)],
}


def by_hand(protocol: str, number: int) -> Pixels:
    return np.array(transforms.Compose(PREPARED[protocol])(Image.fromarray(photograph(number))))


@pytest.mark.parametrize(
    ("protocol", "values", "levels"),
    [
        pytest.param(
            "linbp-2020-imagenet", (0.03, 300, 1 / 255, "nearest"), 8, marks=[pytest.mark.slow, pytest.mark.exhaustive]
        ),
        ("ta-bench-2023", (8 / 255, 100, 1 / 255, "nearest"), 8),
        ("transferattack", (16 / 255, 10, 1.6 / 255, "truncate"), 16),
    ],
)
def test_photographs_are_prepared_and_attacked_as_published(
    linbp: Run, protocol: str, values: tuple[float, int, float, str], levels: int
) -> None:
    answer = linbp(*craft("--protocol", protocol, surrogate="bicubic"))
    assert answer.status == 0, answer.err
    assert f"Protocol {protocol}" in answer.text
    found = settings()
    assert (found["eps"], found["steps"], found["step_size"], found["rounding"]) == pytest.approx(values)
    assert (found["protocol"], found["norm"]) == (protocol, "linf")
    for number, record in enumerate(records()):
        clean, adv_image = by_hand(protocol, number), read_image(f"out/i{number}.png")
        assert record["clean_sha256"] == pixel_sha256(clean)
        assert adv_image.shape == clean.shape
        change = adv_image.astype(int) - clean
        assert np.abs(change).max() == levels == record["linf"]
        unit = torch.from_numpy(clean.transpose(2, 0, 1)[None]).float() / 255
        assert record["prediction_clean"] == int(load("bicubic").logits(unit).argmax())
    assert "0 made now, 8 kept" in linbp(*craft("--protocol", protocol, surrogate="bicubic")).text
    manifest = json.loads(Path("out/manifest.json").read_text())["protocol"]
    assert manifest == json.loads(json.dumps(PROTOCOLS[protocol].to_dict()))


VIEWS: dict[str, dict[str, list[Any]]] = {
    "linbp-2020-imagenet": {
        "first": [
            transforms.Resize((256, 256), antialias=False),
            transforms.CenterCrop(224),
            transforms.Resize((30, 30), InterpolationMode.NEAREST),
        ],
        "second": [
            transforms.Resize((256, 256), antialias=False),
            transforms.CenterCrop(224),
            transforms.Resize((24, 24), InterpolationMode.NEAREST),
        ],
        "white": [],
    },
    "ta-bench-2023": {  # floor(30 / 0.875) = 34, floor(24 / 0.875) = 27, floor(20 / 0.875) = 22
        "first": [transforms.Resize(34, antialias=False), transforms.CenterCrop(30)],
        "second": [transforms.Resize(27, InterpolationMode.BICUBIC, antialias=False), transforms.CenterCrop(24)],
        "white": [transforms.Resize(22, InterpolationMode.BICUBIC, antialias=False), transforms.CenterCrop(20)],
    },
    "transferattack": {
        "first": [transforms.Resize((30, 30), antialias=False)],
        "second": [transforms.Resize((24, 24), antialias=False)],
        "white": [transforms.Resize((20, 20), antialias=False)],
    },
}


def predictions(protocol: str, name: str, own: bool) -> list[tuple[int, int]]:
    """The classes that a victim gives clean image and adversarial image, preprocessed with torchvision."""
    view = transforms.Compose([] if own else VIEWS[protocol][name])
    found = []
    for number in range(8):
        pair = (by_hand(protocol, number), read_image(f"out/i{number}.png"))
        units = [view(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).double() / 255) for pixels in pair]
        clean, adv_image = (int(load(name).logits(unit).argmax()) for unit in units)
        found.append((clean, adv_image))
    return found


@pytest.mark.exhaustive
@pytest.mark.parametrize("protocol", list(VIEWS))
def test_victims_see_what_the_released_test_shows_them(linbp: Run, protocol: str) -> None:
    assert linbp(*craft("--protocol", protocol, surrogate="white", recipe="fgsm")).status == 0
    victims = [word for name in VIEWS[protocol] for word in ("--victim", f"file:networks.py:{name}")]
    # Networks that would say the same of any view would show nothing.
    assert all(predictions(protocol, name, False) != predictions(protocol, name, True) for name in ("first", "second"))
    for own in (False, True):
        options = ("--victim-input", "own") if own else ()
        answer = linbp("evaluate", "out", *victims, *options, "--json", "--csv", "records.csv")
        assert answer.status == 0, answer.err
        with Path("records.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        result = answer.facts
        assert result["victim_input"] == ("own" if own else "protocol")
        for at, name in enumerate(VIEWS[protocol]):
            seen = [(int(row["clean_prediction"]), int(row["adv_prediction"])) for row in rows[8 * at : 8 * at + 8]]
            assert seen == predictions(protocol, name, own), name
            shown = result["victims"][at]["preprocessing"]
            assert shown.startswith("white box: ") is (name == "white" and not own)
            assert (shown == "its own resizing") is own
            if name == "first" and not own:
                assert "[30 x 30, bilinear, crop fraction 0.875]" in shown
    for options in ((), ("--victim-input", "own")):
        text = linbp("evaluate", "out", *victims, *options).text
        assert f"Protocol {protocol}" in text
        assert "--victim-input own" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--protocol", "linbp-2020-imagent"), ("'linbp-2020-imagent'", "'linbp-2020-imagenet'")),
        (("--eps", "8/255"), ("eps 0.0313725", "linbp-2020-imagenet", "eps 0.03 or 0.05 or 0.1")),
        (("--steps", "50"), ("steps 50", "linbp-2020-imagenet", "steps 300")),
        (("--step-size", "2/255"), ("step-size 0.00784314", "step-size 1/255")),
        (("--norm", "l2"), ("norm l2", "norm linf")),
        (("--rounding", "inward"), ("rounding inward", "rounding nearest")),
        (("--target-rule", "shift:1"), ("Target-rule shift:1", "target-rule shift:500")),
        (("--target-rule", "random"), ("Target-rule random", "target-rule shift:500")),
        (("--targets", "target"), ("Targets from a column", "target-rule shift:500")),
        (("--targets", "target", "--target-rule", "shift:500"), ("--targets target", "--target-rule shift:500")),
        (("--target-rule", "shift"), ("'shift'", "shift:K")),
        (("--target-rule", "shift:500"), ("shift:500 on 5 classes", "its own label")),
    ],
)
def test_what_contradicts_the_protocol_is_an_error_and_leaves_nothing(
    linbp: Run, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    named = () if "--protocol" in options else ("--protocol", "linbp-2020-imagenet")
    two_lines(linbp(*craft(*named, *options)), *words)
    assert not Path("out").exists()


def test_the_protocols_values_may_be_given(linbp: Run) -> None:
    Path("few.csv").write_text("file,label\nphotos/i0.png,0\n")
    few, named = ("--data", "few.csv"), ("--protocol", "linbp-2020-imagenet")
    options = ("--eps", "0.05", "--steps", "300", "--step-size", "1/255", "--norm", "linf", "--rounding", "nearest")
    answer = linbp(*craft(*named, *options, *few))
    assert answer.status == 0, answer.err
    assert settings()["eps"] == 0.05
    two_lines(linbp(*craft(*named, *few)), "eps: 0.05 -> 0.03")
    two_lines(linbp(*craft("--eps", "0.05", "--rounding", "nearest", *few)), "protocol: linbp-2020-imagenet -> null")


def test_a_single_step_is_one_of_the_whole_radius_in_a_protocol_too(linbp: Run) -> None:
    answer = linbp(*craft("--protocol", "transferattack", recipe="fgsm"))
    assert answer.status == 0, answer.err
    assert (settings()["steps"], settings()["step_size"]) == (1, 16 / 255)
    two_lines(linbp(*craft("--protocol", "transferattack", "--steps", "10", recipe="fgsm", out="b")), "one step")


def test_cifar_takes_its_own_size_only(linbp: Run) -> None:
    two_lines(linbp(*craft("--protocol", "linbp-2020-cifar10", surrogate="ten")), "i0.png", "30 x 40", "32 x 32")
    for number in range(8):
        write_png(f"photos/i{number}.png", np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8))
    options = ("--protocol", "linbp-2020-cifar10", "--target-rule", "shift:1")
    assert linbp(*craft(*options, surrogate="ten")).status == 0
    for number, record in enumerate(records()):
        assert record["target"] == (record["label"] + 1) % 10
        assert record["clean_sha256"] == pixel_sha256(read_image(f"photos/i{number}.png"))
    two_lines(linbp(*craft("--protocol", "ta-bench-2023", *options[2:], out="b")), "ta-bench-2023", "targeted")
    two_lines(linbp(*craft("--protocol", "transferattack", *options[2:], out="b")), "--targets")
    targeted = linbp(*craft("--protocol", "transferattack", "--targets", "target", out="b"))
    assert targeted.status == 0, targeted.err
    assert settings("b")["targeted"] is True


@pytest.mark.parametrize("rule", ["shift:2", "shift:-1", "least-likely", "random"])
def test_target_rules(linbp: Run, rule: str) -> None:
    for out, options in (("out", ()), ("again", ("--batch-size", "1")), ("seed", ("--seed", "1"))):
        answer = linbp(*craft("--target-rule", rule, "--steps", "3", *options, out=out))
        assert answer.status == 0, answer.err
    found = [record["target"] for record in records()]
    assert (settings()["target_rule"], settings()["targeted"]) == (rule, True)
    assert found == [record["target"] for record in records("again")]
    assert (found == [record["target"] for record in records("seed")]) is (rule != "random")
    for record, target in zip(records(), found, strict=True):
        assert record["loss_adv"] < record["loss_clean"]  # to the target
        assert target != record["label"]
        if rule.startswith("shift"):
            assert target == (record["label"] + int(rule[6:])) % 5
        if rule == "least-likely":
            unit = torch.from_numpy(read_image(record["file"]).transpose(2, 0, 1)[None].copy()).float() / 255
            assert target == int(load("net").logits(unit).argmin())
    two_lines(linbp(*craft("--target-rule", "shift:3", "--steps", "3")), f"target_rule: {rule} -> shift:3")
    evaluated = linbp("evaluate", "out", "--victim", "file:networks.py:net", "--json").facts
    assert evaluated["victims"][0]["hit"]["n"] == 8


@pytest.mark.parametrize("targeted", [False, True])
def test_the_images_that_every_victim_knows(linbp: Run, targeted: bool) -> None:
    options = ("--target-rule", "shift:1") if targeted else ()
    linbp(*craft("--eps", "32/255", "--steps", "20", *options))
    victims = ("--victim", "file:networks.py:net", "--victim", "file:networks.py:other")
    result = linbp("evaluate", "out", *victims, "--select", "every-victim", "--json", "--csv", "a.csv").facts
    with Path("a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    known = [
        (first, second)
        for first, second in zip(rows[:8], rows[8:], strict=True)
        if all(row["clean_prediction"] == row["label"] for row in (first, second))
    ]
    assert 0 < len(known) < 8
    assert result["selection"]["images"] == len(known)
    assert result["selection"]["image_ids"] == [first["image_id"] for first, _ in known]
    for column, rate in enumerate(result["selection"]["success"]):
        won = "hit" if targeted else "fooled"
        assert (rate["successes"], rate["n"]) == (sum(pair[column][won] == "True" for pair in known), len(known))
    text = linbp("evaluate", "out", *victims, "--select", "every-victim").text
    assert f"{len(known)} images that every victim" in text
    assert "every victim" not in linbp("evaluate", "out", *victims).text
    assert linbp("evaluate", "out", *victims, "--json").facts["selection"] is None


def test_a_protocols_selection_is_the_default(linbp: Run) -> None:
    for protocol, selected in (("ta-bench-2023", True), ("transferattack", False)):
        linbp(*craft("--protocol", protocol, out=protocol))
        for options, wanted in (((), selected), (("--select", "none"), False), (("--select", "every-victim"), True)):
            result = linbp("evaluate", protocol, "--victim", "file:networks.py:net", *options, "--json").facts
            assert (result["selection"] is not None) is wanted


def test_bad_input_of_evaluate(linbp: Run) -> None:
    linbp(*craft("--protocol", "transferattack", "--eps", "16/255"))
    linbp(*craft("--steps", "2", out="plain"))
    victim = ("--victim", "file:networks.py:net")
    two_lines(linbp("evaluate", "plain", *victim, "--victim-input", "protocol"), "protocol", "--victim-input")
    pixels = read_image("photos/i2.png")
    pixels[0, 0] ^= 255
    write_png("photos/i2.png", pixels)
    two_lines(linbp("evaluate", "out", *victim), "i2.png", "pixels")


def test_a_network_that_crops_by_itself_is_not_cropped_twice(linbp: Run) -> None:
    refused = linbp(*craft("--protocol", "transferattack", surrogate="crops"))
    two_lines(refused, "crops by itself", "without its crop")
    linbp(*craft("--protocol", "ta-bench-2023"))
    victim = ("evaluate", "out", "--victim", "file:networks.py:crops")
    two_lines(linbp(*victim), "crops by itself", "--victim-input own")
    answer = linbp(*victim, "--victim-input", "own", "--json")
    (found,) = answer.facts["victims"]
    assert found["preprocessing"] == "its own: shorter side to 27, middle 24 x 24"


def test_a_network_that_does_not_tell_its_size(linbp: Run) -> None:
    scope: dict[str, Any] = {}
    exec(NETWORKS, scope)
    released = transforms.Compose([transforms.Resize((256, 256), antialias=False), transforms.CenterCrop(224)])
    for protocol, view in (("linbp-2020-imagenet", released), ("transferattack", transforms.Compose([]))):
        linbp(*craft("--protocol", protocol, recipe="fgsm", out=protocol))
        (found,) = evaluate_folder(protocol, [scope["Sizeless"]()]).evaluations
        assert found.preprocessing.endswith("its own resizing to a size unknown")
        for number, record in enumerate(found.records):
            adv_image = read_image(f"{protocol}/i{number}.png").transpose(2, 0, 1)[None].copy()
            seen = view(torch.from_numpy(adv_image).float() / 255)
            assert record.adv_prediction == int(scope["Sizeless"]().logits(seen).argmax())
    linbp(*craft("--protocol", "ta-bench-2023", recipe="fgsm"))
    with pytest.raises(ModelError, match="sizeless") as caught:
        evaluate_folder("out", [scope["Sizeless"]()])
    assert "--victim-input own" in caught.value.hint
    assert len(evaluate_folder("out", [scope["Sizeless"]()], victim_input="own").evaluations) == 1


def test_moved_photographs_are_prepared_too(linbp: Run) -> None:
    linbp(*craft("--protocol", "linbp-2020-imagenet", recipe="fgsm"))
    victim = ("evaluate", "out", "--victim", "file:networks.py:victim", "--json")
    before = linbp(*victim).facts["victims"]
    Path("photos").rename("elsewhere")
    two_lines(linbp(*victim[:4]), "does not exist")
    assert linbp(*victim, "--data", "elsewhere").facts["victims"] == before


def test_protocols_are_listed_and_shown(linbp: Run) -> None:
    listed = linbp("list", "protocols", "--json").facts["protocols"]
    assert [entry["name"] for entry in listed] == list(PROTOCOLS)
    text = linbp("list", "protocols").out
    for name, protocol in PROTOCOLS.items():
        assert name in text
        shown = linbp("show", name)
        assert shown.status == 0
        for words in (*protocol.eps, str(protocol.steps[0]), protocol.step_size, protocol.rounding, *protocol.sources):
            assert words in shown.out
        assert linbp("show", name, "--json").facts["steps"] == list(protocol.steps)
    two_lines(linbp("show", "transfer-attack"), "'transfer-attack'", "transferattack")


def test_a_turned_photograph_is_noted(linbp: Run) -> None:
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(photograph(0)).save("photos/i0.png", exif=exif)
    answer = linbp(*craft("--steps", "2"))
    assert "EXIF orientation of i0.png" in answer.text
    assert "EXIF" in json.loads(Path("out/manifest.json").read_text())["notes"][-1]
    assert records()[0]["clean_sha256"] == pixel_sha256(photograph(0))


def test_a_job_that_fails_before_its_first_image_leaves_nothing(linbp: Run) -> None:
    Path("empty").mkdir()
    for out in ("new/deep/out", "empty"):
        # Refused where the first batch is crafted: within the folder's lock.
        two_lines(linbp(*craft("--eps", "8", out=out)), "8/255")
    assert not Path("new").exists()
    assert list(Path("empty").iterdir()) == []
    Path("old").mkdir()
    Path("old/.lock").touch()  # what an earlier version left
    two_lines(linbp(*craft("--eps", "8", out="old")), "8/255")
    assert linbp(*craft("--steps", "2", out="old")).status == 0
