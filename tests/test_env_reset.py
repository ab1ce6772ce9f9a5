"""What `reset` takes: seeds, options, start frames; anything else changes nothing."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.envs import assert_nothing_changed

from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.errors import (
    ArgumentError,
    ShapeError,
    StreamDiTError,
    UnknownNameError,
)
from streamdit_gym.generate.start_frames import start_images

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"


@pytest.mark.parametrize(
    "seed",
    [
        "a",
        "12",
        3.0,
        True,
        -1,
        math.nan,
        {1, 2},
        {0: 1},
        b"12",
        [1.5, "7"],
        [1, True],
        [1, -1],
        [1],
        10**50,
        np.array(3.0),
    ],
    ids=str,
)
def test_a_seed_that_is_none_changes_nothing(
    seed: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(StreamDiTError, match="allowed"):
        envs.reset(seed=seed)
    assert_nothing_changed(envs, untouched)


def test_a_single_environment_takes_any_whole_number_as_its_seed(tiny_bundle: str) -> None:
    env = StreamDiTEnv(world=tiny_bundle)
    first, _ = env.reset(seed=7)
    assert (env.reset(seed=np.int64(7))[0] == first).all()
    assert env.reset(seed=2**64)[0].shape == (64, 64, 3), "as large as Minari's"
    for seed in ("7", 7.0, [7], True, -7):
        with pytest.raises(ArgumentError, match="seed cannot be used"):
            env.reset(seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [5, [("init", None)], "init", {"reset_masc": 1}, {"inlt": 1}, {"Reset_Mask": 1}, {"INIT": 1}],
    ids=str,
)
def test_options_that_are_none_or_almost_ours_change_nothing(
    options: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises((ArgumentError, UnknownNameError), match="allowed"):
        envs.reset(seed=3, options=options)
    assert_nothing_changed(envs, untouched)


@pytest.mark.parametrize(
    "options",
    [{"minari_autoseed": False}, {"hello": 1}, {"seed": 1}, {1: 0}, {None: 0}, {}],
    ids=str,
)
def test_options_of_other_programs_are_ignored(
    options: dict[Any, Any], envs: StreamDiTVectorEnv
) -> None:
    first, _ = envs.reset(seed=5)
    assert (envs.reset(seed=5, options=options)[0] == first).all()


def test_near_options_get_the_nearest_name(envs: StreamDiTVectorEnv) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'reset_mask'"):
        envs.reset(options={"reset_masc": np.array([True, False])})


def test_read_only_start_frames_are_copied(envs: StreamDiTVectorEnv) -> None:
    frame = np.full((64, 64, 3), 200, np.uint8)
    frame.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs.reset(options={"init": frame})
        envs.reset(options={"init": np.broadcast_to(frame, (2, 1, 64, 64, 3))})


def test_start_frames_with_alpha_are_refused(
    envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(ShapeError, match="alpha"):
        envs.reset(seed=3, options={"init": np.zeros((64, 64, 4), np.uint8)})
    assert_nothing_changed(envs, untouched)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_with_alpha_are_laid_on_white(tmp_path: Path, dtype: type) -> None:
    most = np.iinfo(dtype).max
    picture = np.zeros((64, 64, 4), dtype)
    picture[..., 2] = most  # red, in OpenCV's order
    picture[:32, :, 3] = most  # above; below it is hidden
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (frame,) = start_images(tmp_path, (64, 64))
    assert (frame[:32] == [255, 0, 0]).all()
    assert (frame[32:] == 255).all()
