"""The simulator: some lines of NumPy."""

from typing import Any

import numpy as np

from streamdit_gym.definition import StepOutcome

SIZE = 64  # px
PUCK_RADIUS = 5.0
RING_RADIUS = 7.0
RING_WIDTH = 1.5
PUSH = 1.0  # px a frame, of a full push, by which the puck gets faster
GLIDE = 0.85  # share of the speed that is left after a frame
ICE = np.array((225, 235, 245))
PUCK_COLOUR = np.array((200, 50, 40))
RING_COLOUR = np.array((40, 110, 190))


class PuckSimulator:
    """A puck, a ring, and a reward for coming nearer."""

    def reset(self, rng: np.random.Generator, start: str) -> np.ndarray:
        """Put puck and ring anywhere, apart from each other."""
        self._puck, self._ring = rng.uniform(10, SIZE - 10, (2, 2))
        while self._distance() < 3 * RING_RADIUS:
            self._ring = rng.uniform(10, SIZE - 10, 2)
        self._speed = np.zeros(2)
        self._outcome = StepOutcome(0.0, False)
        return self._draw()

    def step(self, action: Any) -> np.ndarray:
        """Push the puck sideways and upwards; it bounces off the borders."""
        before = self._distance()
        sideways, upwards = action
        self._speed = GLIDE * self._speed + PUSH * np.array((sideways, -upwards))
        place = self._puck + self._speed
        self._puck = np.clip(place, PUCK_RADIUS, SIZE - PUCK_RADIUS)
        self._speed[place != self._puck] *= -1
        after = self._distance()
        self._outcome = StepOutcome((before - after) / 10, bool(after < RING_RADIUS - PUCK_RADIUS))
        return self._draw()

    def outcome(self) -> StepOutcome:
        """Return the reward of the last step, and whether the puck is in the ring."""
        return self._outcome

    def state(self) -> np.ndarray:
        """Return where puck and ring are."""
        return np.array([*self._puck, *self._ring], dtype=np.float32)

    def save(self) -> dict[str, Any]:
        """Return all that `restore` needs."""
        places = {"puck": self._puck, "ring": self._ring, "speed": self._speed}
        numbers = {name: place.tolist() for name, place in places.items()}
        return {**numbers, "outcome": tuple(self._outcome)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self._puck, self._ring, self._speed = (
            np.array(saved[name]) for name in ("puck", "ring", "speed")
        )
        self._outcome = StepOutcome(*saved["outcome"])

    def close(self) -> None:
        """Free nothing."""

    def _distance(self) -> float:
        return float(np.linalg.norm(self._puck - self._ring))

    def _draw(self) -> np.ndarray:
        """Draw with soft edges: they keep places finer than a pixel."""
        frame = np.broadcast_to(ICE, (SIZE, SIZE, 3))
        to_ring = _distances(self._ring)
        frame = _painted(frame, RING_WIDTH - np.abs(to_ring - RING_RADIUS), RING_COLOUR)
        frame = _painted(frame, PUCK_RADIUS - _distances(self._puck), PUCK_COLOUR)
        return frame.round().astype(np.uint8)


def _distances(place: np.ndarray) -> np.ndarray:
    """Return how far every pixel's middle is from a place."""
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    return np.hypot(columns - place[0], rows - place[1])


def _painted(frame: np.ndarray, depth: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Paint where a shape's depth (px inside its edge) is positive."""
    cover = np.clip(depth + 0.5, 0, 1)[..., None]
    return (1 - cover) * frame + cover * colour
