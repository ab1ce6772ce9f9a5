"""LeRobot trains ACT and a diffusion policy on a data set that `streamdit-gym generate` wrote.

Its own training program runs as it is; only the policies are smaller than its defaults. It runs
where LeRobot is installed, see docs/interop.md.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

STEPS = 5
CAMERA = "observation.images.top"


def declare_torchvision_ops() -> None:
    """Let torchvision be imported beside a torch that it was not built for.

    PyPI's torchvision is built for CUDA and for one version of torch. Beside another its compiled
    part does not load, and its Python code then looks for an operator that this part would have
    declared. None of these policies calls it.
    """
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        # the operator lives as long as the last reference to its library
        declare_torchvision_ops.library = library  # type: ignore[attr-defined]


def generate(folder: Path) -> Path:
    """Write four episodes and return the folder that LeRobot reads."""
    options = ["--episodes", "4", "--set", "batch=4", "--steps", "24", "--format", "lerobot"]
    command = [
        sys.executable,
        "-m",
        "streamdit_gym",
        "generate",
        "PushT",
        *options,
        "--out",
        str(folder),
    ]
    subprocess.run(command, check=True)
    return folder / "lerobot"


def check_frame(data: Path) -> None:
    """Check the first frame as LeRobot returns it."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("streamdit/pusht", root=data, video_backend="pyav")
    assert dataset.num_episodes == 4
    frame = dataset[0]
    assert frame[CAMERA].shape == (3, 64, 64)
    assert frame["action"].dtype == torch.float32
    assert frame["action"].ndim == 1
    assert isinstance(frame["task"], str)


def train(policy: str, data: Path, out: Path) -> None:
    """Run LeRobot's own training program for a few steps."""
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
    from lerobot.scripts.lerobot_train import train as lerobot_train

    sizes = {
        "act": lambda: ACTConfig(
            device="cpu",
            push_to_hub=False,
            pretrained_backbone_weights=None,
            chunk_size=8,
            n_action_steps=8,
            dim_model=64,
            dim_feedforward=128,
        ),
        "diffusion": lambda: DiffusionConfig(device="cpu", push_to_hub=False, down_dims=(64, 128)),
    }
    lerobot_train(
        TrainPipelineConfig(
            dataset=DatasetConfig("streamdit/pusht", root=str(data), video_backend="pyav"),
            policy=sizes[policy](),
            output_dir=out / policy,
            num_workers=0,
            batch_size=4,
            steps=STEPS,
            eval_freq=0,
            log_freq=1,
            save_checkpoint=True,
            save_freq=STEPS,
        )
    )
    assert list((out / policy).rglob("model.safetensors")), "the trained policy is saved"


def main() -> None:
    """Check the data set and train both policies."""
    declare_torchvision_ops()
    with TemporaryDirectory() as folder:
        data = Path(sys.argv[1]) if len(sys.argv) > 1 else generate(Path(folder) / "generated")
        check_frame(data)
        for policy in ("act", "diffusion"):
            train(policy, data, Path(folder) / "runs")
    trained = f"ACT and Diffusion, {STEPS} steps each"
    print(f"lerobot {version('lerobot')} | generate --format lerobot; {trained}")


if __name__ == "__main__":
    main()
