"""A Ray cluster of two nodes, of which one is killed in the middle: the same bytes as one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_suites import small_suite

from linbp.bench.run import run_bench
from linbp.errors import StoreError

pytest.importorskip("ray", reason="needs pip install '.[ray]'")

RESULTS = "results.parquet"

# In a process of its own: Ray starts threads and daemons, and warns where pytest makes errors of warnings.
PROGRAM = """
import json, sys, time
import ray
from ray.cluster_utils import Cluster
from linbp.bench.run import run_bench

suite, out = sys.argv[1:]
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
killed, stages = [], {}

def tell(stage, done, total):
    stages[stage] = (done, total)
    if stage == "crafting" and done and not killed:
        until = time.monotonic() + 60
        while ray.available_resources().get("CPU", 0) > 0 and time.monotonic() < until:
            time.sleep(0.1)  # no task is given out meanwhile; the second actor may still be on its way
        killed.append(done)  # both nodes have an actor
        cluster.remove_node(nodes[1], allow_graceful=False)

run = run_bench(suite, out, ray=cluster.address, progress=tell)
print(json.dumps({"made": run.made, "killed": killed, "stages": stages}))
cluster.shutdown()
"""


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_node_that_is_killed_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, images=12, shard_size=1, cost={"steps": 10}, eps="8/255")
    run_bench(suite, tmp_path / "here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAY_USAGE_STATS_ENABLED": "0"}
    command = [sys.executable, "-c", PROGRAM, str(suite), str(tmp_path / "ray")]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    facts = json.loads(answer.stdout.splitlines()[-1])
    (at,) = facts["killed"]
    assert 0 < at < facts["stages"]["crafting"][1]
    assert facts["stages"]["crafting"][0] == facts["stages"]["crafting"][1]
    # A task of the lost node may have been finished before anybody heard of it.
    assert 2 * 12 + 2 * 3 * 12 - 1 <= facts["made"] <= 2 * 12 + 2 * 3 * 12
    assert (tmp_path / "ray" / RESULTS).read_bytes() == (tmp_path / "here" / RESULTS).read_bytes()


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    suite = small_suite(tmp_path, recipes=["mifgsm"], eps="8/255")
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:9") as caught:
        run_bench(suite, tmp_path / "run", ray="127.0.0.1:9")
    assert "ray start" in caught.value.hint
