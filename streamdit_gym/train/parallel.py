"""Several processes training one model, as `torchrun` starts them.

With one process everything here does nothing.
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

TIMEOUT = timedelta(hours=12)
SCRATCH = ("pictures", "texts")  # folders of a run that killed processes may leave parts in


@contextmanager
def join(device: str, timeout: timedelta = TIMEOUT) -> Iterator[str]:
    """Meet the other processes, if `torchrun` started this one, and yield the device to use.

    With GPUs each process has its own.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        timeout: how long one waits for another.

    Raises:
        StreamDiTError: if another process is gone.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield device
        return
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    # the others wait while the first one encodes a data set
    distributed.init_process_group(backend, timeout=timeout)
    try:
        yield device
        distributed.barrier()  # who leaves early takes the others' connections along
    except RuntimeError as error:
        if isinstance(error, StreamDiTError) or not _is_connection_error(error):
            raise
        raise StreamDiTError(
            "another process of this training is gone, or does not answer",
            given=str(error).splitlines()[0],
            allowed=f"an answer within {timeout}",
            remedy="see what that process says, and start all again; the checkpoint is kept",
        ) from error
    finally:
        distributed.destroy_process_group()
        gc.collect()
        # gloo's threads outlive the group for a moment; a Python that ends in that moment aborts
        time.sleep(0.5)


def _is_connection_error(error: RuntimeError) -> bool:
    """Return whether processes lost one another: NCCL has a class for it, gloo a text."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def rank() -> int:
    """Return this process's number; the first, 0, is the one that writes."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def processes() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait() -> None:
    """Wait until every process is here."""
    if distributed.is_initialized():
        distributed.barrier()


def seed(number: int) -> int:
    """Return a seed of this process's own."""
    return number + 1_000_003 * rank()


@contextmanager
def run_folder(folder: Path) -> Iterator[None]:
    """Hold a run folder, which is made if it is not there.

    The first process locks it for all of them.

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
                    for place in (
                        folder,
                        *(folder / name for name in SCRATCH),
                        *folder.glob("latents*"),
                    ):
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
    """Let the first process go first: what it writes is there when the others come."""
    if rank():
        distributed.barrier()
    yield
    if distributed.is_initialized() and not rank():
        distributed.barrier()


def highest(number: int) -> int:
    """Return the largest of all processes' numbers."""
    if not distributed.is_initialized():
        return number
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    result = torch.tensor(number, device=device)
    distributed.all_reduce(result, distributed.ReduceOp.MAX)
    return int(result)


@torch.no_grad()
def mean(value: Tensor) -> Tensor:
    """Return the mean of all processes' values, without gradient."""
    total = value.detach().clone()
    if distributed.is_initialized():
        distributed.all_reduce(total)
    return total / processes()


@torch.no_grad()
def share(module: nn.Module) -> None:
    """Copy the first process's weights and buffers to all others; sharded ones stay."""
    if distributed.is_initialized():
        for value in module.state_dict().values():
            if not is_sharded(value):
                distributed.broadcast(value, 0)


def is_sharded(tensor: Tensor) -> bool:
    """Return whether every process holds a part of a tensor."""
    if not distributed.is_initialized():
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor put together from all processes' parts, if it is sharded."""
    if not is_sharded(tensor):
        return tensor
    result: Tensor = tensor.full_tensor()  # type: ignore[attr-defined]
    return result


@torch.no_grad()
def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each process's gradients by the mean of all; a missing one counts as zero.

    Those of sharded weights are means already.
    """
    if not distributed.is_initialized():
        return
    trained: list[Tensor] = []
    gradients: list[Tensor] = []
    for parameter in parameters:
        if parameter.requires_grad and not is_sharded(parameter):
            trained.append(parameter)
            gradients.append(_gradient(parameter).flatten())
    if not gradients:
        return
    total = torch.cat(gradients)
    distributed.all_reduce(total)
    mean = total / distributed.get_world_size()
    sizes = [parameter.numel() for parameter in trained]
    parts = mean.split(sizes)
    for parameter, part in zip(trained, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
