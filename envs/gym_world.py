"""A world from any Gymnasium environment that draws what it does, or that observes pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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
from streamdit_gym.envs.gym_making import (
    WARM_UP_SEED,
    Env,
    cannot_be_made,
    image_key,
    make_env,
    renders,
)
from streamdit_gym.envs.gym_simulator import GymSettings, GymSimulator, StateFunction
from streamdit_gym.errors import DefinitionError

TASK = "environment"
DEFAULT_HORIZON = 128  # of an environment without a time limit
MAX_GUESSED_HORIZON = 256  # longer episodes need a reason
DEFAULT_FPS = 10.0  # of an environment that does not tell how many frames a second has
MAX_FRAME_SKIP = 1000


@dataclass(frozen=True, kw_only=True)
class GymFacts:
    """What an environment tells of itself.

    Attributes:
        actions: its action space.
        guessed_actions: how they can be said, where nobody has said it.
        fps: steps in a second.
        max_steps: its own time limit; None: it has none.
        image_key: where its observations hold pictures; None: frames are rendered.
        state_names: of what the state function returns.
    """

    actions: spaces.Space[Any]
    guessed_actions: ActionLanguage | None
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
    the environment's, start frames come from its resets, and exploration holds random actions for
    some frames. The environment is made once, without drawing, to read what is not given here.

    Args:
        env_id: as `gymnasium.make` takes it; ``"module:Id-v0"`` imports the module first.
        name: of the world.
        frame_size: height and width of frames.
        actions: how actions are said; None: guessed from the environment's.
        frame_skip: steps of the environment for one of the world; an action should move things by
            more than a pixel in a frame.
        state: from the environment, unwrapped, to numbers with names; it makes the evaluation
            sharper.
        horizon: steps of the world after which an episode is truncated; None: the environment's
            own limit, at most 256.
        make_kwargs: of the environment.
        more: ``explore``, from the environment, unwrapped, and a random generator to an action of
            the world; and everything else that a `WorldDefinition` has, such as ``fps``, or
            ``action_vectors`` for a `Menu` over continuous actions.

    Raises:
        DefinitionError: if the environment cannot be made or drawn, or its actions cannot be said;
            the text says what to do.
        MissingExtraError: if one of Gymnasium's own environments lacks its package.
    """
    with as_definition_error():
        check_str("env_id", env_id)
        check_frame_size(frame_size)
        check_int("frame_skip", frame_skip, least=1, most=MAX_FRAME_SKIP)
        if horizon is not None:
            check_int("horizon", horizon, least=1, most=MAX_HORIZON)
    kwargs = dict(make_kwargs or {})
    explore = more.pop("explore", None)
    facts = gym_facts(env_id, kwargs, frame_size=frame_size, actions=actions, state=state)
    language = actions or facts.guessed_actions
    assert language is not None
    vectors = more.get("action_vectors", ())
    settings = GymSettings(
        env_id=env_id,
        actions=language,
        frame_size=frame_size,
        frame_skip=frame_skip,
        make_kwargs=kwargs,
        action_vectors=vectors,
        image_key=facts.image_key,
        state=state,
        explore=explore,
    )
    steps = horizon or guessed_horizon(facts.max_steps, frame_skip)
    fields = {
        "fps": facts.fps / frame_skip,
        "tasks": {TASK: EnvironmentTask(horizon=steps, about=f"the reward of {env_id}")},
        "state_names": facts.state_names,
        "make_simulator": partial(GymSimulator, settings),
        **more,
    }
    definition = WorldDefinition(name=name, frame_size=frame_size, actions=language, **fields)
    check_definition(definition, definition.starts)
    ActionTranslator(language, facts.actions, vectors)
    return definition


def gym_facts(
    env_id: str,
    make_kwargs: Mapping[str, Any],
    *,
    frame_size: tuple[int, int] = (64, 64),
    actions: ActionLanguage | None = None,
    state: StateFunction | None = None,
) -> GymFacts:
    """Return what an environment tells of itself; nothing is drawn.

    Args:
        env_id: see `gym_world`.
        make_kwargs: likewise.
        frame_size: likewise.
        actions: likewise.
        state: likewise.

    Raises:
        DefinitionError: see `gym_world`.
        MissingExtraError: likewise.
    """
    env = make_env(env_id, make_kwargs)
    try:
        key = image_key(env.observation_space, frame_size)
        if key is None and not renders(env):
            raise _cannot_be_drawn(env, env_id)
        return GymFacts(
            actions=env.action_space,
            guessed_actions=guess_actions(env, env_id) if actions is None else None,
            fps=float(env.metadata.get("render_fps") or DEFAULT_FPS),
            max_steps=_time_limit(env_id),
            image_key=key,
            state_names=_state_names(env, env_id, state),
        )
    finally:
        env.close()


def guessed_horizon(max_steps: int | None, frame_skip: int) -> int:
    """Return the horizon of a world.

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
        return tuple(state(env.unwrapped))
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
