"""What goes into an environment and what comes out of it: arguments, seeds, options, actions,
infos, spaces.
"""

from __future__ import annotations

import copy
import json
import math
import pickle
import warnings
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env, data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import vector as wrappers
from support.envs import penalised_env

from streamdit_gym.agents.agent_envs import make_venv
from streamdit_gym.checks import check_prompt
from streamdit_gym.envs.prompt_space import PromptSpace
from streamdit_gym.envs.settings import BackendOptions
from streamdit_gym.envs.single_env import StreamDiTEnv
from streamdit_gym.envs.vector_env import StreamDiTVectorEnv
from streamdit_gym.envs.worlds import shared_world
from streamdit_gym.envs.wrappers import SelfConsistencyPenalty, VectorPendingActions
from streamdit_gym.errors import (
    ActionError,
    ArgumentError,
    PartitionError,
    ShapeError,
    StreamDiTError,
    UnknownNameError,
)
from streamdit_gym.generate.prompt_file import read_prompts
from streamdit_gym.generate.start_frames import start_images
from streamdit_gym.presets import partition
from streamdit_gym.stream.partition import Partition
from streamdit_gym.text import prompt_table
from streamdit_gym.text.prompt_table import PromptTable

REAL = "StreamDiT/PushT-Real-v0"
GENERATED = "StreamDiT/PushT-v0"
HANGUL = ("각" * 33 + " ") * 5 + "각" * 30  # 200 characters, of which the encoder makes 587 tokens


@pytest.fixture
def envs(tiny_bundle: str) -> StreamDiTVectorEnv:
    """Two environments that have been reset."""
    env = StreamDiTVectorEnv(2, world=tiny_bundle)
    env.reset(seed=0)
    return env


@pytest.fixture
def untouched(tiny_bundle: str) -> StreamDiTVectorEnv:
    """The same two environments, which nobody gives anything wrong."""
    env = StreamDiTVectorEnv(2, world=tiny_bundle)
    env.reset(seed=0)
    return env


def assert_nothing_changed(env: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv) -> None:
    """Check that two environments go on alike, over a reset without a seed, too."""
    for actions in ([1, 2], [3, 4]):
        assert (env.step(np.array(actions))[0] == untouched.step(np.array(actions))[0]).all()
    assert (env.reset()[0] == untouched.reset()[0]).all()


#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
#
# ---------------------------------------------------------------------------------------------------- the constructor


WRONG_ARGUMENTS = [
    *[("num_envs", value) for value in (0, -1, True, 2.0, "2", None, [2], math.nan, 10**9, 10**40)],
    *[
        ("world", value)
        for value in (None, 5, "", " ", "a\0b", "\ud800", "x" * 300, ["PushT"], "Pusht")
    ],
    *[("task", value) for value in (None, 5, ["push"], {}, "pushh", "")],
    *[
        (name, value)
        for name in ("horizon", "max_episode_steps")
        for value in (0, -5, math.nan, 2.5, "9", True, 10**20)
    ],
    *[
        ("partition", value)
        for value in ([], {}, None, 4, "reactve", "K4N1c1", "K4N99c1s1", "K4N1c1s" + "1" * 5000)
    ],
    *[("real", value) for value in ("False", 0, 1, None, [])],
    *[
        ("backend", {name: value})
        for name in ("common_noise", "deterministic", "compile")
        for value in ("False", 0, 1, None, [])
    ],
    *[
        ("backend", {name: value})
        for name in ("prompt_scope", "output", "dtype")
        for value in (None, 5, [], {}, "nothing", "\ud800")
    ],
    *[
        (name, value)
        for name in ("observation", "actions", "autoreset_mode")
        for value in (None, 5, [], {}, "nothing", "\ud800")
    ],
    ("autoreset_mode", True),
    ("backend", {"dtype": torch.float64}),
    ("backend", {"dtype": np.float32}),
    ("backend", {"dtyp": "float32"}),
    *[("backend", value) for value in (None, 5, "torch", [])],
    *[
        ("device", value)
        for value in (None, 5, [], "gpu", "cuda:99", "meta", torch.device("meta"), "")
    ],
    *[("render_mode", value) for value in (5, [], "rgb", "")],
    *[("backend", {"encoder": value}) for value in (5, "", [])],
]


@pytest.mark.parametrize(("name", "value"), WRONG_ARGUMENTS, ids=lambda value: repr(value)[:30])
def test_a_wrong_argument_is_an_error_that_says_what_is_allowed(
    name: str, value: Any, tiny_bundle: str
) -> None:
    with pytest.raises(StreamDiTError, match=r"(?s)given.*allowed.*remedy"):
        StreamDiTVectorEnv(**{"num_envs": 2, "world": tiny_bundle, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_envs", np.int64(2)),
        ("device", torch.device("cpu")),
        ("backend", {"dtype": torch.float32}),
        ("backend", {"dtype": torch.bfloat16}),
        ("backend", BackendOptions(dtype="bfloat16")),
        ("partition", Partition(references=4)),
        ("horizon", np.int32(9)),
    ],
    ids=str,
)
def test_other_libraries_numbers_and_objects_are_welcome(
    name: str, value: Any, tiny_bundle: str
) -> None:
    env = StreamDiTVectorEnv(**{"num_envs": 2, "world": tiny_bundle, name: value})
    env.reset(seed=0)
    assert env.step(np.array([1, 2]))[0].shape == (2, 64, 64, 3)


def test_arguments_of_a_single_environment_are_those_of_the_batch() -> None:
    with pytest.raises(ArgumentError, match="True or False"):
        gymnasium.make(GENERATED, backend={"deterministic": "False"})
    with pytest.raises(UnknownNameError, match="did you mean 'horizon'"):
        gymnasium.make(GENERATED, horizn=5)
    with pytest.raises(UnknownNameError, match="use make_vec"):
        gymnasium.make(GENERATED, num_envs=2)


def test_a_real_simulator_takes_no_text() -> None:
    with pytest.raises(ShapeError, match="menu actions only"):
        StreamDiTVectorEnv(1, real=True, actions="text")


@pytest.mark.parametrize("given", ["K٣N1c1s1", "K4N1c1s1\n", "K4N65c1s1", "K99999999999N1c1s1"])
def test_partitions_are_short_and_of_ascii_digits(given: str) -> None:
    with pytest.raises(PartitionError):
        partition(given)


# ------------------------------------------------------------------------------------------------- seeds and options


@pytest.mark.parametrize(
    "seed",
    [
        "a",
        "12",
        3.0,
        True,
        -1,
        math.nan,
        {1, 2},
        {0: 1},
        b"12",
        [1.5, "7"],
        [1, True],
        [1, -1],
        [1],
        10**50,
        np.array(3.0),
    ],
    ids=str,
)
def test_a_seed_that_is_none_changes_nothing(
    seed: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(StreamDiTError, match="allowed"):
        envs.reset(seed=seed)
    assert_nothing_changed(envs, untouched)


def test_a_single_environment_takes_any_whole_number_as_its_seed(tiny_bundle: str) -> None:
    env = StreamDiTEnv(world=tiny_bundle)
    first, _ = env.reset(seed=7)
    assert (env.reset(seed=np.int64(7))[0] == first).all()
    assert env.reset(seed=2**64)[0].shape == (64, 64, 3), "as large as Minari's"
    for seed in ("7", 7.0, [7], True, -7):
        with pytest.raises(ArgumentError, match="seed cannot be used"):
            env.reset(seed=seed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [5, [("init", None)], "init", {"reset_masc": 1}, {"inlt": 1}, {"Reset_Mask": 1}, {"INIT": 1}],
    ids=str,
)
def test_options_that_are_none_or_almost_ours_change_nothing(
    options: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises((ArgumentError, UnknownNameError), match="allowed"):
        envs.reset(seed=3, options=options)
    assert_nothing_changed(envs, untouched)


@pytest.mark.parametrize(
    "options",
    [{"minari_autoseed": False}, {"hello": 1}, {"seed": 1}, {1: 0}, {None: 0}, {}],
    ids=str,
)
def test_options_of_other_programs_are_ignored(
    options: dict[Any, Any], envs: StreamDiTVectorEnv
) -> None:
    first, _ = envs.reset(seed=5)
    assert (envs.reset(seed=5, options=options)[0] == first).all()


def test_near_options_get_the_nearest_name(envs: StreamDiTVectorEnv) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'reset_mask'"):
        envs.reset(options={"reset_masc": np.array([True, False])})


# ----------------------------------------------------------------------------------------------------------- actions


@pytest.mark.parametrize(
    "actions",
    [
        None,
        "up",
        5,
        [0, 1.0],
        [True, False],
        [0, 10**30],
        [[0], [0, 1]],
        {0: 1},
        [0, 9],
        object(),
        torch.zeros(2),
    ],
    ids=lambda value: str(value).split(" at ")[0],
)
def test_an_action_that_is_none_changes_nothing(
    actions: Any, envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(ActionError, match="allowed"):
        envs.step(actions)
    assert_nothing_changed(envs, untouched)


@pytest.mark.parametrize(
    "action", [None, "up", 1.0, True, [0, 1], [[0], [0, 1]], {}, 9, -1], ids=str
)
def test_a_single_action_that_is_none_is_refused(action: Any, tiny_bundle: str) -> None:
    env = StreamDiTEnv(world=tiny_bundle)
    env.reset(seed=0)
    with pytest.raises(ActionError, match="allowed"):
        env.step(action)


NO_PROMPTS = ["", "   ", "a" * 201, "\ud800", "bell\x07", HANGUL, 5, None, b"move up", ["move up"]]
PROMPTS = [
    "stay",
    "  move\tup ",
    "a" * 200,
    "a" + " " * 300 + "b",
    "gehe nach Süden",
    "上に動かす",
    "왼쪽으로",
]


@pytest.mark.parametrize("text", [*NO_PROMPTS, *PROMPTS], ids=lambda text: repr(text)[:20])
def test_the_action_space_contains_exactly_what_a_step_accepts(text: Any, tiny_bundle: str) -> None:
    pytest.importorskip("transformers")
    env = StreamDiTEnv(world=tiny_bundle, actions="text")
    env.reset(seed=0)
    if env.action_space.contains(text):
        assert env.step(text)[-1]["prompt"] == check_prompt(text)
    else:
        with pytest.raises(ActionError, match="allowed"):
            env.step(text)
    assert env.action_space.contains(text) == (text in PROMPTS)


@pytest.mark.parametrize(
    "texts",
    [
        "up",
        ["stay"],
        ["stay", 5],
        ["stay", "\ud800"],
        {"stay": 1, "up": 2},
        None,
        [["a"], ["b", "c"]],
    ],
)
def test_prompts_of_a_batch_come_in_a_list(texts: Any, tiny_bundle: str) -> None:
    env = StreamDiTVectorEnv(2, world=tiny_bundle, actions="text")
    env.reset(seed=0)
    with pytest.raises(ActionError, match="2 strings"):
        env.step(texts)
    env.step(np.array(["stay", "move up"]))


def test_the_space_of_prompts_is_a_space_like_gymnasiums() -> None:
    space = PromptSpace(seed=0)
    assert all(space.contains(space.sample()) for _ in range(200))
    assert space.contains(
        space.sample(mask=(3, np.array([c == " " for c in space.character_list], np.int8)))
    )
    assert space.max_length == 200
    for twin in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):
        assert twin == space
        assert twin.contains("nach links")
        assert twin.sample() == copy.deepcopy(space).sample()
    assert space != gymnasium.spaces.Text(200, charset=space.character_set)
    batch = batch_space(space, 3)
    assert batch.contains(("上に", "b", "c"))
    assert not batch.contains(("a", "b", ""))
    assert batch.contains(batch.sample())


def test_minari_can_write_the_space_of_prompts() -> None:
    serialization = pytest.importorskip("minari.serialization")
    again = serialization.deserialize_space(serialization.serialize_space(PromptSpace()))
    assert again.max_length == 200
    assert again.contains("move up and to the left!")


# ----------------------------------------------------------------------------------------------------------- prompts


def test_no_prompt_is_cut() -> None:
    pytest.importorskip("transformers")
    from streamdit_gym.text.prompt_encoder import MiniLMEncoder

    encoder = MiniLMEncoder()
    long = "please, " * 22 + "move "
    _, mask, pooled = encoder.encode([long + "left", long + "right", "!" * 200])
    assert mask.sum(1).max() == 202, "one for each character, and two that frame the text"
    assert not torch.equal(pooled[0], pooled[1]), "the last word counts"
    with pytest.raises(ArgumentError, match="tokens"):
        encoder.encode(["stay", HANGUL])


class LongWords:
    """An encoder that makes a token of every character."""

    name = "long"
    width = 4

    def encode(self, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        longest = max(map(len, texts))
        mask = torch.tensor([[i < len(text) for i in range(longest)] for text in texts])
        return torch.ones(len(texts), longest, 4) * mask[..., None], mask, torch.ones(len(texts), 4)


def test_a_long_prompt_makes_no_table_that_fills_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prompt_table, "MAX_TABLE_TOKENS", 1000)
    table = PromptTable.from_encoder(LongWords(), ["stay"])  # type: ignore[arg-type]
    table.rows([f"{i:04d}" for i in range(19)])
    with pytest.raises(ShapeError, match="too many distinct prompts"):
        table.rows(["x" * 50])
    assert len(table.phrases) == 20, "nothing was changed"
    table.rows(["x" * 47])
    assert table.room == 0, "for one of 512 tokens"
    assert table.only(["stay"]).tokens.shape == (1, 4, 4), "what was longer leaves no trace"


def test_a_file_of_prompts_has_the_same_limit(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    for text in NO_PROMPTS:
        if isinstance(text, str):
            path.write_text(json.dumps({"prompts": ["stay", text]}) + "\n")
            with pytest.raises(StreamDiTError, match="line 1"):
                read_prompts(path)
    path.write_text(json.dumps({"prompts": PROMPTS}) + "\n")
    assert read_prompts(path) == [[check_prompt(text) for text in PROMPTS]]


# ---------------------------------------------------------------------------------------------------------- pictures


def test_read_only_start_frames_are_copied(envs: StreamDiTVectorEnv) -> None:
    frame = np.full((64, 64, 3), 200, np.uint8)
    frame.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        envs.reset(options={"init": frame})
        envs.reset(options={"init": np.broadcast_to(frame, (2, 1, 64, 64, 3))})


def test_start_frames_with_alpha_are_refused(
    envs: StreamDiTVectorEnv, untouched: StreamDiTVectorEnv
) -> None:
    with pytest.raises(ShapeError, match="alpha"):
        envs.reset(seed=3, options={"init": np.zeros((64, 64, 4), np.uint8)})
    assert_nothing_changed(envs, untouched)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_with_alpha_are_laid_on_white(tmp_path: Path, dtype: type) -> None:
    most = np.iinfo(dtype).max
    picture = np.zeros((64, 64, 4), dtype)
    picture[..., 2] = most  # red, in OpenCV's order
    picture[:32, :, 3] = most  # above; below it is hidden
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    (frame,) = start_images(tmp_path, 64)
    assert (frame[:32] == [255, 0, 0]).all()
    assert (frame[32:] == 255).all()


# ------------------------------------------------------------------------------------------------------------- infos


def shape_of(info: dict[str, Any]) -> dict[str, Any]:
    """Return an info's keys and types."""
    return {
        key: shape_of(value) if isinstance(value, dict) else type(value)
        for key, value in info.items()
    }


@pytest.mark.parametrize("output", ["numpy", "torch"])
@pytest.mark.parametrize("penalty", [None, 0.0])
@pytest.mark.parametrize("real", [False, True])
def test_a_single_environments_info_never_changes_its_keys_or_types(
    real: bool, penalty: float | None, output: str, tiny_bundle: str
) -> None:
    world = {"real": True} if real else {"world": tiny_bundle}
    env: Any = StreamDiTEnv(horizon=3, backend={"output": output}, **world)
    if penalty is not None:
        env = SelfConsistencyPenalty(env, penalty)
    _, info = env.reset(seed=0)
    expected = {"potential": float, "success": float, "is_success": bool, "world_fault": bool}
    expected |= {} if penalty is None else {"self_consistency_error": float}
    expected |= {} if output == "torch" else {"prompt": str}
    assert shape_of(info) == expected
    for _ in range(3):
        *_, truncated, info = env.step(1)
        assert shape_of(info) == expected
        assert not info["is_success"]
    assert truncated


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_a_batchs_info_has_a_mask_for_every_key(mode: str, tiny_bundle: str) -> None:
    env = penalised_env(2, 0.0, world=tiny_bundle, horizon=2, autoreset_mode=mode)
    _, first = env.reset(seed=0)
    keys = {"prompt", "potential", "success", "is_success", "world_fault", "self_consistency_error"}
    assert set(first) == keys | {f"_{key}" for key in keys}
    for _ in range(5):
        *_, info = env.step(np.array([1, 1]))
        final = info.pop("final_info", None)
        for key in ("_final_info", "final_obs", "_final_obs"):
            info.pop(key, None)
        assert set(info) == set(first)
        assert final is None or set(final) == set(first)
        for key in keys:
            assert info[key].dtype == first[key].dtype


def test_is_success_is_true_at_the_success_and_nowhere_else() -> None:
    env = StreamDiTVectorEnv(8, real=True, task="reach", autoreset_mode="SAME_STEP")
    _, info = env.reset(seed=0)
    rng = np.random.default_rng(0)
    seen = False
    for _ in range(60):
        _, _, terminated, _, info = env.step(rng.integers(9, size=8))
        assert not info["is_success"].any(), "the new episode has not succeeded"
        if "final_info" in info:
            assert (info["final_info"]["is_success"] == terminated).all()
            seen |= bool(terminated.any())
    assert seen


def test_torch_infos_hold_nothing_that_is_no_number(tiny_bundle: str) -> None:
    env = StreamDiTVectorEnv(
        2,
        world=tiny_bundle,
        horizon=2,
        autoreset_mode="SAME_STEP",
        backend={"output": "torch"},
    )
    infos = [env.reset(seed=0)[1], *(env.step(torch.tensor([1, 1]))[-1] for _ in range(3))]
    assert any("final_obs" in info for info in infos)

    def values(info: dict[str, Any]) -> list[Any]:
        return [
            leaf
            for value in info.values()
            for leaf in (values(value) if isinstance(value, dict) else [value])
        ]

    for info in infos:
        for value in values(info):
            assert torch.as_tensor(value).shape[0] == 2
    last = next(info for info in infos if "final_obs" in info)
    assert isinstance(last["final_obs"], torch.Tensor)
    assert last["final_obs"].shape == (2, 64, 64, 3)


def test_gymnasium_makes_tensors_of_what_comes_out(tiny_bundle: str) -> None:
    pytest.importorskip("array_api_compat")
    env = StreamDiTVectorEnv(
        2,
        world=tiny_bundle,
        horizon=2,
        autoreset_mode="SAME_STEP",
        backend={"output": "torch"},
    )
    envs = wrappers.NumpyToTorch(env)
    envs.reset(seed=0)
    for _ in range(3):
        *_, info = envs.step(torch.tensor([1, 1]))
        assert isinstance(info["potential"], torch.Tensor)


# --------------------------------------------------------------------------------------------------- Gymnasium's modes


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_mode_is_named_as_gymnasium_names_it(mode: AutoresetMode, tiny_bundle: str) -> None:
    for name in (mode, mode.name, mode.value):
        env = StreamDiTVectorEnv(1, world=tiny_bundle, autoreset_mode=name)
        assert env.metadata["autoreset_mode"] is mode


def test_the_default_mode_is_gymnasiums_own() -> None:
    assert (
        gymnasium.make_vec(REAL, num_envs=1).metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    )
    assert StreamDiTVectorEnv.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP


def told(infos: dict[str, Any]) -> dict[str, Any]:
    """Return infos without what their masks say nothing of."""
    content: dict[str, Any] = {}
    for key, value in infos.items():
        if isinstance(value, dict):
            content[key] = told(value)
        elif key.startswith("_"):
            content[key] = value
        else:
            content[key] = list(value[infos[f"_{key}"]])
    return content


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("real", [False, True])
def test_a_batch_does_what_gymnasiums_own_batch_does(
    real: bool, mode: AutoresetMode, tiny_bundle: str
) -> None:
    settings: dict[str, Any] = {"world": tiny_bundle, "backend": {"deterministic": True}}
    settings = {"real": True, "task": "reach"} if real else settings
    ours = StreamDiTVectorEnv(3, horizon=4, autoreset_mode=mode, **settings)
    theirs = SyncVectorEnv([lambda: StreamDiTEnv(horizon=4, **settings)] * 3, autoreset_mode=mode)
    assert data_equivalence(ours.reset(seed=2), theirs.reset(seed=2), exact=True)
    second = np.array([False, True, False])
    for step, actions in enumerate(np.random.default_rng(0).integers(9, size=(12, 3))):
        if step == 2:  # so that rows end at different times
            ours.reset(options={"reset_mask": second})
            theirs.reset(options={"reset_mask": second})
        given, expected = ours.step(actions), theirs.step(actions)
        assert data_equivalence(given[0], expected[0], exact=True)
        assert data_equivalence(given[1], expected[1])
        assert data_equivalence(given[2:4], expected[2:4])
        assert data_equivalence(told(given[4]), told(expected[4]))


VECTOR_WRAPPERS = {
    "statistics": wrappers.RecordEpisodeStatistics,
    "list": wrappers.DictInfoToList,
    "normalize": wrappers.NormalizeObservation,
    "rewards": wrappers.NormalizeReward,
    "clip": lambda env: wrappers.ClipReward(env, -1, 1),
    "flatten": wrappers.FlattenObservation,
    "grey": wrappers.GrayscaleObservation,
    "resize": lambda env: wrappers.ResizeObservation(env, (32, 32)),
    "reshape": lambda env: wrappers.ReshapeObservation(env, (64, 192)),
    "rescale": lambda env: wrappers.RescaleObservation(env, 0, 1),
    "dtype": lambda env: wrappers.DtypeObservation(env, np.float32),
    "observation": lambda env: wrappers.TransformObservation(env, lambda frames: 255 - frames),
    "action": lambda env: wrappers.TransformAction(env, lambda actions: (actions + 1) % 9),
}


@pytest.mark.parametrize("name", VECTOR_WRAPPERS)
def test_gymnasiums_vector_wrappers_take_the_environment(name: str, tiny_bundle: str) -> None:
    env = VECTOR_WRAPPERS[name](StreamDiTVectorEnv(2, world=tiny_bundle, horizon=2))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    for _ in range(4):
        observation, *_, info = env.step(np.array([1, 2]))
        assert env.observation_space.contains(observation)
        if name == "statistics" and "episode" in info:
            assert info["episode"]["l"].tolist() == [2, 2]


def test_make_venv_wastes_no_row(tiny_bundle: str) -> None:
    venv = make_venv(GENERATED, 2, world=tiny_bundle, horizon=2)
    venv.reset()
    ended = [venv.step(np.array([1, 1]))[2].all() for _ in range(4)]
    assert ended == [False, True, False, True]


# ------------------------------------------------------------------------------------------------------------ states


@pytest.mark.parametrize(
    "settings",
    [{}, {"real": True}, {"backend": {"deterministic": True}}, {"backend": {"output": "torch"}}],
    ids=str,
)
def test_states_are_what_the_world_reads_off_its_latents(settings: dict[str, Any]) -> None:
    world = shared_world("PushT", "cpu")
    read, latent = (
        StreamDiTVectorEnv(2, observation=kind, horizon=2, autoreset_mode="SAME_STEP", **settings)
        for kind in ("state", "latent")
    )

    def expected(latents: Any) -> torch.Tensor:
        with torch.no_grad():
            raw = world.readout.raw(torch.as_tensor(latents)[:, None])[:, 0]
        return raw.clamp(-10, 10)

    assert read.single_observation_space == gymnasium.spaces.Box(-10, 10, (10,), np.float32)
    states, latents = read.reset(seed=0)[0], latent.reset(seed=0)[0]
    for _ in range(3):
        torch.testing.assert_close(torch.as_tensor(states), expected(latents), rtol=1e-4, atol=1e-4)
        assert read.output == "torch" or read.observation_space.contains(states)
        states, _, _, _, info = read.step(np.array([1, 2]))
        latents, _, _, _, same = latent.step(np.array([1, 2]))
        if "final_obs" in info:
            torch.testing.assert_close(
                torch.as_tensor(info["final_obs"][1]),
                expected(same["final_obs"][1][None])[0],
                rtol=1e-4,
                atol=1e-4,
            )
    assert read.render()[0].shape == (64, 64, 3)


def test_states_make_an_environment_that_gymnasium_and_sb3_accept(tiny_bundle: str) -> None:
    from stable_baselines3.common.env_checker import check_env as sb3_check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gymnasium.make(
            GENERATED, world=tiny_bundle, observation="state", render_mode="rgb_array"
        )
        check_env(env.unwrapped)
        sb3_check_env(env)


def test_states_stand_beside_pending_actions_and_come_back_with_a_saved_state(
    tiny_bundle: str,
) -> None:
    base = StreamDiTVectorEnv(2, world=tiny_bundle, observation="state", partition="pipelined")
    env = VectorPendingActions(base)
    env.reset(seed=0)
    saved = base.save_state()
    first = env.step(np.array([1, 2]))[0]
    assert env.observation_space.contains(first)
    env.restore_state(saved)
    assert data_equivalence(env.step(np.array([1, 2]))[0], first, exact=True)
