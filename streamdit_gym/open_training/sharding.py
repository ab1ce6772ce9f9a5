"""An open model on several devices: each holds a part of every block's weights (FSDP2).

Checkpoints are written part by part, each process its own, as safetensors by
`torch.distributed.checkpoint`; any number of processes can go on from them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from streamdit_gym.errors import StreamDiTError
from streamdit_gym.train import parallel
from streamdit_gym.train.average import WeightAverage
from streamdit_gym.train.run_files import saving
from streamdit_gym.train.stage_run import Budget, StageRun

MODULE, AVERAGE = "module", "average"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW
UPDATES = "updates"


def shard(transformer: Any, device: str) -> Any:
    """Return a transformer on its device; each of several processes holds a part of the weights.

    Blocks become whole one after the other, while they compute. A part of the model at a time goes
    to the device, so that there is room for models that are larger than it.
    """
    if distributed.is_initialized():
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        kind = torch.device(device).type
        mesh = init_device_mesh(kind, (parallel.processes(),))
        for block in transformer.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(transformer, mesh=mesh)
    return transformer.to(device)


def stage_class(folder: Path, name: str) -> type[StageRun]:
    """Return how a run's checkpoints are written: in parts by several processes, and after them.

    Raises:
        StreamDiTError: if one process has begun what several shall go on with.
    """
    if (folder / f"{name}.checkpoint.json").is_file():
        return ShardedStage
    if parallel.processes() == 1:
        return StageRun
    if (folder / f"{name}.checkpoint.pt").is_file():
        raise StreamDiTError(
            "one process has begun this run",
            given=f"{parallel.processes()} processes, {folder}",
            allowed="one; what several begin, any number goes on with",
            remedy="go on without torchrun, or give another --out",
        )
    return ShardedStage


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors put together from all processes' parts, on the CPU.

    Every process must call it, and has all of them at the end.
    """
    # copies, since what is put together may be a view of something larger
    return {name: parallel.whole(tensor.detach()).cpu().clone() for name, tensor in tensors.items()}


class ShardedStage(StageRun):
    """A stage whose processes each write their part of its checkpoint.

    `NAME.checkpoint.json` names the folder of the last whole checkpoint.
    """

    def __init__(
        self, folder: Path, name: str, state: Mapping[str, Any], checkpoint_s: float = 120.0
    ) -> None:
        self.ended = False
        self.weights: nn.Module = state[name]
        self.optimizer: torch.optim.Optimizer = state["optimizer"]
        self.average: WeightAverage = state[AVERAGE]
        super().__init__(folder, name, state, checkpoint_s)

    @property
    def path(self) -> Path:
        """The file that says which checkpoint is whole."""
        return self.folder / f"{self.name}.checkpoint.json"

    def save(self) -> None:
        """Write every process's part; the checkpoint counts once all are there."""
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
        from torch.distributed.checkpoint.state_dict_saver import save

        previous = self._content()
        target = self.folder / f"{self.name}.checkpoint-{self.step:08d}"
        if previous.get("folder") == target.name and previous.get("finished") == self.finished:
            return
        if self.writer is not None:
            self.writer.flush()
            shutil.rmtree(target, ignore_errors=True)
        parallel.wait()
        writer = HuggingFaceStorageWriter(str(target), save_distributed=True)
        save(dict(self._tensors()), storage_writer=writer)
        parallel.wait()
        content = {
            "folder": target.name,
            "step": self.step,
            "finished": self.finished,
            UPDATES: self._updates(),
            "average_updates": self.average.updates,
        }
        if self.writer is not None:
            with saving(self.path) as part:
                part.write_text(json.dumps(content))
            if previous and previous["folder"] != target.name:
                shutil.rmtree(self.folder / previous["folder"], ignore_errors=True)
        parallel.wait()

    def _loop(self, budget: Budget, bar: Any) -> Iterator[int]:
        yield from super()._loop(budget, bar)
        self.ended = True

    def _finish(self, budget: Budget) -> None:
        """Save, unless something went wrong here: then the others do not come to save with us."""
        if self.ended:
            super()._finish(budget)

    def _is_due(self, last_save: float) -> bool:
        return bool(parallel.highest(int(super()._is_due(last_save))))

    def _restore(self) -> None:
        from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
        from torch.distributed.checkpoint.state_dict_loader import load

        content = self._content()
        source = self.folder / content["folder"]
        try:
            with self._optimizer_moments(content[UPDATES]):
                tensors = dict(self._tensors())
                reader = HuggingFaceStorageReader(str(source))
                load(tensors, storage_reader=reader)
        except Exception as error:
            raise StreamDiTError(
                "a checkpoint does not fit this run",
                given=f"{source}: {error}",
                remedy="use the settings it was made with, or another run folder",
            ) from error
        self.average.updates = content["average_updates"]
        self.step = content["step"]
        self.finished = content["finished"]

    @contextmanager
    def _optimizer_moments(self, updates: int) -> Iterator[None]:
        """Give the optimizer the averages that a checkpoint is read into."""
        for weight in self.weights.parameters():
            moments = {name: torch.zeros_like(weight.detach()) for name in MOMENTS}
            self.optimizer.state[weight] = {"step": torch.tensor(float(updates)), **moments}
        yield

    def _updates(self) -> int:
        states = list(self.optimizer.state.values())
        return int(states[0]["step"]) if states else 0

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield all that a checkpoint holds, by name."""
        for name, weight in self.weights.named_parameters():
            yield f"{MODULE}.{name}", weight.detach()
            yield f"{AVERAGE}.{name}", self.average.shadow[name]
            for moment in MOMENTS:
                if weight in self.optimizer.state:
                    yield f"{moment}.{name}", self.optimizer.state[weight][moment]

    def _content(self) -> dict[str, Any]:
        """Return what the last whole checkpoint's file says; nothing where there is none."""
        if not self.path.is_file():
            return {}
        content: dict[str, Any] = json.loads(self.path.read_text())
        return content
