"""Sources of other packages on the command line."""

from __future__ import annotations

import json

from command_line import Run, two_lines
from foreign_parts import Packages, packages
from foreign_sources import NETWORKS, install

from linbp.models import load_model

__all__ = ["packages"]


def test_sources_are_listed_and_a_broken_one_is_one_line(run: Run, packages: Packages) -> None:
    install(packages, "my_zoo", NETWORKS, word="zoo")
    install(packages, "broken_one", "import nowhere", word="broken", version="0.3")
    install(packages, "no_load", "HELP = ''", word="nothing")
    install(packages, "greedy", NETWORKS, word="timm")
    found = run("list", "models", "--json")
    listed = {entry["name"]: entry["summary"] for entry in json.loads(found.out)["models"]}
    assert listed["zoo"] == "zoo:SIDE, a tiny network (my_zoo 1.0)"
    assert "broken" not in listed
    assert listed["timm"].startswith("timm:resnet50")
    warnings = [line for line in found.err.splitlines() if line.startswith("Warning: ")]
    for name in ("broken_one 0.3", "no_load 1.0", "greedy 1.0"):
        assert len([line for line in warnings if name in line]) == 1
    assert len(warnings) == 3
    assert load_model("zoo:1").name == "zoo:1"
    two_lines(run("inspect", "broken:x"), "broken_one 0.3", "nowhere")
    two_lines(run("inspect", "zoox:x"), "zoo")
