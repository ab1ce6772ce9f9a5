"""Nothing that arrives as data is run: hostile agents stay shut,
and no code of ours opens a pickle.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
import torch
from support.agents import hostile_pickle, new_agent, small_training, write_hostile_agent

from streamdit_gym.agents.agent_checkpoint import CHECKPOINT, read_checkpoint
from streamdit_gym.agents.demo import demo
from streamdit_gym.agents.policies.policy_file import TrainedAgent, load_agent, save_policy
from streamdit_gym.cli import main
from streamdit_gym.errors import BundleError

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder that is there once a hostile agent has been run."""
    return tmp_path / "trap"


@pytest.fixture
def hostile(tmp_path: Path, trap: Path) -> Path:
    """A folder with an agent that makes the trap when it is loaded."""
    folder = tmp_path / "hostile"
    write_hostile_agent(folder, trap)
    assert not trap.exists()
    return folder


def test_an_agent_that_is_code_is_run_only_if_it_is_trusted(hostile: Path, trap: Path) -> None:
    for place in (hostile, hostile / "agent.zip"):
        with pytest.raises(BundleError, match="--trust-agents"):
            load_agent(place)
    assert not trap.exists()
    assert load_agent(hostile, trust_agents=True).config == small_training()
    assert trap.is_dir(), "so the other tests here could fail"


def test_an_older_checkpoint_is_code_as_well(hostile: Path, trap: Path) -> None:
    (hostile / "checkpoints").mkdir()
    older = shutil.copy(hostile / "agent.zip", hostile / "checkpoints" / "00000016.zip")
    with pytest.raises(BundleError, match="--trust-agents"):
        load_agent(Path(older))
    assert not trap.exists()
    load_agent(Path(older), trust_agents=True)
    assert trap.is_dir()


def test_beside_a_policy_file_code_is_not_looked_at(hostile: Path, trap: Path) -> None:
    config = small_training()
    save_policy(
        hostile / "policy.safetensors", TrainedAgent(agent=new_agent(config), config=config)
    )
    load_agent(hostile, trust_agents=True)
    assert not trap.exists()


def test_no_command_runs_an_agent_unasked(
    tmp_path: Path, hostile: Path, trap: Path, tiny_bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    commands = (
        lambda: main(
            [
                "generate",
                tiny_bundle,
                "--policy",
                str(hostile),
                "--episodes",
                "1",
                "--steps",
                "2",
                *out,
            ]
        ),
        lambda: main(["demo", "--world", tiny_bundle, "--steps", "0", "--out", str(hostile)]),
        lambda: main(["rl", "evaluate", str(hostile), "--world", tiny_bundle, "--episodes", "1"]),
    )
    for command in commands:
        assert command() == 2
        assert "--trust-agents" in capsys.readouterr().err
        assert not trap.exists()


@pytest.mark.slow
def test_evaluate_runs_no_agent_unasked(
    hostile: Path, trap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "PushT", "--quick", "--policies", str(hostile)]) == 2
    assert "--trust-agents" in capsys.readouterr().err
    assert not trap.exists()


def test_demo_leaves_out_the_agent_of_a_world_that_is_code(
    tmp_path: Path, hostile: Path, trap: Path, tiny_bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = shutil.copytree(tiny_bundle, tmp_path / "world")
    shutil.copytree(hostile, world / "agents" / "reach")
    command = ["demo", "--world", str(world), "--steps", "0", "--out", str(tmp_path / "nothing")]
    assert main(command) == 2, "there is no agent in --out"
    assert "left out" in capsys.readouterr().out
    assert not trap.exists()
    with pytest.raises(BundleError):
        demo(tmp_path / "nothing", steps=0, world=str(world), trust_agents=True)
    assert trap.is_dir()


def test_training_goes_on_from_no_pickle(
    tmp_path: Path, hostile: Path, trap: Path, tiny_bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile.rename(tmp_path / "seed-0")
    again = ["rl", "train", "--world", tiny_bundle, "--steps", "16", "--resume"]
    again += ["--set", "num_envs=2", "--out", str(tmp_path)]
    assert main(again) == 2
    assert "no checkpoint to go on from" in capsys.readouterr().err
    (tmp_path / "seed-0" / CHECKPOINT).write_bytes(hostile_pickle(trap))
    assert main(again) == 2
    assert "a checkpoint cannot be read" in capsys.readouterr().err
    assert not trap.exists()


def test_a_checkpoint_that_is_code_is_refused(tmp_path: Path, trap: Path) -> None:
    class Hostile:
        def __reduce__(self):
            return Path.mkdir, (trap,)

    torch.save({"format": 1, "training": Hostile()}, tmp_path / CHECKPOINT)
    with pytest.raises(BundleError, match="a checkpoint cannot be read"):
        read_checkpoint(tmp_path / CHECKPOINT)
    assert not trap.exists()


# --- the source

RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle"}
SAFE_LOADERS = {"json", "np", "numpy", "self._episodes"}  # the last one takes checked arrays
UNSAFE_CALLS = {
    "unsafe_load",
    "full_load",
    "load_all",
    "load_replay_buffer",
    "load_from_zip_file",
    "load_from_pkl",
    "read_pickle",
    "system",
    "popen",
    "getoutput",
}
# what may run code: worlds that installed packages announce, and Stable-Baselines3's own format
TRUSTED = [
    ("streamdit_gym/registry.py", "_definition_of"),
    ("agents/policies/policy_file.py", "_run_zip"),
]


def complaints(source: str) -> list[tuple[str, str]]:
    """Return what a source does that could run what it reads, with the function that does it."""
    found = []

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            named = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            found.extend(
                (function, f"import {name}") for name in named if name.split(".")[0] in PICKLES
            )
        if isinstance(node, ast.Call) and (problem := call_problem(node)):
            found.append((function, problem))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(source), "")
    return found


def call_problem(node: ast.Call) -> str:
    options = {option.arg: option.value for option in node.keywords}
    if isinstance(node.func, ast.Name):
        return node.func.id if node.func.id in RUNS_TEXT else ""
    if not isinstance(node.func, ast.Attribute):
        return ""
    name, owner = node.func.attr, ast.unparse(node.func.value)
    if name in UNSAFE_CALLS or any(
        is_true(options.get(key)) for key in ("allow_pickle", "trust_remote_code", "shell")
    ):
        return f"{owner}.{name}"
    if name != "load" or owner in SAFE_LOADERS:
        return ""
    return "" if owner == "torch" and is_true(options.get("weights_only")) else f"{owner}.load"


def is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def sources() -> list[Path]:
    return [
        path
        for folder in ("streamdit_gym", "envs", "agents", "examples")
        for path in (ROOT / folder).rglob("*.py")
    ]


def test_no_source_runs_what_it_reads() -> None:
    found = [
        (path.relative_to(ROOT).as_posix(), function, problem)
        for path in sources()
        for function, problem in complaints(path.read_text())
    ]
    assert [(path, function) for path, function, _ in found] == TRUSTED, found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "yaml.unsafe_load(text)",
        "PPO.load(path)",
        "ALGORITHMS[name].load(path)",
        "agent.load_replay_buffer(path)",
        "eval(text)",
        "exec(text)",
        "os.system(text)",
        "subprocess.run(text, shell=True)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_the_search_sees_what_would_run(source: str) -> None:
    assert complaints(source)


def test_the_search_leaves_alone_what_reads() -> None:
    fine = (
        "json.load(f); np.load(p); torch.load(p, weights_only=True); yaml.safe_load(t);"
        " model.eval(); load_file(p)"
    )
    assert not complaints(fine)
