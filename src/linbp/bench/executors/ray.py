"""Tasks on a Ray cluster: one actor a worker, which loads its networks once."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

from linbp.bench.executors.base import Queue, Tell
from linbp.bench.plan import Plan, Task
from linbp.bench.tasks import Outcome, Worker
from linbp.errors import StoreError

__all__ = ["RayActors", "RayCluster"]

PATIENCE = 120
"""Seconds that a cluster may take to start the first actor."""

KNOCK = 10
"""Seconds that an address may take to answer. Ray itself goes on trying for minutes."""


class RayCluster:
    """A connection to a Ray cluster; as a context, it is closed at its end unless the process had it before.

    Args:
        address: of the cluster, `auto` for the one that this machine belongs to, `local` for one on this machine alone,
            which is started when it is first used.

    Raises:
        StoreError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str) -> None:
        try:
            import ray  # type: ignore[import-untyped,unused-ignore]
        except ImportError as error:
            raise StoreError(
                "--ray needs the package ray, which is not installed.", "Install it: pip install 'linbp[ray]'."
            ) from error
        self._ray: Any = ray
        self._address, self._own = address, not ray.is_initialized()
        if address != "local":
            self.connect()

    def connect(self) -> Any:
        """The module of Ray, connected."""
        if not self._ray.is_initialized():
            try:
                _knock(self._address)
                self._ray.init(
                    address=self._address, logging_level=logging.ERROR, log_to_driver=False, namespace="linbp"
                )
            # Ray raises its own, gRPC's and the operating system's exceptions.
            except Exception as error:
                reason = " ".join(str(error).split())[:200].rstrip(".")
                raise StoreError(
                    f"The Ray cluster {self._address} cannot be reached: {reason}.",
                    "Start one with `ray start --head`, or give its address: --ray ray://HOST:10001.",
                ) from error
        return self._ray

    def __enter__(self) -> RayCluster:
        return self

    def __exit__(self, *_: object) -> None:
        if self._own and self._ray.is_initialized():
            self._ray.shutdown()


class RayActors:
    """Runs tasks in actors, as many as the cluster has room for. A lost node's tasks are done by the others.

    An actor asks Ray for as many CPUs as the suite has threads, and for a GPU where networks run on one; Ray starts it
    where they are free. An actor that is lost is replaced as soon as there is room for another.

    Args:
        plan: of the run; its store has to be reachable from every node.
        cluster: where they run.

    Raises:
        StoreError: the cluster cannot be reached.
    """

    def __init__(self, plan: Plan, cluster: RayCluster) -> None:
        self._ray = ray = cluster.connect()
        gpu = 1 if plan.device.startswith("cuda") else 0
        self._needs = {"CPU": float(plan.suite.threads), **({"GPU": 1.0} if gpu else {})}
        self._remote: Any = ray.remote(num_cpus=plan.suite.threads, num_gpus=gpu, max_restarts=0)(Worker)
        self._plan = ray.put(plan)
        self._free: list[Any] = []
        self._starting: dict[Any, Any] = {}

    def run(self, tasks: Sequence[Task], tell: Tell, on_step: Callable[[int], None]) -> None:
        ray, queue = self._ray, Queue(tasks)
        running: dict[Any, tuple[Any, Task]] = {}
        started = bool(self._free)
        while True:
            while self._free and (task := queue.take()) is not None:
                actor = self._free.pop()
                running[actor.run.remote(task)] = actor, task
            waiting = len(queue)
            if not running and not waiting:
                return
            self._start(min(waiting, self._room()))
            if not running and not self._starting:
                self._start(1)
            ready, _ = ray.wait([*running, *self._starting], num_returns=1, timeout=None if started else PATIENCE)
            if not ready and not started:
                raise StoreError(
                    f"The Ray cluster has had no room for a task with {self._needs} for {PATIENCE} seconds.",
                    "Wait for other jobs to end, or lower threads in the suite.",
                )
            for reference in ready:
                if reference in self._starting:
                    actor = self._starting.pop(reference)
                    with contextlib.suppress(ray.exceptions.RayActorError):  # its node was lost before it began
                        ray.get(reference)
                        self._free.append(actor)
                        started = True
                    continue
                actor, task = running.pop(reference)
                try:
                    outcome: Outcome = ray.get(reference)
                except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError):
                    queue.put_back(task)
                    continue
                self._free.append(actor)
                queue.ended(outcome)
                tell(outcome)

    def close(self) -> None:
        for actor in [*self._free, *self._starting.values()]:
            with contextlib.suppress(Exception):  # it may be lost already
                self._ray.kill(actor)

    def _room(self) -> int:
        """How many more actors the cluster has room for."""
        free = self._ray.available_resources()
        return int(min(free.get(name, 0.0) // need for name, need in self._needs.items())) - len(self._starting)

    def _start(self, count: int) -> None:
        for _ in range(count):
            actor: Any = self._remote.remote(self._plan)
            self._starting[actor.ready.remote()] = actor


def _knock(address: str) -> None:
    """Connect to HOST:PORT, and to what `ray://` stands before; other words, such as `auto`, are Ray's to look up.

    Raises:
        OSError: nobody answers there.
    """
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK).close()
