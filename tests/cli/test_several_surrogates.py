"""`linbp craft` with several surrogates, each with a rule of its own, as a user types it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from command_line import Run, two_lines

import linbp as library
from linbp.attack.named_surrogates import split_rules
from linbp.data.images import read_image, write_png
from linbp.errors import RecipeError

NETWORKS = """
import torch
from torch import nn
import linbp


def network(name, seed, size, classes=6):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        module = nn.Sequential(*layers, nn.Linear(16, classes)).double()
    return linbp.Model(module, input_size=(3, size, size), name=name)


def a(): return network("a", 0, 8)
def b(): return network("b", 1, 10)
def c(): return network("c", 2, 9)
def few(): return network("few", 0, 8, classes=3)
"""
COUNT = 4
A, B, RULED = "file:networks.py:a", "file:networks.py:b", "file:networks.py:b with linbp(start=0, rebalance=none)"


@pytest.fixture
def linbp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Run:
    """Runs the command line in a folder with networks and labelled photographs."""
    monkeypatch.chdir(tmp_path)
    Path("networks.py").write_text(NETWORKS)
    Path("photos").mkdir()
    lines = ["file,label"]
    for number in range(COUNT):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        write_png(f"photos/i{number}.png", pixels)
        lines.append(f"i{number}.png,{number}")
    Path("photos/images.csv").write_text("\n".join(lines) + "\n")
    return run


PAGE = Path(__file__).parents[2] / "docs" / "ensembles.md"
STANDING_FOR = {
    "torchvision:resnet50@IMAGENET1K_V1": "file:networks.py:a",
    "torchvision:vgg19_bn@IMAGENET1K_V1": "file:networks.py:b",
    "demo:squeezenet1_1": "file:networks.py:c",
    "layer3.1": "1",
}
"""What stands on the page, and the small networks and sites in its place."""


def smaller(text: str) -> str:
    for written, small in STANDING_FOR.items():
        text = text.replace(written, small)
    return text


def craft(surrogates: list[str], *options: str, recipe: str = "mi", out: str = "out") -> tuple[str, ...]:
    named = [word for surrogate in surrogates for word in ("--surrogate", surrogate)]
    return ("craft", *named, "--recipe", recipe, "--data", "photos", "--out", out, "--steps", "3", *options)


@pytest.mark.parametrize("fuse", [None, "probabilities", "losses"])
def test_adversarial_images_are_those_of_the_ensemble_in_python(linbp: Run, fuse: str | None) -> None:
    found = linbp(*craft([A, RULED], *(["--fuse", fuse] if fuse else [])))
    assert found.status == 0, found.err
    for words in (f"{COUNT} made now", "0 kept", "6 gradients per image"):  # three steps on each of two networks
        assert words in found.text
    networks = [library.load_model(name) for name in (A, B)]
    rule = library.LinBP(start=0, rebalance=None)
    pair = library.Ensemble([networks[0], library.Surrogate(networks[1], rule)], fuse or "logits")
    images = np.stack([read_image(f"photos/i{number}.png").transpose(2, 0, 1) for number in range(COUNT)])
    ids = [f"i{number}" for number in range(COUNT)]
    adv = library.craft(pair, images, list(range(COUNT)), "mi", eps="8/255", steps=3, ids=ids)
    for number, adv_image in enumerate(adv):
        assert np.array_equal(read_image(f"out/i{number}.png"), np.rint(255 * adv_image).transpose(1, 2, 0))
    written = json.loads(Path("out/manifest.json").read_text())["settings"]["surrogate"]
    assert written["fuse"] == (fuse or "logits")
    assert [member["name"] for member in written["members"]] == ["a", "b"]
    assert written["members"][1]["rules"] == ["linbp(start=0, rebalance=none)"]


def test_a_job_goes_on_with_the_same_ensemble_only_and_is_evaluated(linbp: Run) -> None:
    first = linbp(*craft([A, RULED], recipe="mi-cwa"))
    assert first.status == 0, first.err
    before = Path("out/i2.png").read_bytes()
    Path("out/i2.png").unlink()
    again = linbp(*craft([A, RULED], recipe="mi-cwa"))
    assert f"1 made now, {COUNT - 1} kept" in again.text
    assert Path("out/i2.png").read_bytes() == before
    for surrogates, options, words in (
        ([RULED, A], [], "surrogate.members.1.name: a -> b"),
        ([A, B], [], 'surrogate.members.2.rules: ["linbp(start=0, rebalance=none)"] -> null'),
        ([A, RULED], ["--fuse", "losses"], "surrogate.fuse: logits -> losses"),
        ([A, RULED, B], [], "surrogate.members.3: null -> b"),
    ):
        refused = linbp(*craft(surrogates, *options, recipe="mi-cwa"))
        two_lines(refused, words)
    found = linbp("evaluate", "out", "--victim", A, "--victim", B)
    assert found.status == 0, found.err
    assert "mi-cwa on a and b" in found.text
    result = linbp("evaluate", "out", "--victim", B, "--json").facts
    assert result["finished"] is True
    assert len(result["manifest"]["settings"]["surrogate"]["members"]) == 2


def test_a_single_surrogate_may_have_its_rule_in_either_place(linbp: Run) -> None:
    assert linbp(*craft([RULED], out="own")).status == 0
    assert linbp(*craft([B], recipe="linbp(start=0, rebalance=none) + mi", out="recipe")).status == 0
    assert linbp(*craft([B], out="plain")).status == 0
    own, recipe, plain = (Path(folder, "i1.png").read_bytes() for folder in ("own", "recipe", "plain"))
    assert own == recipe != plain
    manifest = json.loads(Path("own/manifest.json").read_text())
    assert manifest["settings"]["surrogate"]["rules"] == ["linbp(start=0, rebalance=none)"]


@pytest.mark.parametrize(
    ("surrogates", "options", "recipe", "words", "hint"),
    [
        ([A], ["--fuse", "losses"], "mi", "--fuse losses", "--surrogate"),
        ([A], [], "svre-mifgsm", "svre", "--surrogate"),
        ([A, f"{B} with di(scale=1.5)"], [], "mi", "di(scale=1.5)", "--recipe"),
        ([A, f"{B} with ifgsm"], [], "mi", "ifgsm", "--recipe"),
        ([A, f"{B} with linbp"], [], "mi", "linbp", "start=0.25"),
        ([A, f"{B} with lnbp(start=0)"], [], "mi", "'lnbp'", "linbp"),
        ([A, f"{B} with linbp(start=nowhere)"], [], "mi", "nowhere", "0"),
        ([A, "file:networks.py:few"], [], "mi", "few: 3", "classes"),
        ([RULED, f"{A} with sgm"], [], "mi", "sgm", "residual"),
        ([RULED, f"{A} with linbp(start=1)"], [], "linbp(start=0)", "rule", "one place"),
        ([RULED], [], "linbp(start=0)", "rule", "recipe"),
        ([A, A], [], "mi", "twice", "once"),
        ([A, B], ["--fuse", "votes"], "mi", "votes", "probabilities"),
        ([A, B], [], "ila(at='0')", "feature maps", "--fuse losses"),
    ],
)
def test_what_is_refused(
    linbp: Run, surrogates: list[str], options: list[str], recipe: str, words: str, hint: str
) -> None:
    two_lines(linbp(*craft(surrogates, *options, recipe=recipe)), words, hint)
    assert not Path("out").exists()


def test_the_commands_of_the_page(linbp: Run) -> None:
    scripts = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    calls = [shlex.split(smaller(script).replace("\\\n", "")) for script in scripts]
    assert len(calls) == 3
    for program, command, *options in calls:
        assert (program, command) == ("linbp", "craft")
        steps = [] if "--steps" in options else ["--steps", "3"]
        answer = linbp("craft", *(option.replace("di +", "di(scale=1.5) +") for option in options), *steps)
        assert answer.status == 0, answer.err
        folder = Path(options[options.index("--out") + 1])
        members = json.loads((folder / "manifest.json").read_text())["settings"]["surrogate"]["members"]
        assert len(members) == options.count("--surrogate")


def test_the_python_of_the_page(linbp: Run) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    images = np.zeros((COUNT, 3, 8, 8), np.uint8) + 100
    known = {"linbp": library, "images": images, "labels": list(range(COUNT))}
    code = (
        smaller(block)
        .replace('start="1"', "start=1")
        .replace("di +", "di(scale=1.5) +")
        .replace("eps=", "steps=3, eps=")
    )
    exec(code, known)
    assert known["adv"].shape == images.shape  # type: ignore[attr-defined]


def test_a_rule_is_told_from_a_path_with_the_word_in_it() -> None:
    assert split_rules("demo:squeezenet1_1") == ("demo:squeezenet1_1", ())
    for path in ("file:nets with rules.py:build", "my nets with care/model.onnx", "with linbp", "a with b/c"):
        assert split_rules(path) == (path, ())
    name, rules = split_rules("file:nets with rules.py:build  with  sgm(gamma=0.5) + linbp(start=layer3.1)")
    assert name == "file:nets with rules.py:build"
    assert rules == (library.SGM(gamma=0.5), library.LinBP(start="layer3.1"))
    assert split_rules("a with sgm") == ("a", (library.SGM(),))
    with pytest.raises(RecipeError, match="backward rule"):
        split_rules("a with mi >> ila(at=stem)")
