"""Several processes training one model, as `torchrun` starts them; with one process everything here
does nothing.

Takes: gradients, flags.  Gives: what all processes have of them together.  Knows nothing of: what
    is trained.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from streamdit_gym.errors import BusyError, StreamDiTError
from streamdit_gym.files import folder_lock, remove_parts, writing_to

PATIENCE = timedelta(hours=12)


@contextmanager
def join(device: str) -> Iterator[str]:
    """Meet the other processes, if `torchrun` started this one, and yield the device to use:
    with GPUs, each its own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    distributed.init_process_group(
        backend, timeout=PATIENCE
    )  # the others wait while the first one encodes a data set
    try:
        yield device
        distributed.barrier()  # who leaves early takes the others' connections along
    finally:
        distributed.destroy_process_group()
        gc.collect()
        time.sleep(
            0.5
            # gloo's threads outlive the group for a moment, and a Python that ends in that moment
            # aborts
        )


def rank() -> int:
    """Return this process's number; the first, 0, is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def seed(number: int) -> int:
    """Return a seed of this process's own."""
    return number + 1_000_003 * rank()


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder, which is made if it is not there: the first process locks it for all of
    them.

    Raises:
        BusyError: if another run holds it; every process raises it.
        StorageError: if it cannot be made.
    """
    with ExitStack() as stack:
        refused: StreamDiTError | None = None
        if not rank():
            try:
                with writing_to(folder, "choose another folder"):
                    stack.enter_context(folder_lock(folder))
                    for place in (folder, folder / "pictures", *folder.glob("latents*")):
                        remove_parts(place)
            except StreamDiTError as error:
                refused = error
        if highest(int(refused is not None)):
            raise refused or BusyError(
                "the first process cannot work here", given=folder, remedy="see what it says"
            )
        yield


@contextmanager
def in_turn() -> Iterator[None]:
    """Let the first process go first: what it makes on disk is there when the others come."""
    if rank():
        distributed.barrier()
    yield
    if distributed.is_initialized() and not rank():
        distributed.barrier()


def highest(number: int) -> int:
    """Return the largest of all processes' numbers."""
    if not distributed.is_initialized():
        return number
    on_device = torch.tensor(
        number, device="cuda" if distributed.get_backend() == "nccl" else "cpu"
    )
    distributed.all_reduce(on_device, distributed.ReduceOp.MAX)
    return int(on_device)


@torch.no_grad()
def share(module: nn.Module) -> None:
    """Give every process the first one's weights and buffers."""
    if distributed.is_initialized():
        for value in module.state_dict().values():
            distributed.broadcast(value, 0)


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Put the mean of all processes' gradients in the place of each one's;
    a missing gradient counts as zero.
    """
    if not distributed.is_initialized():
        return
    trained = [p for p in parameters if p.requires_grad]
    flat = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained]
    )
    distributed.all_reduce(flat)
    for p, mean in zip(
        trained,
        (flat / distributed.get_world_size()).split([p.numel() for p in trained]),
        strict=True,
    ):
        p.grad = mean.view_as(p)
