"""A process that was started by `os.fork()` computes with one thread.

A child of `os.fork()` has none of its parent's threads, but OpenMP believes that it has, and would
wait for them for ever. This module is imported with the package, and so before environments are
made and processes started. It does not load torch itself.
"""

from __future__ import annotations

import os
import sys

_forked = False


def forked() -> bool:
    """Return whether this process was forked from one that had loaded torch.

    More than one thread would hang it.
    """
    return _forked


def _after_fork() -> None:
    global _forked
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        _forked = True
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
