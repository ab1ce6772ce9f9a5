"""Opens what makes an environment's frames: a generated world or its reference simulator."""

from __future__ import annotations

from dataclasses import dataclass

from streamdit_gym.envs.backend import Backend
from streamdit_gym.envs.generated_backend import GeneratedBackend
from streamdit_gym.envs.row_by_row import RowByRow
from streamdit_gym.envs.settings import EnvSettings
from streamdit_gym.envs.simulator_backend import SimulatorBackend
from streamdit_gym.envs.state import EnvIdentity
from streamdit_gym.envs.worlds import definition_with_simulator, shared_world
from streamdit_gym.stream.engine import Engine
from streamdit_gym.world import World


@dataclass(frozen=True)
class OpenedWorld:
    """What makes an environment's frames.

    Attributes:
        backend: makes the frames.
        state_owner: identifies the environments in saved states, by what their world is: equal
            worlds have equal contents.
        encoder: the world that encodes observations, if they are latents or states.
    """

    backend: Backend
    state_owner: EnvIdentity
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
    definition = definition_with_simulator(settings.world)
    spec = definition.spec
    encoder = None
    content = f"{spec.name} simulator {spec.simulator_version}"
    if settings.observation != "frame":
        encoder = shared_world(settings.backend.encoder or settings.world, "cpu")
        content = f"{content} encoded by {encoder.digest}"
    backend = SimulatorBackend(definition, settings.num_envs, encoder)
    return OpenedWorld(backend, _state_owner(settings, content), encoder)


def _open_generated(settings: EnvSettings) -> OpenedWorld:
    world = shared_world(settings.world, str(settings.device))
    engine = _make_engine(world, settings)

    def make_backend(rows: int) -> GeneratedBackend:
        return GeneratedBackend(
            world,
            engine,
            rows,
            common_noise=settings.backend.common_noise,
            observation=settings.observation,
            use_warm_pool=world.device.type == "cuda" and rows > 1,
            threads=settings.backend.threads,
        )

    backend: Backend
    if settings.backend.deterministic:
        backend = RowByRow([make_backend(1) for _ in range(settings.num_envs)])
    else:
        backend = make_backend(settings.num_envs)
    encoder = None if settings.observation == "frame" else world
    return OpenedWorld(backend, _state_owner(settings, world.digest), encoder)


def _make_engine(world: World, settings: EnvSettings) -> Engine:
    partition = settings.partition
    assert not isinstance(partition, str)  # the settings have replaced its name
    idle_prompt = world.spec.menu[0][0]
    return Engine(
        world.model_for(partition),
        world.table,
        partition,
        idle=int(world.table.rows([idle_prompt])[0]),
        prompt_scope=settings.backend.prompt_scope,
        autocast=settings.backend.dtype == "bfloat16",
        compile=settings.backend.compile,
    )


def _state_owner(settings: EnvSettings, content: str) -> EnvIdentity:
    is_generated = not settings.real
    return EnvIdentity(
        world=content,
        partition=str(settings.partition) if is_generated else "real",
        observation=settings.observation,
        num_envs=settings.num_envs,
        deterministic=settings.backend.deterministic and is_generated,
    )
