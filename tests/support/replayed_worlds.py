"""The reference simulator of PushT as a candidate, and worlds that fail in known ways."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from streamdit_gym.definition import WorldSpec
from streamdit_gym.envs.pusht.definition import SPEC
from streamdit_gym.envs.pusht.phrases import UNSEEN_PHRASES
from streamdit_gym.envs.pusht.simulator import PushTSimulator
from streamdit_gym.evaluate.candidate import (
    Actions,
    Frames,
    Prompts,
    Rollout,
)

ACTION_OF = {
    phrase: action
    for action in range(len(SPEC.menu))
    for phrase in (*SPEC.menu[action], *UNSEEN_PHRASES[action])
}


class RememberingSimulator(PushTSimulator):
    """The simulator, remembering how to come back to every frame it ever showed."""

    memory: ClassVar[dict[bytes, tuple[Any, np.ndarray]]] = {}

    def _small_frame(self, large: np.ndarray) -> np.ndarray:
        frame = super()._small_frame(large)
        self.memory[frame.tobytes()] = (self.save(), self.scores())
        return frame


class PerfectWorld:
    """The reference simulator as a candidate. Its subclasses fail in one way each."""

    spec: WorldSpec = SPEC
    partition_name = "replayed"
    latency_frames = 0

    def action(self, row: int, step: int, prompt: str) -> int:
        return ACTION_OF[prompt]

    def show(self, frames: np.ndarray) -> np.ndarray:
        return frames

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        simulator = RememberingSimulator()
        known = context.shape[1] - 1
        frames = []
        scores = []
        for row, episode in enumerate(prompts):
            saved, _ = RememberingSimulator.memory[context[row, -1].tobytes()]
            simulator.restore(saved)
            episode_frames = []
            episode_scores = []
            for step, prompt in enumerate(episode[known:]):
                episode_frames.append(simulator.step(self.action(row, step, prompt)))
                episode_scores.append(simulator.scores())
            frames.append(self.show(np.stack(episode_frames)))
            scores.append(np.stack(episode_scores))
        simulator.close()
        return Rollout(frames=np.stack(frames), scores=np.stack(scores))

    def reconstruct(self, frames: Frames) -> Frames:
        return frames

    def latents(self, frames: Frames) -> np.ndarray:
        return frames / np.float32(255)

    def read(self, frames: Frames) -> np.ndarray:
        memory = RememberingSimulator.memory
        return np.stack([np.stack([memory[frame.tobytes()][1] for frame in row]) for row in frames])

    def read_outcomes(self, frames: Frames, actions: Actions) -> None:
        return None


class DeafWorld(PerfectWorld):
    """Does what it likes."""

    def action(self, row: int, step: int, prompt: str) -> int:
        return (row + step // 6) % 9


class FadingWorld(PerfectWorld):
    """Turns white."""

    def show(self, frames: np.ndarray) -> np.ndarray:
        steps = np.arange(1, len(frames) + 1)
        contrast = np.clip(1 - steps / 80, 0, 1)[:, None, None, None]
        return (255 - contrast * (255.0 - frames)).round().astype(np.uint8)


class FrozenWorld(PerfectWorld):
    """Never moves."""

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        steps = len(prompts[0]) - context.shape[1] + 1
        last = context[:, -1:]
        return Rollout(frames=last.repeat(steps, 1), scores=self.read(last).repeat(steps, 1))


def random_frames(episodes: int, frames: int) -> np.ndarray:
    shape = (episodes, frames, 64, 64, 3)
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
