"""Parts of other packages on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import certain_network
import pytest
from command_line import Run, two_lines
from foreign_parts import SHIFT, Packages, packages

from linbp.data.images import write_png

__all__ = ["packages"]


def files(amount: int) -> dict[str, str]:
    """A part and the module that it imports."""
    shift = SHIFT.format(name="shift", default=3, helper="amounts")
    return {"my_a.py": shift, "amounts.py": f"def amount():\n    return {amount}\n"}


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """`linbp craft` with five images and a part of a package."""
    (tmp_path / "data").mkdir()
    for number, pixels in enumerate(certain_network.dark_and_bright()):
        write_png(tmp_path / "data" / f"{number}.png", pixels.transpose(1, 2, 0))
    lines = ["file,label", *(f"{number}.png,{number % 3}" for number in range(5))]
    (tmp_path / "data" / "images.csv").write_text("\n".join(lines))
    network, data = f"file:{certain_network.__file__}:build", str(tmp_path / "data")
    options = ["--surrogate", network, "--data", data, "--trust-labels", "--out", str(tmp_path / "out")]
    return ["craft", *options, "--recipe", "shift + mi"]


def test_a_broken_package_is_one_line_and_no_result(run: Run, packages: Packages) -> None:
    packages.install("broken_one", {"broken_one.py": "print('loading')\nimport nowhere"}, version="0.3")
    packages.install("my_a", files(1))
    found = run("list", "transforms", "--json")
    assert "shift" in {part["name"] for part in json.loads(found.out)["transforms"]}
    warnings = [line for line in found.err.splitlines() if line.startswith("Warning: ")]
    assert len(warnings) == 1
    assert "broken_one 0.3" in warnings[0]
    two_lines(run("show", "part-of-the-broken"), "part-of-the-broken")


def test_a_part_that_was_edited_between_two_runs_is_refused(
    run: Run, packages: Packages, given: list[str], tmp_path: Path
) -> None:
    packages.install("my_a", files(1))
    assert run(*given).status == 0
    (tmp_path / "out" / "3.png").unlink()
    packages.install("my_a", files(2))
    two_lines(run(*given), "the code of shift (my_a 1.0)", "--out")
    packages.install("my_a", files(1))
    facts = run(*given, "--json").facts
    assert (facts["made"], facts["kept"]) == (1, 4)


def test_a_part_that_draws_from_torch_is_refused_until_it_is_trusted_by_name(
    run: Run, packages: Packages, given: list[str]
) -> None:
    drawing = files(1)
    drawing["my_a.py"] = drawing["my_a.py"].replace("images.roll", "(images + 0.2 * torch.rand_like(images)).roll")
    packages.install("my_a", drawing)
    two_lines(run(*given), "my_a 1.0", "global random", "--trust-parts", "linbp.testing")
    trusted = run(*given, "--trust-parts", "--json").facts
    assert trusted["made"] == 5
    assert [note for note in trusted["manifest"]["notes"] if "my_a 1.0" in note and "not checked" in note]
