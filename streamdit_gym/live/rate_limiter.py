"""How many messages a viewer may send."""

from __future__ import annotations

import time

RATE_PER_S = 40.0
BURST = 100.0  # after a while of silence
MAX_REFUSED = 400  # messages above the limit, until the viewer is disconnected


class RateLimiter:
    """A token bucket: each message takes tokens, and time refills them."""

    def __init__(self) -> None:
        self.num_refused = 0
        self._tokens = BURST
        self._updated_at = time.monotonic()

    def allow(self, cost: int = 1) -> bool:
        """Return whether a message that costs so many tokens may pass."""
        now = time.monotonic()
        refill = (now - self._updated_at) * RATE_PER_S
        self._tokens = min(BURST, self._tokens + refill)
        self._updated_at = now
        if self._tokens < cost:
            self.num_refused += 1
            return False
        self._tokens -= cost
        self.num_refused = max(0, self.num_refused - 1)
        return True
