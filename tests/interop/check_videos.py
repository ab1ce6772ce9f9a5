"""Films of Gymnasium's RecordVideo and Stable-Baselines3's VecVideoRecorder have the world's 10
frames a second.

They need moviepy and run where it is installed, see run.py.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import gymnasium
import numpy as np
from gymnasium.wrappers import RecordVideo
from gymnasium.wrappers.vector import RecordVideo as VectorRecordVideo
from stable_baselines3.common.vec_env import VecVideoRecorder

from streamdit_gym.agents.sb3_vec_env import SB3VecEnv

ID = "streamdit_gym:StreamDiT/PushT-v0"
HORIZON = 6


def record_single(folder: Path) -> None:
    """Film one episode of one environment."""
    env = gymnasium.make(ID, horizon=HORIZON, render_mode="rgb_array")
    env = RecordVideo(env, str(folder), episode_trigger=lambda episode: episode == 0)
    env.reset(seed=0)
    for _ in range(HORIZON):
        env.step(0)
    env.close()


def record_vector(folder: Path) -> None:
    """Film one episode of a batch."""
    envs = gymnasium.make_vec(ID, num_envs=2, horizon=HORIZON, render_mode="rgb_array")
    envs = VectorRecordVideo(envs, str(folder), episode_trigger=lambda episode: episode == 0)
    envs.reset(seed=0)
    for _ in range(HORIZON):
        envs.step(np.zeros(2, dtype=int))
    envs.close()


def record_sb3(folder: Path) -> None:
    """Film as many steps of a batch under Stable-Baselines3."""
    envs = gymnasium.make_vec(ID, num_envs=2, horizon=HORIZON, render_mode="rgb_array")
    venv = VecVideoRecorder(SB3VecEnv(envs), str(folder), lambda step: step == 0, HORIZON)
    venv.reset()
    for _ in range(HORIZON + 1):
        venv.step(np.zeros(2, dtype=int))
    venv.close()


def check_film(folder: Path) -> None:
    """Check the folder's only film."""
    (path,) = folder.glob("*.mp4")
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FPS) == 10, path
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == HORIZON + 1, path


def main() -> None:
    """Record and check three films."""
    with TemporaryDirectory() as folder:
        for record in (record_single, record_vector, record_sb3):
            subfolder = Path(folder) / record.__name__
            record(subfolder)
            check_film(subfolder)
    versions = f"Gymnasium {gymnasium.__version__}, SB3 {version('stable-baselines3')}"
    print(f"{versions} | render_mode='rgb_array'; RecordVideo (single, vector), VecVideoRecorder")


if __name__ == "__main__":
    main()
