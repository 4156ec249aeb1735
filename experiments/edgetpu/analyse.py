"""Why LinBP hurts on MobileNet EdgeTPU and helps on SqueezeNet 1.1: gradients, single steps, attacks.

    python experiments/edgetpu/analyse.py                # computes what is missing, then writes tables and a picture
    python experiments/edgetpu/analyse.py --tables       # writes the tables from what there is

Stages: `blocks` (norms and angles at the junctions), `agreement` (with other networks' gradients), `constancy` (of the
gradient over images), `steps` (one sign step, on the surrogate and on the others), `attacks`. Gradients and steps are
measured on photographs from the end of the list that all six networks get right, attacks are made on those from
its beginning.
Interrupted and started again, it goes on where it was; `docs/edgetpu.md` tells what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from common.lines import read_lines

from edgetpu.attacks import attacks, path
from edgetpu.bench import RESULTS, Bench, gradients
from edgetpu.gradients import agreement, blocks, constancy, steps
from edgetpu.tables import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    parser.add_argument("--passes", type=int, default=2, help="attacks are made on so many times 25 photographs")
    parser.add_argument("--stages", nargs="*", default=["blocks", "constancy", "agreement", "steps", "path", "attacks"])
    options = parser.parse_args()
    if not options.tables:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        bench = Bench()
        measured = {"blocks": blocks, "constancy": constancy, "agreement": agreement, "steps": steps, "path": path}
        wanted = [measured[stage] for stage in options.stages if stage in measured]
        if wanted:
            x, y = bench.chosen()
            theirs = gradients(bench, x, y)
            for stage in wanted:
                stage(bench, x, y, theirs)
        if "attacks" in options.stages:
            attacks(bench, options.passes)
    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
