"""The same work on many machines or GPUs, with Ray: one actor per GPU, or per group of cores; only
counts come back.

Takes: shards to make.  Gives: their completion, in any order.  Knows nothing of: what a shard is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from streamdit_gym.errors import StreamDiTError, require

DEATHS = 3  # actors that may die per actor, before the work is given up


def run_on_ray(
    maker: type,
    arguments: tuple[Any, ...],
    shards: Sequence[int],
    *,
    address: str | None,
    gpus: bool,
    cores: int,
    done: Callable[[int], object],
) -> None:
    """Let actors make shards; what a dead one was making is made again by another.

    Args:
        maker: class with a method ``run(shard)`` that writes the shard and returns how many
            episodes it has.
        arguments: of its constructor.
        shards: their numbers.
        address: of a Ray cluster, or ``"auto"``; None starts Ray on this machine.
        gpus: one actor per GPU of the cluster, instead of per group of cores.
        cores: cores in a group.
        done: called with what ``run`` returned.

    Raises:
        StreamDiTError: if the cluster cannot be reached, has no GPU where one is asked for, or
            actors keep dying.
    """
    ray = require("ray", "ray", "working on several machines or GPUs")
    exceptions = require("ray.exceptions", "ray", "working on several machines or GPUs")
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
        there = ray.cluster_resources()
        count = int(there.get("GPU", 0)) if gpus else int(there.get("CPU", 1)) // cores
        if gpus and not count:
            raise StreamDiTError(
                "the Ray cluster has no GPU", given=there, remedy="use --device cpu"
            )
        count = min(max(1, count), len(shards))
        remote = ray.remote(
            num_gpus=1 if gpus else 0, num_cpus=min(cores, int(there.get("CPU", 1)))
        )(maker)
        waiting, busy, deaths = deque(shards), {}, 0

        def next_shard(actor: Any) -> None:
            if waiting:
                index = waiting.popleft()
                busy[actor.run.remote(index)] = (actor, index)

        for _ in range(count):
            next_shard(remote.remote(*arguments))
        while busy:
            (ready,), _ = ray.wait(list(busy), num_returns=1)
            actor, index = busy.pop(ready)
            try:
                done(ray.get(ready))
            except exceptions.RayTaskError as error:
                raise error.cause from error
            except exceptions.RayActorError as error:
                deaths += 1
                if error.actor_init_failed:
                    raise StreamDiTError(
                        "an actor cannot begin", given=str(error), remedy="see its own error above"
                    ) from error
                if deaths > DEATHS * count:
                    raise StreamDiTError(
                        "actors keep dying",
                        given=str(error),
                        remedy="look at Ray's logs; whole shards are kept",
                    ) from error
                waiting.appendleft(index)
                actor = remote.remote(*arguments)
            next_shard(actor)
    finally:
        ray.shutdown()
