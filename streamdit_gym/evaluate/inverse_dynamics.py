"""Reading the action back off two frames.

Takes: consecutive latents.  Gives: which menu action lay between them.  Knows nothing of: the transformer.

Trained on real frames; its accuracy on held-out real frames is the ceiling for generated ones.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm


class InverseDynamics(nn.Module):
    """Names the action between frame f - 1 and frame f, given also frame f - 2 (for the speed it had).

    Args:
        channels: latent channels.
        grid: latent height and width.
        actions: size of the menu.
        width: convolution channels.
    """

    def __init__(self, channels: int, grid: int, actions: int, width: int = 64) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3 * channels, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(width * grid**2, 256), nn.SiLU(), nn.Linear(256, actions),
        )  # fmt: skip

    def forward(self, latents: Float[Tensor, "n 3 c h w"]) -> Float[Tensor, "n a"]:
        """Return logits over the menu for three consecutive frames."""
        return self.net(torch.cat([latents[:, 1], latents[:, 2] - latents[:, 1], latents[:, 1] - latents[:, 0]], 1))


def train_inverse(
    latents: Float[Tensor, "e g c h w"], actions: Int[Tensor, "e s"], count: int, steps: int = 1500, noise: float = 0.1, seed: int = 0
) -> InverseDynamics:
    """Train on real frames.

    Args:
        latents: episodes; half precision is fine.
        actions: action f leads from frame f to frame f + 1.
        count: size of the menu.
        steps: optimizer steps of 256 triples.
        noise: largest deviation of noise on the latents, so that small errors of generated frames do not matter.
        seed: of the draws.
    """
    torch.manual_seed(seed)
    model = InverseDynamics(latents.shape[2], latents.shape[3], count)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in tqdm(range(steps), desc="inverse dynamics", unit="step", mininterval=2.0):
        episode = torch.randint(len(latents), (256, 1), generator=generator)
        frame = torch.randint(actions.shape[1] - 1, (256, 1), generator=generator)
        x = latents[episode, frame + torch.arange(3)].float()
        x = x + noise * torch.rand(256, 1, 1, 1, 1) * torch.randn_like(x)
        loss = functional.cross_entropy(model(x), actions[episode[:, 0], frame[:, 0] + 1].long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def named_right(model: InverseDynamics, latents: Float[Tensor, "e g c h w"], actions: Int[Tensor, "e s"]) -> Tensor:
    """Return, for every action but the first of each episode, whether the model names it."""
    triples = latents.float().unfold(1, 3, 1).movedim(-1, 2)  # e g-2 3 c h w
    found = torch.stack([model(episode).argmax(-1) for episode in triples])
    return found == actions[:, 1 : found.shape[1] + 1]
