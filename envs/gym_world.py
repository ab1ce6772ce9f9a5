"""A world from any Gymnasium environment that draws what it does, or that observes pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gymnasium
from gymnasium import spaces

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.checks import check_int, check_str
from streamdit_gym.data.definition_checks import (
    MAX_HORIZON,
    as_definition_error,
    check_definition,
    check_frame_size,
)
from streamdit_gym.definition import EnvironmentTask, WorldDefinition
from streamdit_gym.envs.gym_actions import ActionTranslator, guess_actions
from streamdit_gym.envs.gym_crop import check_crop, uncropped_size
from streamdit_gym.envs.gym_making import (
    WARM_UP_SEED,
    Env,
    cannot_be_made,
    image_key,
    make_env,
    renders,
)
from streamdit_gym.envs.gym_simulator import (
    GymSettings,
    GymSimulator,
    StateFunction,
    named_state,
)
from streamdit_gym.errors import DefinitionError

TASK = "environment"
DEFAULT_HORIZON = 128  # of an environment without a time limit
MAX_GUESSED_HORIZON = 256  # longer episodes need a reason
DEFAULT_FPS = 10.0  # of an environment that does not tell how many frames a second has
MAX_FRAME_SKIP = 1000
SIMULATOR_SETTINGS = ("explore", "crop", "prepare")  # of `GymSettings`, seldom needed


@dataclass(frozen=True, kw_only=True)
class GymFacts:
    """What an environment tells of itself.

    Attributes:
        action_space: its actions.
        actions: how they are said, guessed where nobody has said it.
        fps: steps in a second.
        max_steps: its own time limit; None: it has none.
        image_key: where its observations hold pictures; None: frames are rendered.
        state_names: of what the state function returns.
    """

    action_space: spaces.Space[Any]
    actions: ActionLanguage
    fps: float
    max_steps: int | None
    image_key: str | None
    state_names: tuple[str, ...]


def gym_world(
    env_id: str,
    *,
    name: str,
    frame_size: tuple[int, int] = (64, 64),
    actions: ActionLanguage | None = None,
    frame_skip: int = 1,
    state: StateFunction | None = None,
    horizon: int | None = None,
    make_kwargs: Mapping[str, Any] | None = None,
    **more: Any,
) -> WorldDefinition:
    """Return the definition of a world whose reference simulator is a Gymnasium environment.

    Its frames are what the environment draws, made smaller by area averaging. Reward and end are
    the environment's, and start frames come from its resets. The environment is made once, without
    drawing, to read what is not given.

    Args:
        env_id: as `gymnasium.make` takes it; ``"module:Id-v0"`` imports the module first.
        name: of the world.
        frame_size: height and width of frames.
        actions: how actions are said; None: guessed from the environment's.
        frame_skip: steps of the environment for one of the world.
        state: from the environment, unwrapped, to numbers by name; makes the evaluation sharper.
            A name that ends in ``_rad`` is an angle, one in ``_px`` a position in the frame.
        horizon: steps of the world until an episode is truncated; None: see `guessed_horizon`.
        make_kwargs: of the environment.
        more: ``explore``, ``crop`` and ``prepare``, see `GymSettings`; and what else a definition
            has, such as ``fps``, or ``action_vectors`` for a `Menu` over continuous actions.

    Raises:
        DefinitionError: if no world can be made of the environment; the text says what to do.
        MissingExtraError: if one of Gymnasium's own environments lacks its package.
    """
    simulator_settings = {key: more.pop(key) for key in SIMULATOR_SETTINGS if key in more}
    settings = GymSettings(
        env_id=env_id,
        actions=actions,
        frame_size=frame_size,
        frame_skip=frame_skip,
        make_kwargs=dict(make_kwargs or {}),
        action_vectors=more.get("action_vectors", ()),
        state=state,
        **simulator_settings,
    )
    return _definition(settings, name, horizon, more)


def _definition(
    settings: GymSettings, name: str, horizon: int | None, more: dict[str, Any]
) -> WorldDefinition:
    with as_definition_error():
        check_str("env_id", settings.env_id)
        check_frame_size(settings.frame_size)
        check_crop(settings.crop)
        check_int("frame_skip", settings.frame_skip, least=1, most=MAX_FRAME_SKIP)
        if horizon is not None:
            check_int("horizon", horizon, least=1, most=MAX_HORIZON)
    facts = gym_facts(settings)
    settings = replace(settings, actions=facts.actions, image_key=facts.image_key)
    task = EnvironmentTask(
        horizon=horizon or guessed_horizon(facts.max_steps, settings.frame_skip),
        about=f"the reward of {settings.env_id}",
    )
    fields = {
        "fps": facts.fps / settings.frame_skip,
        "tasks": {TASK: task},
        "state_names": facts.state_names,
        "make_simulator": partial(GymSimulator, settings),
        **more,
    }
    definition = WorldDefinition(
        name=name, frame_size=settings.frame_size, actions=facts.actions, **fields
    )
    check_definition(definition, definition.starts)
    ActionTranslator(facts.actions, facts.action_space, settings.action_vectors)
    return definition


def gym_facts(settings: GymSettings) -> GymFacts:
    """Return what an environment tells of itself; nothing is drawn.

    Raises:
        DefinitionError: see `gym_world`.
        MissingExtraError: likewise.
    """
    env_id = settings.env_id
    env = make_env(env_id, settings.make_kwargs, prepare=settings.prepare)
    try:
        key = image_key(env.observation_space, uncropped_size(settings.frame_size, settings.crop))
        if key is None and not renders(env):
            raise _cannot_be_drawn(env, env_id)
        return GymFacts(
            action_space=env.action_space,
            actions=settings.actions or guess_actions(env, env_id),
            fps=float(env.metadata.get("render_fps") or DEFAULT_FPS),
            max_steps=_time_limit(env_id),
            image_key=key,
            state_names=_state_names(env, env_id, settings.state),
        )
    finally:
        env.close()


def guessed_horizon(max_steps: int | None, frame_skip: int) -> int:
    """Return the horizon of a world: the environment's own limit, or 128 steps; at most 256.

    Args:
        max_steps: the environment's time limit in its own steps; None: it has none.
        frame_skip: its steps for one of the world.
    """
    if max_steps is None:
        return DEFAULT_HORIZON
    steps = -(-max_steps // frame_skip)
    return max(1, min(steps, MAX_GUESSED_HORIZON))


def _time_limit(env_id: str) -> int | None:
    spec = gymnasium.registry.get(env_id.split(":")[-1])
    return None if spec is None else spec.max_episode_steps


def _state_names(env: Env, env_id: str, state: StateFunction | None) -> tuple[str, ...]:
    if state is None:
        return ()
    try:
        env.reset(seed=WARM_UP_SEED)
    except Exception as error:  # anybody may have written the environment
        raise cannot_be_made(env_id, error) from error
    try:
        return tuple(named_state(state, env))
    except Exception as error:  # anybody may have written the function
        raise DefinitionError(
            "the state function fails",
            given=f"{type(error).__name__}: {error}",
            allowed="a function of the environment, unwrapped, that returns numbers by name",
            remedy="try state(env.unwrapped) after env.reset(), or leave state out",
        ) from error


def _cannot_be_drawn(env: Env, env_id: str) -> DefinitionError:
    modes = env.metadata.get("render_modes") or "none"
    return DefinitionError(
        "the environment cannot be drawn",
        given=f"{env_id}: render modes {modes}, observations {env.observation_space}",
        allowed='the render mode "rgb_array", or pictures (height, width, 3) as observations',
        remedy="give the environment such a render mode, or wrap it so that it observes pictures",
    )
