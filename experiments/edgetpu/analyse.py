"""Why LinBP hurts on MobileNet EdgeTPU and helps on SqueezeNet 1.1: gradients, single steps, attacks.

    python experiments/edgetpu/analyse.py                # computes what is missing, then writes tables and a picture
    python experiments/edgetpu/analyse.py --tables       # writes the tables from what there is

Stages: `blocks` (norms and angles at the junctions), `sites` (active units), `constancy` (of the gradient over images),
`agreement` (with other networks' gradients), `steps` (one sign step, on the surrogate and on the others), `path` (ten
steps), `clean` and `attack`. Gradients and steps are measured on photographs from the end of the list that all six
networks get right, attacks are made on those from its beginning. `variants.toml` says what is measured of each.
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

from edgetpu.attacks import attack, clean, path
from edgetpu.bench import RESULTS, Bench
from edgetpu.gradients import agreement, blocks, constancy, sites, steps
from edgetpu.tables import write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    if not parser.parse_args().tables:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        bench = Bench()
        for measured in (blocks, sites, constancy, agreement, steps, path, clean, attack):
            bench.fill(measured.__name__, measured)
    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()
