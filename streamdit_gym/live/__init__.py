"""A stream that never ends, steered by text while it runs: in Python, in a window, on a page."""

from streamdit_gym.live.stream import Live, Shown, Slot, stream

__all__ = ["Live", "Shown", "Slot", "stream"]
