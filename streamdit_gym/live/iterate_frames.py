"""A stream as a Python iterator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from streamdit_gym.live.live_stream import RENAMED_SETTINGS, LiveStream
from streamdit_gym.live.open_live_stream import OpenLiveStream
from streamdit_gym.live.renamed import rename_settings
from streamdit_gym.live.stream_frame import StreamFrame
from streamdit_gym.live.stream_protocol import SteeredStream
from streamdit_gym.open_weights.open_streams import OpenModel
from streamdit_gym.world import World


def stream(
    source: World | OpenModel, prompts: Iterable[str] | Callable[[], str], **settings: Any
) -> Iterator[StreamFrame]:
    """Yield the frames of a stream.

    A frame is generated when it is asked for, so nothing piles up behind a slow reader: at most the
    rest of a chunk waits, and each chunk takes the prompt that is newest when it starts.

    Args:
        source: a world, or an open model.
        prompts: one per chunk, until there are no more; or a function that returns the newest
            prompt and is called before each chunk, without end.
        settings: of :class:`LiveStream`, or of :class:`OpenLiveStream`.
    """
    live: SteeredStream
    if isinstance(source, OpenModel):
        live = OpenLiveStream(source, **settings)
    else:
        live = LiveStream(source, **rename_settings(settings, RENAMED_SETTINGS))
    try:
        for text in _call_forever(prompts) if callable(prompts) else prompts:
            live.set_prompt(text)
            yield from live.step()
    finally:
        live.close()


def _call_forever(newest_prompt: Callable[[], str]) -> Iterator[str]:
    while True:
        yield newest_prompt()
