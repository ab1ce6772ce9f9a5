"""Endless streams that text steers while they run: in Python, in a window, on a page."""

from streamdit_gym.live import stream_frame
from streamdit_gym.live.iterate_frames import stream
from streamdit_gym.live.live_stream import Live, LiveStream
from streamdit_gym.live.open_live_stream import OpenLiveStream
from streamdit_gym.live.renamed import warn_renamed
from streamdit_gym.live.stream_frame import BufferSlot, StreamFrame

__all__ = ["BufferSlot", "Live", "LiveStream", "OpenLiveStream", "StreamFrame", "stream"]

_RENAMED = {"Shown": "StreamFrame", "Slot": "BufferSlot"}


def __getattr__(name: str) -> type:
    """Return a class by its former name."""
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warn_renamed(name, _RENAMED[name])
    renamed: type = getattr(stream_frame, _RENAMED[name])
    return renamed
