"""Making Gymnasium environments whose frames can be had, on machines without a display, too."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from streamdit_gym.checks import shown
from streamdit_gym.errors import DefinitionError, MissingExtraError

Env = gymnasium.Env[Any, Any]
Prepare = Callable[[Any], None]

RGB_ARRAY = "rgb_array"
EXTRA = "gym"  # brings the simulators below
# Gymnasium's own rooms, and the package that each of them needs
PACKAGES = {
    "gymnasium.envs.mujoco": "mujoco",
    "gymnasium.envs.box2d": "box2d",
    "gymnasium.envs.classic_control": "pygame",
    "gymnasium.envs.toy_text": "pygame",
}
# packages of other people's environments, by the module that ids name, and their extras
EXTRAS = {"vizdoom": ("vizdoom", "doom"), "gymnasium_robotics": ("gymnasium-robotics", "fetch")}
# how libraries draw without a display
HEADLESS = {"MUJOCO_GL": "egl", "PYGLET_HEADLESS": "true", "SDL_VIDEODRIVER": "dummy"}
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")
# MuJoCo draws so many pixels for each one of a frame's side; area averaging smooths the edges
MUJOCO_OVERSAMPLING = 2
# Observed pictures are there already, and rendering takes time: they may be a little smaller.
MIN_IMAGE_SHARE = 0.75
WARM_UP_SEED = 0


def make_env(
    env_id: str,
    make_kwargs: Mapping[str, Any],
    render_mode: str | None = None,
    prepare: Prepare | None = None,
) -> Env:
    """Make an environment without its time limit: a world has its own horizon.

    Args:
        env_id: as `gymnasium.make` takes it; ``"module:Id-v0"`` imports the module first.
        make_kwargs: of the environment.
        render_mode: how it is drawn; None: not at all.
        prepare: is called with the environment, unwrapped, before its first reset.

    Raises:
        MissingExtraError: if one of Gymnasium's own environments lacks its package.
        DefinitionError: if it cannot be made or prepared.
    """
    _draw_without_display()
    kwargs = dict(make_kwargs)
    if render_mode is not None:
        kwargs["render_mode"] = render_mode
    try:
        env = gymnasium.make(env_id, max_episode_steps=-1, disable_env_checker=True, **kwargs)
        if prepare is not None:
            prepare(env.unwrapped)
        return env
    except gymnasium.error.UnregisteredEnv as error:
        raise DefinitionError(
            "Gymnasium knows no such environment",
            given=f"{env_id}: {error}",
            allowed='an id such as "Reacher-v5", or "module:Id-v0" for one that a module registers',
            remedy="install its package, and name the module before the id",
        ) from error
    except (gymnasium.error.DependencyNotInstalled, ImportError) as error:
        raise _missing_package(env_id, error) from error
    except Exception as error:  # anybody may have written the environment
        raise cannot_be_made(env_id, error) from error


def make_rendered(
    env_id: str,
    make_kwargs: Mapping[str, Any],
    frame_size: tuple[int, int],
    *,
    render: bool,
    prepare: Prepare | None = None,
) -> tuple[Env, Any]:
    """Make an environment that draws, and return it with the observation of a first reset.

    It is reset and drawn once with one and the same seed: some renderers take their camera from the
    first picture that they draw.

    Args:
        env_id: see `make_env`.
        make_kwargs: likewise.
        frame_size: height and width of the frames that are made of its pictures.
        render: whether pictures are rendered; else they are the observations.
        prepare: see `make_env`.

    Raises:
        MissingExtraError: see `make_env`.
        DefinitionError: if it cannot be made, prepared, reset or drawn.
    """
    env = make_env(env_id, make_kwargs, RGB_ARRAY if render else None, prepare)
    has_own_size = not {"width", "height"}.isdisjoint(make_kwargs)
    try:
        if is_mujoco(env):
            _draw_mujoco_fast(env, None if has_own_size else frame_size)
        observation, _ = env.reset(seed=WARM_UP_SEED)
        if render:
            rendered(env)
    except Exception as error:  # anybody may have written the environment
        raise cannot_be_made(env_id, error) from error
    return env, observation


def rendered(env: Env) -> Any:
    """Return what an environment draws, in whichever thread and beside whichever others.

    MuJoCo draws with the context that is current in the thread, another environment's or none.
    """
    viewer = _mujoco_viewer(env)
    if viewer is not None:
        viewer.make_context_current()
    pixels = env.render()
    if getattr(_mujoco_viewer(env), "backend", "") == "egl":
        from OpenGL import EGL

        EGL.eglReleaseThread()  # a context is current in one thread at most
    return pixels


def _mujoco_viewer(env: Env) -> Any:
    """Return what draws a MuJoCo environment; None: another one, or it has drawn nothing yet."""
    renderer = getattr(env.unwrapped, "mujoco_renderer", None)
    return getattr(renderer, "viewer", None)


def is_mujoco(env: Env) -> bool:
    """Return whether an environment is simulated by MuJoCo."""
    mujoco = sys.modules.get("mujoco")
    data = getattr(env.unwrapped, "data", None)
    return mujoco is not None and isinstance(data, mujoco.MjData)


def renders(env: Env) -> bool:
    """Return whether an environment can be drawn."""
    modes = env.metadata.get("render_modes") or ()
    return RGB_ARRAY in modes


def image_key(space: spaces.Space[Any], frame_size: tuple[int, int]) -> str | None:
    """Return where in an observation there is a picture that is large enough for frames.

    Returns:
        "" for the observation itself, a key of a dictionary, or None if there is none.
    """
    if _is_image(space, frame_size):
        return ""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            if _is_image(part, frame_size):
                return key
    return None


def cannot_be_made(env_id: str, error: Exception) -> DefinitionError:
    """Return the error that an environment does not start."""
    return DefinitionError(
        "the environment cannot be made, reset and drawn",
        given=f"{env_id}: {type(error).__name__}: {error}",
        allowed="an environment of which gymnasium.make(...), reset() and render() work",
        remedy="try these calls by themselves; arguments go into make_kwargs",
    )


def _missing_package(env_id: str, error: Exception) -> Exception:
    module = env_id.split(".")[0].split(":")[0]
    if module in EXTRAS and find_spec(module) is None:
        package, extra = EXTRAS[module]
        return MissingExtraError(package, extra, f"the environment {env_id}")
    spec = gymnasium.registry.get(env_id.split(":")[-1])
    entry_point = str(spec.entry_point) if spec is not None else ""
    for room, package in PACKAGES.items():
        if entry_point.startswith(room):
            return MissingExtraError(package, EXTRA, f"the environment {env_id}")
    return DefinitionError(
        "the environment needs a package",
        given=f"{env_id}: {error}",
        allowed="an environment that gymnasium.make(...) makes",
        remedy="install the package that the text names",
    )


def _draw_without_display() -> None:
    """Let libraries draw off screen where there is no display; what the user has set is kept."""
    is_headless = not any(os.environ.get(name) for name in DISPLAYS)
    if sys.platform.startswith("linux") and is_headless:
        for name, value in HEADLESS.items():
            os.environ.setdefault(name, value)


def _draw_mujoco_fast(env: Env, frame_size: tuple[int, int] | None) -> None:
    """Switch shadows off and draw small pictures: many times faster without a graphics card.

    Args:
        env: has not drawn anything yet.
        frame_size: height and width of frames; None: pictures keep their size.
    """
    unwrapped: Any = env.unwrapped
    unwrapped.model.vis.quality.shadowsize = 0
    renderer = getattr(unwrapped, "mujoco_renderer", None)
    if renderer is None or frame_size is None:
        return
    height, width = (MUJOCO_OVERSAMPLING * side for side in frame_size)
    renderer.width = width
    renderer.height = height
    buffer = unwrapped.model.vis.global_
    buffer.offwidth = max(buffer.offwidth, width)
    buffer.offheight = max(buffer.offheight, height)


def _is_image(space: spaces.Space[Any], frame_size: tuple[int, int]) -> bool:
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return False
    height, width, channels = space.shape
    share = min(height / frame_size[0], width / frame_size[1])
    return channels == 3 and share >= MIN_IMAGE_SHARE


def picture_of(pixels: Any, env_id: str) -> np.ndarray:
    """Return what an environment has drawn as uint8 RGB.

    Raises:
        DefinitionError: if it is no picture.
    """
    is_array = isinstance(pixels, np.ndarray)
    if not is_array or pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] < 3:
        given = f"{pixels.dtype} {pixels.shape}" if is_array else shown(pixels)
        raise DefinitionError(
            "the environment returns no picture",
            given=f"{env_id}: {given}",
            allowed="an array uint8 (height, width, 3) from render() or as observation",
            remedy='make it with what its render_mode "rgb_array" needs, see make_kwargs',
        )
    return pixels[..., :3]
