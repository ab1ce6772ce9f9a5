"""The simulator of Crossroads as a candidate that draws futures, and worlds that draw wrongly."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar

import numpy as np

from streamdit_gym.envs.crossroads.definition import SPEC
from streamdit_gym.envs.crossroads.simulator import CrossroadsSimulator
from streamdit_gym.evaluate.candidate import Actions, Frames, Prompts, Rollout
from streamdit_gym.evaluate.real_futures import CONTEXT_FRAMES

AVERAGED_FUTURES = 12
SEED = 77  # of the futures that candidates draw; no test draws real ones with it


class RememberingCrossroads(CrossroadsSimulator):
    """The simulator, remembering how to come back to the end of an episode's first frames."""

    memory: ClassVar[dict[bytes, dict[str, Any]]] = {}
    frames: list[np.ndarray]

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        self.frames = []
        return self._remember(super().reset(rng, start))

    def step(self, action: Any) -> np.ndarray:
        return self._remember(super().step(action))

    def restore(self, saved: dict[str, Any]) -> None:
        super().restore(saved)
        self.frames = [np.zeros(0)] * CONTEXT_FRAMES

    def _remember(self, frame: np.ndarray) -> np.ndarray:
        if len(self.frames) < CONTEXT_FRAMES:
            self.frames.append(frame)
            self.memory[np.stack(self.frames).tobytes()] = self.save()
        return frame


class TrueSampler:
    """Draws futures as chance does. Its subclasses draw wrongly, in one way each."""

    spec = SPEC
    partition_name = "replayed"
    latency_frames = 0

    def roll_out(
        self, context: Frames, prompts: Prompts, seed: int = 0, actions: Actions | None = None
    ) -> Rollout:
        phrases = [phrases[0] for phrases in SPEC.menu]
        known = context.shape[1] - 1
        futures = [
            self.future(frames, [phrases.index(prompt) for prompt in texts[known:]], seed + row)
            for row, (frames, texts) in enumerate(zip(context, prompts, strict=True))
        ]
        frames = np.stack(futures)
        return Rollout(frames=frames, scores=np.zeros((*frames.shape[:2], 0), np.float32))

    def future(self, context: np.ndarray, actions: list[int], seed: int) -> np.ndarray:
        return draw_future(context, actions, (SEED, seed))

    def latents(self, frames: Frames) -> np.ndarray:
        return frames / np.float32(255)


class MeanOfFutures(TrueSampler):
    """Shows the mean of many futures, always the same one."""

    def future(self, context: np.ndarray, actions: list[int], seed: int) -> np.ndarray:
        futures = [draw_future(context, actions, (SEED, i)) for i in range(AVERAGED_FUTURES)]
        return np.mean(futures, axis=0).round().astype(np.uint8)


class OneFuture(TrueSampler):
    """Shows a possible future, always the same one."""

    def future(self, context: np.ndarray, actions: list[int], seed: int) -> np.ndarray:
        return draw_future(context, actions, (SEED, 0))


class BlendOfTwo(TrueSampler):
    """Shows two futures in one frame, half transparent."""

    def future(self, context: np.ndarray, actions: list[int], seed: int) -> np.ndarray:
        futures = [draw_future(context, actions, (SEED, seed, i)) for i in (1, 2)]
        return np.mean(futures, axis=0).round().astype(np.uint8)


class OtherOdds(TrueSampler):
    """Draws whole futures, but hardly any in which the ball goes to the right."""

    def future(self, context: np.ndarray, actions: list[int], seed: int) -> np.ndarray:
        from streamdit_gym.envs.crossroads.marks import ball_outcome

        for attempt in range(1, 8):
            frames = draw_future(context, actions, (SEED, seed, attempt))
            if ball_outcome(frames) != "right":
                break
        return frames


def draw_future(context: np.ndarray, actions: list[int], seed: tuple[int, ...]) -> np.ndarray:
    """Return a real future of frames that the simulator has shown."""
    return _draw_future(context.tobytes(), tuple(actions), seed)


@cache
def _draw_future(context: bytes, actions: tuple[int, ...], seed: tuple[int, ...]) -> np.ndarray:
    simulator = CrossroadsSimulator()
    simulator.restore(RememberingCrossroads.memory[context])
    simulator.reseed(np.random.default_rng(seed))
    return np.stack([simulator.step(action) for action in actions])
