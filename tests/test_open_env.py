"""An open video model as an environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from support.tiny_wan import make_model, write_folder

from streamdit_gym.envs.open_env import OpenEnv
from streamdit_gym.errors import ActionError, ArgumentError, NotReadyError, ShapeError
from streamdit_gym.open_weights.load_open_model import OpenSettings
from streamdit_gym.open_weights.text_similarity import TextSimilarity

MENU = ["a cat runs", "rain falls", "fire burns"]


@pytest.fixture(scope="module")
def model() -> Any:
    return make_model()


def test_it_is_an_environment(model: Any) -> None:
    for menu in (None, MENU):
        check_env(OpenEnv(model, menu=menu, render_mode="rgb_array"), skip_render_check=True)


def test_gymnasium_makes_it_of_a_folder(tmp_path: Path) -> None:
    settings = OpenSettings(
        frame_size=(32, 48), partition="K2N2c1s1", clip_steps=1, dtype="float32", device="cpu"
    )
    folder = write_folder(tmp_path)
    env = gymnasium.make("StreamDiT/Open-v0", model=f"wan:{folder}", menu=MENU, settings=settings)
    frame, _ = env.reset(seed=0)
    assert frame.shape == (32, 48, 3)
    assert env.action_space.n == 3  # type: ignore[attr-defined]


def test_a_step_shows_four_frames_and_asks_for_their_reward(model: Any) -> None:
    rewarded: list[tuple[int, str]] = []

    def reward(frames: np.ndarray, prompt: str) -> float:
        rewarded.append((len(frames), prompt))
        return 0.5

    env = OpenEnv(model, menu=MENU, reward=reward, horizon=2, render_mode="rgb_array")
    _, info = env.reset(seed=0)
    assert info["prompt"] == MENU[0]
    frame, gained, terminated, truncated, info = env.step(2)
    assert rewarded == [(4, "fire burns")]
    assert (gained, terminated, truncated) == (0.5, False, False)
    assert np.array_equal(frame, info["frames"][-1])
    assert np.array_equal(env.render(), frame)
    assert env.step(1)[3], "the horizon"


def test_equal_seeds_give_equal_episodes_and_states_come_back(model: Any, tmp_path: Path) -> None:
    first, second = OpenEnv(model, menu=MENU), OpenEnv(model, menu=MENU)
    for env in (first, second):
        env.reset(seed=3)
        env.step(1)
    torch.save(first.save_state(), tmp_path / "state.pt")
    went_on = [first.step(action)[0] for action in (2, 0)]
    assert all(np.array_equal(second.step(a)[0], f) for a, f in zip((2, 0), went_on, strict=True))
    first.restore_state(torch.load(tmp_path / "state.pt", weights_only=True))
    assert np.array_equal(first.step(2)[0], went_on[0])
    assert not np.array_equal(first.reset()[0], second.reset(seed=9)[0])


def test_an_episode_begins_with_a_picture(model: Any) -> None:
    env = OpenEnv(model)
    picture = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    _, info = env.reset(seed=0, options={"init": picture, "prompt": "rain falls"})
    assert info["prompt"] == "rain falls"
    with pytest.raises(ShapeError, match="do not fit"):
        env.reset(options={"init": picture[:9]})


def test_what_it_cannot_do_is_told(model: Any) -> None:
    with pytest.raises(NotReadyError, match="step before reset"):
        OpenEnv(model, menu=MENU).step(0)
    env = OpenEnv(model, menu=MENU)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="no such action"):
        env.step(3)
    with pytest.raises(ArgumentError, match="a menu without prompts"):
        OpenEnv(model, menu=[])
    with pytest.raises(ArgumentError, match="horizon"):
        OpenEnv(model, horizon=0)
    free = OpenEnv(model)
    free.reset(seed=0)
    with pytest.raises(ActionError, match="not one text"):
        free.step("")


def write_clip(folder: Path) -> Path:
    """Write a tiny CLIP with random weights."""
    import tokenizers
    import transformers

    text = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    vision = {"image_size": 32, "patch_size": 16, "hidden_size": 16, "intermediate_size": 16}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config={**text, "num_attention_heads": 2, "eos_token_id": 1, "bos_token_id": 0},
        vision_config={**vision, "num_hidden_layers": 1, "num_attention_heads": 2},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    words = ["<start>", "<end>", "<unk>", "red", "blue"]
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<end>", eos_token="<end>"
    )
    images = transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    transformers.CLIPProcessor(images, fast).save_pretrained(folder)
    return folder


def test_a_reward_compares_the_newest_frame_with_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = str(write_clip(tmp_path))
    frames = np.random.default_rng(0).integers(0, 255, (2, 32, 48, 3), dtype=np.uint8)
    red, blue = TextSimilarity("red", folder), TextSimilarity("blue", folder)
    assert -1 <= red(frames, "any") <= 1
    assert red(frames, "any") == red(frames[1:], "other"), "the newest frame alone"
    assert red(frames, "any") != blue(frames, "any")
    assert red(frames, "any") != red(frames[:1], "any")
