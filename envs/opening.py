"""Opens what makes an environment's frames: a generated world or its reference simulator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from streamdit_gym.bundle.config import read_config
from streamdit_gym.checks import check_choice, shown
from streamdit_gym.definition import AnyTask, WorldDefinition, WorldSpec
from streamdit_gym.envs.backend import Backend
from streamdit_gym.envs.generated_backend import GeneratedBackend
from streamdit_gym.envs.row_by_row import RowByRow
from streamdit_gym.envs.settings import EnvSettings
from streamdit_gym.envs.simulator_backend import SimulatorBackend
from streamdit_gym.envs.state import EnvIdentity
from streamdit_gym.envs.worlds import definition_with_simulator, shared_world, with_simulator
from streamdit_gym.errors import ArgumentError
from streamdit_gym.presets import partition_for
from streamdit_gym.registry import find_definition, world_definition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.world import World

REAL = "real"  # in place of a partition, of the reference simulator

DEFAULT_HORIZON = 128  # steps of an episode in a world without tasks


@dataclass(frozen=True)
class OpenedWorld:
    """What makes an environment's frames.

    Attributes:
        backend: makes the frames.
        state_owner: identifies the environments in saved states, by what their world is: equal
            worlds have equal contents.
        encoder: the world that encodes observations, if they are latents or states.
        task: the task that is rewarded; None: the world has none.
    """

    backend: Backend
    state_owner: EnvIdentity
    encoder: World | None
    task: AnyTask | None


def open_world(settings: EnvSettings) -> OpenedWorld:
    """Load a world, or make its reference simulators.

    Raises:
        UnknownNameError: if there is no such world.
        PartitionError: if the partition does not fit the model.
        BundleError: if the world's files are broken.
    """
    return _open_simulators(settings) if settings.real else _open_generated(settings)


def horizon_of(task: AnyTask | None) -> int:
    """Return after how many steps episodes are truncated."""
    return DEFAULT_HORIZON if task is None else task.horizon


def task_of(spec: WorldSpec, name: str | None) -> AnyTask | None:
    """Return a task of a world by its name; without a name the first, if there is any.

    Raises:
        UnknownNameError: if there is none of that name, with the nearest one.
    """
    if name is None and not spec.tasks:
        return None
    chosen = spec.default_task if name is None else name
    return spec.tasks[check_choice("task", chosen, spec.tasks)]


def _open_simulators(settings: EnvSettings) -> OpenedWorld:
    definition = _definition_of(settings)
    spec = definition.spec
    task = task_of(spec, settings.task)
    encoder = None
    content = f"{spec.name} simulator {spec.simulator_version}"
    if settings.observation != "frame":
        encoder = shared_world(settings.backend.encoder or settings.world, "cpu")
        content = f"{content} encoded by {encoder.digest}"
    backend = SimulatorBackend(definition, settings.num_envs, encoder)
    return OpenedWorld(backend, _state_owner(settings, content, REAL), encoder, task)


def _definition_of(settings: EnvSettings) -> WorldDefinition:
    """Return the definition of the reference simulator: a registered one, or a file's.

    Raises:
        UnknownNameError: if there is none.
        ArgumentError: if it does not fit the bundle that is named as the world.
    """
    bundle = _bundle_spec(settings.world)
    if not isinstance(settings.real, str):
        return definition_with_simulator(settings.world if bundle is None else bundle.name)
    definition = with_simulator(world_definition(settings.real))
    if bundle is None:
        return definition
    for name in ("name", "frame_size", "actions"):
        expected = getattr(bundle, name)
        if getattr(definition, name) != expected:
            raise ArgumentError(
                "this reference simulator is that of another world",
                given=f"{settings.real}: {name} {shown(getattr(definition, name))}",
                allowed=f"{shown(expected)}, as in {settings.world}",
                remedy="give the definition that the bundle was trained from",
            )
    return definition


def _bundle_spec(world: str) -> WorldSpec | None:
    """Return the spec of a bundle on this machine that is no registered world."""
    folder = Path(world)
    if not world or find_definition(world) is not None or not folder.is_dir():
        return None
    return read_config(folder).spec


def _open_generated(settings: EnvSettings) -> OpenedWorld:
    world = shared_world(settings.world, str(settings.device))
    task = task_of(world.spec, settings.task)
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
            task=task,
        )

    backend: Backend
    if settings.backend.deterministic:
        backend = RowByRow([make_backend(1) for _ in range(settings.num_envs)])
    else:
        backend = make_backend(settings.num_envs)
    encoder = None if settings.observation == "frame" else world
    owner = _state_owner(settings, world.digest, str(engine.partition))
    return OpenedWorld(backend, owner, encoder, task)


def _make_engine(world: World, settings: EnvSettings) -> Engine:
    partition = partition_for(world, settings.partition)
    return Engine(
        world.model_for(partition),
        world.prompts,
        partition,
        idle=world.idle_prompt,
        prompt_scope=settings.backend.prompt_scope,
        autocast=settings.backend.dtype == "bfloat16",
        compile=settings.backend.compile,
    )


def _state_owner(settings: EnvSettings, content: str, partition: str) -> EnvIdentity:
    return EnvIdentity(
        world=content,
        partition=partition,
        observation=settings.observation,
        num_envs=settings.num_envs,
        deterministic=settings.backend.deterministic and partition != REAL,
    )
