"""Any Gymnasium environment as a world's reference simulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from streamdit_gym.actions import ActionLanguage
from streamdit_gym.definition import StepOutcome
from streamdit_gym.envs.gym_actions import ActionTranslator
from streamdit_gym.envs.gym_crop import WHOLE_PICTURE, Crop, cropped, resized, uncropped_size
from streamdit_gym.envs.gym_making import (
    WARM_UP_SEED,
    Env,
    Prepare,
    is_mujoco,
    make_rendered,
    picture_of,
    rendered,
)
from streamdit_gym.envs.gym_saved_state import refused, restore_mujoco, save_mujoco
from streamdit_gym.errors import NotReadyError

Frame = UInt8[np.ndarray, "h w 3"]
# From the environment, unwrapped, to named numbers.
StateFunction = Callable[[Any], Mapping[str, float]]
# From the environment, unwrapped, and a source of randomness to an action of the world.
ExplorationFunction = Callable[[Any, np.random.Generator], Any]
MAX_SEED = 2**31 - 1
ANGLE_SUFFIX = "_rad"


def named_state(state: StateFunction, env: Any) -> dict[str, float]:
    """Return what a state function tells of an environment.

    An angle in radians, ``elbow_rad``, becomes its cosine and sine, so that a full turn is no jump.
    """
    numbers: dict[str, float] = {}
    for name, value in state(env.unwrapped).items():
        angle = name.removesuffix(ANGLE_SUFFIX)
        if angle == name:
            numbers[name] = value
        else:
            numbers[f"{angle}_cos"] = np.cos(value)
            numbers[f"{angle}_sin"] = np.sin(value)
    return numbers


@dataclass(frozen=True, kw_only=True)
class GymSettings:
    """How an environment becomes a simulator.

    Attributes:
        env_id: as `gymnasium.make` takes it.
        actions: the world's; None: they are guessed before a simulator is made.
        frame_size: height and width of frames.
        frame_skip: steps of the environment for one of the world.
        make_kwargs: of the environment.
        action_vectors: each action of a menu as numbers, where the environment's are a box.
        crop: what of the environment's picture is shown: its top, bottom, left and right edge, as
            shares of the picture's height and width.
        image_key: where frames are in observations, "" for the observation itself; None: they are
            rendered.
        prepare: what is done to the environment, unwrapped, before its first reset, such as to draw
            a thing larger; what a reset builds anew is lost. None: nothing.
        state: from the environment, unwrapped, to its true state; None: it tells none.
        explore: from the environment, unwrapped, and a random generator to an action of the world;
            None: random actions that are held for some frames.
    """

    env_id: str
    actions: ActionLanguage | None = None
    frame_size: tuple[int, int] = (64, 64)
    frame_skip: int = 1
    make_kwargs: Mapping[str, Any] = field(default_factory=dict)
    action_vectors: tuple[tuple[float, ...], ...] = ()
    crop: Crop = WHOLE_PICTURE
    image_key: str | None = None
    prepare: Prepare | None = None
    state: StateFunction | None = None
    explore: ExplorationFunction | None = None


class GymSimulator:
    """A Gymnasium environment; `streamdit_gym.definition.Simulator` has the protocol.

    The environment is made when it is first needed. The simulator tells a state, or explores, only
    if the settings have a function for it.
    """

    def __init__(self, settings: GymSettings) -> None:
        self.settings = settings
        self._made: Env | None = None
        self._translator: ActionTranslator | None = None
        self._observation: Any = None
        self._seed: int | None = None
        self._actions: list[Any] = []  # since the reset
        self._reseeds: list[tuple[int, int]] = []  # numbers of actions, and seeds from there on
        self._outcome = StepOutcome(0.0, False)
        # abilities are looked for in the instance, see `definition.HasState`
        if settings.state is not None:
            self.state = self._state
        if settings.explore is not None:
            self.explore = self._explore

    def reset(self, rng: np.random.Generator, start: str) -> Frame:
        """Reset the environment with a seed of its own and return the first frame.

        Args:
            rng: draws the seed.
            start: an environment knows one kind of start.
        """
        self._reset(int(rng.integers(MAX_SEED)))
        return self._frame()

    def step(self, action: Any) -> Frame:
        """Take an action for `frame_skip` steps of the environment and return the next frame."""
        self._step(action)
        return self._frame()

    def outcome(self) -> StepOutcome:
        """Return the reward, summed over the environment's steps, and the end of the last step."""
        return self._outcome

    def save(self) -> dict[str, Any]:
        """Return MuJoCo's state; of other environments, how to come to this state."""
        if self._seed is None:
            raise NotReadyError("save before reset", remedy="reset the simulator first")
        saved: dict[str, Any] = {"outcome": list(self._outcome)}
        if is_mujoco(self._env):
            saved["mujoco"] = save_mujoco(self._env)
        else:
            actions = [np.asarray(action).tolist() for action in self._actions]
            reseeds = [list(reseed) for reseed in self._reseeds]
            saved["replay"] = {"seed": self._seed, "actions": actions, "reseeds": reseeds}
        return saved

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state.

        Raises:
            ArgumentError: if it is no saved state of this environment.
        """
        kind = "mujoco" if is_mujoco(self._env) else "replay"
        if not isinstance(saved, dict) or kind not in saved:
            raise refused(saved)
        if kind == "mujoco":
            if self._seed is None:
                self._reset(WARM_UP_SEED)
            restore_mujoco(self._env, saved[kind])
        else:
            self._replay(**saved[kind])
        reward, terminated = saved["outcome"]
        self._outcome = StepOutcome(float(reward), bool(terminated))

    def reseed(self, rng: np.random.Generator) -> None:
        """Let another generator decide what the environment draws from its own one, `np_random`.

        Args:
            rng: draws the seed of a new one.

        Raises:
            NotReadyError: before the first reset.
        """
        if self._seed is None:
            raise NotReadyError("reseed before reset", remedy="reset the simulator first")
        self._set_random_seed(int(rng.integers(MAX_SEED)))

    def close(self) -> None:
        """Close the environment."""
        if self._made is not None:
            self._made.close()
            self._made = None

    @property
    def _env(self) -> Env:
        if self._made is None:
            settings = self.settings
            self._made, self._observation = make_rendered(
                settings.env_id,
                settings.make_kwargs,
                uncropped_size(settings.frame_size, settings.crop),
                render=settings.image_key is None,
                prepare=settings.prepare,
            )
        return self._made

    def _reset(self, seed: int) -> None:
        self._observation, _ = self._env.reset(seed=seed)
        self._seed = seed
        self._actions = []
        self._reseeds = []
        self._outcome = StepOutcome(0.0, False)

    def _set_random_seed(self, seed: int) -> None:
        self._reseeds.append((len(self._actions), seed))
        self._env.unwrapped.np_random = np.random.default_rng(seed)

    def _replay(self, seed: int, actions: list[Any], reseeds: Sequence[Sequence[int]] = ()) -> None:
        """Come to a state as the episode did; every frame is drawn, as drawing may change things.

        LunarLander's sparks, for example, fade when they are drawn.
        """
        self._reset(seed)
        self._frame()
        for step, action in enumerate(actions):
            self._set_random_seeds(reseeds, step)
            self._step(action)
            self._frame()
        self._set_random_seeds(reseeds, len(actions))

    def _set_random_seeds(self, reseeds: Sequence[Sequence[int]], step: int) -> None:
        for at, seed in reseeds:
            if at == step:
                self._set_random_seed(seed)

    def _step(self, action: Any) -> None:
        if self._translator is None:
            settings = self.settings
            assert settings.actions is not None
            self._translator = ActionTranslator(
                settings.actions, self._env.action_space, settings.action_vectors
            )
        env_action = self._translator.translate(action)
        self._actions.append(action)
        reward = 0.0
        terminated = False
        for _ in range(self.settings.frame_skip):
            self._observation, gained, terminated, _, _ = self._env.step(env_action)
            reward += float(gained)
            if terminated:
                break
        self._outcome = StepOutcome(reward, bool(terminated))

    def _frame(self) -> Frame:
        settings = self.settings
        if settings.image_key is None:
            pixels = rendered(self._env)
        elif settings.image_key:
            pixels = self._observation[settings.image_key]
        else:
            pixels = self._observation
        picture = cropped(picture_of(pixels, settings.env_id), settings.crop)
        return resized(picture, settings.frame_size)

    def _state(self) -> Float[np.ndarray, " n"]:
        assert self.settings.state is not None
        numbers = named_state(self.settings.state, self._env)
        return np.array(list(numbers.values()), dtype=np.float32)

    def _explore(self, rng: np.random.Generator) -> Any:
        assert self.settings.explore is not None
        return self.settings.explore(self._env.unwrapped, rng)
