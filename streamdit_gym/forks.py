"""A process begun by `os.fork()` computes with one thread.

Takes: nothing.  Gives: whether this is such a process.  Knows nothing of: torch, until somebody
    else has loaded it.

A child of `os.fork()` has none of its parent's threads, but OpenMP believes that it has, and would
wait for them for ever. Imported with the package, and so before environments are made and processes
begun.
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
