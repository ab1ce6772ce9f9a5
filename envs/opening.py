"""Opening what stands behind an environment.

Takes: settings.  Gives: a backend, and what identifies its world.  Knows nothing of: episodes,
    rewards.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamdit_gym.envs.backends import Backend, GeneratedBackend, RowByRow
from streamdit_gym.envs.settings import EnvSettings
from streamdit_gym.envs.simulator_backend import SimulatorBackend
from streamdit_gym.envs.worlds import shared_world, simulator_of
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.partition import Partition
from streamdit_gym.world import World


@dataclass(frozen=True, kw_only=True)
class OpenedWorld:
    """What stands behind an environment.

    Attributes:
        backend: makes the frames.
        content: identifies the world by what it is, for saved states: equal worlds have equal
            contents.
        encoder: the world that encodes observations, if they are latents or states.
    """

    backend: Backend
    content: str
    encoder: World | None


def open_world(settings: EnvSettings) -> OpenedWorld:
    """Load a world, or make its reference simulators.

    Raises:
        UnknownNameError: if there is no such world.
        PartitionError: if the partition does not fit the model.
        BundleError: if the world's files are broken.
    """
    return _open_simulators(settings) if settings.real else _open_generated(settings)


def _open_simulators(settings: EnvSettings) -> OpenedWorld:
    make, starts = simulator_of(settings.world)
    encoder = None
    content = f"{make.spec.name} simulator {make.spec.simulator}"
    if settings.observation != "frame":
        encoder = shared_world(settings.eyes or settings.world, "cpu")
        content = f"{content} encoded by {encoder.digest}"
    backend = SimulatorBackend(make.spec, make, settings.num_envs, starts, encoder)
    return OpenedWorld(backend=backend, content=content, encoder=encoder)


def _open_generated(settings: EnvSettings) -> OpenedWorld:
    assert isinstance(settings.partition, Partition)
    world = shared_world(settings.world, str(settings.device))
    encodes = settings.observation != "frame"  # a state is read off latents
    engine = Engine(
        world.model_for(settings.partition),
        world.table,
        settings.partition,
        idle=int(world.table.rows([world.spec.menu[0][0]])[0]),
        prompt_scope=settings.prompt_scope,
        autocast=settings.dtype == "bfloat16",
        compile=settings.compile,
    )

    def backend_of(rows: int) -> GeneratedBackend:
        return GeneratedBackend(
            world,
            engine,
            rows,
            common_noise=settings.common_noise,
            latent=encodes,
            stock=world.device.type == "cuda" and rows > 1,
            threads=settings.threads,
        )

    if settings.deterministic:
        backend: Backend = RowByRow([backend_of(1) for _ in range(settings.num_envs)])
    else:
        backend = backend_of(settings.num_envs)
    return OpenedWorld(backend=backend, content=world.digest, encoder=world if encodes else None)
