"""Shards on many machines or GPUs, with Ray: one actor per GPU, or per group of cores."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from streamdit_gym.errors import StreamDiTError, require

MAX_DEATHS_PER_ACTOR = 3  # then the work is given up
REASON = "working on several machines or GPUs"


@dataclass(frozen=True, kw_only=True)
class RayPool:
    """Where actors run.

    Attributes:
        address: of a Ray cluster, or ``"auto"``; None starts Ray on this machine.
        gpus: one actor per GPU of the cluster, instead of per group of cores.
        cores: cores in a group.
    """

    address: str | None
    gpus: bool
    cores: int

    def run(
        self,
        maker: type,
        arguments: tuple[Any, ...],
        shards: Sequence[int],
        done: Callable[[int], object],
    ) -> None:
        """Let actors make shards; what a dead one was making is made again by another.

        Args:
            maker: class with a method ``run(shard)`` that writes the shard and returns how many
                episodes it has.
            arguments: of its constructor.
            shards: their numbers.
            done: called with what ``run`` returned.

        Raises:
            StreamDiTError: if the cluster cannot be reached, has no GPU where one is asked for, or
                actors keep dying.
        """
        ray = require("ray", "ray", REASON)
        with _connected(ray, self.address):
            resources = ray.cluster_resources()
            num_actors = min(self._capacity(resources), len(shards))
            cores = min(self.cores, int(resources.get("CPU", 1)))
            actor_class = ray.remote(num_gpus=1 if self.gpus else 0, num_cpus=cores)(maker)
            _Work(ray, actor_class, arguments, shards, done).finish(num_actors)

    def _capacity(self, resources: dict[str, float]) -> int:
        """Return how many actors a cluster has room for, one at least.

        Raises:
            StreamDiTError: if there is no GPU where one is asked for.
        """
        if not self.gpus:
            return max(1, int(resources.get("CPU", 1)) // self.cores)
        num_gpus = int(resources.get("GPU", 0))
        if not num_gpus:
            problem = "the Ray cluster has no GPU"
            raise StreamDiTError(problem, given=resources, remedy="use --device cpu")
        return num_gpus


@contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise StreamDiTError(
            "no Ray cluster there",
            given=f"{address}: {error}",
            remedy="start one: ray start --head; or drop the address",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


class _Work:
    """Shards that wait, and those that actors are making."""

    def __init__(
        self,
        ray: Any,
        actor_class: Any,
        arguments: tuple[Any, ...],
        shards: Sequence[int],
        done: Callable[[int], object],
    ) -> None:
        self.ray = ray
        self.exceptions = require("ray.exceptions", "ray", REASON)
        self.new_actor = lambda: actor_class.remote(*arguments)
        self.done = done
        self._waiting = deque(shards)
        self._running: dict[Any, tuple[Any, int]] = {}  # by Ray's reference: actor and shard

    def finish(self, num_actors: int) -> None:
        """Work until every shard is made."""
        deaths = 0
        for _ in range(num_actors):
            self._start_next(self.new_actor())
        while self._running:
            (reference,), _ = self.ray.wait(list(self._running), num_returns=1)
            actor, shard = self._running.pop(reference)
            try:
                self.done(self.ray.get(reference))
            except self.exceptions.RayTaskError as error:
                raise error.cause from error
            except self.exceptions.RayActorError as error:
                deaths += 1
                _check_deaths(error, deaths, MAX_DEATHS_PER_ACTOR * num_actors)
                self._waiting.appendleft(shard)
                actor = self.new_actor()
            self._start_next(actor)

    def _start_next(self, actor: Any) -> None:
        if self._waiting:
            shard = self._waiting.popleft()
            self._running[actor.run.remote(shard)] = (actor, shard)


def _check_deaths(error: Any, deaths: int, most: int) -> None:
    """Give up where no other actor could do better.

    Raises:
        StreamDiTError: if an actor could not begin, or too many have died.
    """
    if error.actor_init_failed:
        remedy = "see its own error above"
        raise StreamDiTError("an actor cannot begin", given=str(error), remedy=remedy) from error
    if deaths > most:
        remedy = "look at Ray's logs; whole shards are kept"
        raise StreamDiTError("actors keep dying", given=str(error), remedy=remedy) from error
