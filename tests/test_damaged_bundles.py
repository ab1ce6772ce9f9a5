"""Bundles that are damaged, or made to do harm: each is refused by name, or loads as it says it is.

What may load although something was changed: a ``config.json`` whose facts changed (text for
people), and one of an author who chose another value that is allowed and signed it: the world has
that value.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import resource
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.bundles import (
    Place,
    edited,
    fields_of,
    make_short_world,
    read_content,
    sign_files,
    without,
    write_content,
)

from streamdit_gym.bundle.config import file_names
from streamdit_gym.bundle.fields import CONFIG_FIELDS
from streamdit_gym.bundle.networks import MODEL_RULES, check_rules, stored_config
from streamdit_gym.bundle.spec_fields import stored_spec
from streamdit_gym.errors import BundleError
from streamdit_gym.presets import PRESETS, partition
from streamdit_gym.stream.engine import Engine
from streamdit_gym.stream.noise import Noise
from streamdit_gym.world import World

CASES = int(os.environ.get("DAMAGED_BUNDLES", "300"))
MAX_SECONDS = 10.0  # for one bundle, on a busy machine
MAX_GROWTH_BYTES = 400 * 2**20  # of the process, over all bundles
NESTED: list[Any] = []
for _ in range(200):
    NESTED = [NESTED]
WRONG: list[Any] = [
    "",
    "x",
    "../../x",
    "\ud800",
    "a\nb",
    "x" * 100_000,
    0,
    -1,
    1,
    7,
    2.5,
    20_000,
    10**9,
    10**30,
    -1e308,
    1e308,
    math.nan,
    math.inf,
    -math.inf,
    True,
    False,
    None,
    [],
    [[]],
    [1, 2],
    ["x", "x"],
    {},
    {"x": 1},
    NESTED,
]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)  # networks this small only lose by more


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "tiny"
    world = make_short_world()
    facts = {"license": "Apache-2.0", "training_frames": 5, "notes": ["any", {"text": 1.5}]}
    dataclasses.replace(world, pipelined_model=world.model, facts=facts).save_pretrained(folder)
    return folder


@pytest.fixture
def bundle(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


def load(folder: Path) -> World | None:
    """Return the world, None if it is refused by an error that names the file; all else fails."""
    begun = time.perf_counter()
    world, refusal = None, None
    try:
        world = World.from_pretrained(folder)
    except BundleError as error:
        refusal = error
    assert time.perf_counter() - begun < MAX_SECONDS
    if refusal is not None:
        assert refusal.remedy
        names = ["config.json", *file_names(longer=True)]
        assert any(name in str(refusal) for name in names), refusal
    return world


def check_works(world: World) -> None:
    """Stream a frame and read it."""
    world.codec.decode(world.starts.latents[:1, None])
    world.readout(world.starts.latents[:1, None])
    references = world.model.config.references
    if not 1 <= references <= 8:  # none: a world that does not stream
        return
    engine = Engine(world.model, world.table, partition(f"K{references}N1c1s1"))
    idle = torch.zeros(1, 1, dtype=torch.long)
    session = engine.start(world.starts.latents[:1, None], idle, Noise.seeded([0]))
    clean = engine.tick(session, world.table.rows([world.spec.menu[0][0]]))
    assert world.codec.decode(clean).shape == (1, 1, *world.spec.frame_shape)


def says(world: World) -> dict[str, Any]:
    """Return what a loaded world says of itself, as JSON would."""
    return json.loads(
        json.dumps(
            {
                "spec": stored_spec(world.spec),
                "model": stored_config(world.model.config),
                "longer": stored_config(world.pipelined_model.config)
                if world.pipelined_model
                else None,
                "codec": stored_config(world.codec.config),
                "heads": stored_config(world.readout.config),
                "phrases": world.table.phrases,
            }
        )
    )


def equal(said: Any, content: Any) -> bool:
    """Whether all that a ``config.json`` says is what a world says; 1 is 1.0, True is not."""
    if isinstance(content, dict):
        return all(equal(said.get(key), item) for key, item in content.items())
    if isinstance(content, list):
        return len(said) == len(content) and all(map(equal, said, content))
    return said == content and isinstance(said, bool) == isinstance(content, bool)


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(path: Path, rng: random.Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


# ---- one kind of damage each: it changes the folder, and returns what may be loaded ----


def flip_weights(folder: Path, rng: random.Random) -> None:
    flip(folder / rng.choice(file_names(longer=True)), rng)
    assert load(folder) is None


def cut_any(folder: Path, rng: random.Random) -> None:
    cut(folder / rng.choice(["config.json", *file_names(longer=True)]), rng)
    world = load(folder)
    if world is not None:  # the newline at the end of config.json was cut
        assert world.digest == read_content(folder)["digest"]


def flip_config(folder: Path, rng: random.Random) -> None:
    before = read_content(folder)
    flip(folder / "config.json", rng)
    world = load(folder)
    if world is not None:
        after = read_content(folder)
        assert world.digest == before["digest"]
        assert {**after, "facts": 0} == {**before, "facts": 0}


def edit_config(folder: Path, rng: random.Random) -> None:
    content = read_content(folder)
    del content["digest"]  # whatever is written is signed again
    path = rng.choice(fields_of(content))
    change = rng.choice(["wrong", "wrong", "wrong", "missing", "unknown"])
    if change == "missing":
        content = without(content, path)
    elif change == "unknown":
        objects = [place for place in fields_of(content) if isinstance(place[-1], str)]
        content = edited(content, (*rng.choice(objects)[:-1], "novelty"), 1)
    else:
        content = edited(content, path, rng.choice(WRONG))
    write_content(folder, content)
    check_edited(folder, content)


def check_edited(folder: Path, content: dict[str, Any]) -> None:
    world = load(folder)
    if world is not None:
        for part, said in says(world).items():
            assert equal(said, content.get(part)), part
        check_works(world)


def flip_signed(folder: Path, rng: random.Random) -> None:
    flip(folder / rng.choice(file_names(longer=True)), rng)
    sign_files(folder)
    world = load(folder)
    if world is not None:  # another number in a tensor, and a finite one
        check_works(world)


def edit_tensor(folder: Path, rng: random.Random) -> None:
    path = folder / rng.choice(file_names(longer=True))
    tensors = load_file(path)
    key = rng.choice(sorted(tensors))
    value = tensors[key].clone()
    change = rng.choice(["nan", "inf", "missing", "more", "shape", "type", "empty"])
    if change in ("nan", "inf"):
        key = rng.choice(sorted(key for key, value in tensors.items() if value.is_floating_point()))
        value = tensors[key].clone()
        value.view(-1)[rng.randrange(value.numel())] = float(change)
    elif change == "more":
        key = "more"
    elif change == "shape":
        value = torch.cat([value.view(-1), value.view(-1)])
    elif change == "type":
        value = value.to(torch.int16)
    elif change == "empty":
        value = value.view(-1)[:0]
    tensors[key] = value
    if change == "missing":
        del tensors[key]
    save_file(tensors, path)
    sign_files(folder)
    assert load(folder) is None, (path.name, key, change)


KINDS = (flip_weights, cut_any, flip_config, edit_config, edit_config, flip_signed, edit_tensor)


def run_cases(whole: Path, folder: Path, seeds: range) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in seeds:
        rng = random.Random(seed)
        kind = KINDS[seed % len(KINDS)]
        for path in whole.iterdir():
            shutil.copyfile(path, folder / path.name)
        try:
            kind(folder, rng)
        except Exception as error:
            raise AssertionError(f"{kind.__name__}, seed {seed}: {error!r}") from error
        outcomes[kind.__name__] += 1
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert growth < MAX_GROWTH_BYTES
    return outcomes


def test_damaged_bundles_are_refused_by_name_or_are_right(whole: Path, tmp_path: Path) -> None:
    run_cases(whole, tmp_path, range(150))


@pytest.mark.slow
def test_many_damaged_bundles_are_refused_by_name_or_are_right(
    whole: Path,
    tmp_path: Path,
) -> None:
    outcomes = run_cases(whole, tmp_path, range(150, 150 + CASES))
    assert sum(outcomes.values()) == CASES
    print(dict(outcomes))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("model", "width"), 20_000),
        (("model", "depth"), 10**9),
        (("model", "grid"), 10**9),
        (("model", "text_width"), 16_384),
        (("model", "refine"), 8192),
        (("codec", "blocks"), 10**9),
        (("codec", "blocks"), 64),
        (("codec", "width"), 4096),
        (("heads", "width"), 4096),
        (("model", "temperature"), math.nan),
        (("model", "reference_time"), math.nan),
        (("model", "window"), [0, 0, 0]),
        (("spec", "tasks", "reach", "scale"), math.nan),
        (("spec", "tasks", "reach", "potential"), "potential_other"),
        (("spec", "name"), "../../x"),
        (("spec", "menu"), []),
        (("heads", "score_names"), ["success_x"]),
        (("format",), -1),
        (("format",), 1.0),
        (("files", "model.safetensors", "bytes"), 2**60),
    ],
)
def test_what_cannot_be_is_refused_before_memory_is_asked_for(
    bundle: Path,
    place: Place,
    value: Any,
) -> None:
    write_content(bundle, edited(read_content(bundle), place, value))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    named = ".".join(str(part) for part in place)
    with pytest.raises(BundleError, match=f"{named}|{place[0]}.safetensors"):
        World.from_pretrained(bundle)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe{}",
        b"[" * 200_000,
        b'{"format": ' + b"[" * 200_000,
        b'{"format": 1' + b"0" * 5000 + b"}",
        b'{"format": 1e999}',
        b" " * (17 * 2**20),
    ],
    ids=range(10),
)
def test_a_config_that_is_none_is_refused(bundle: Path, data: bytes) -> None:
    (bundle / "config.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"config\.json"):
        World.from_pretrained(bundle)


def test_a_field_of_a_later_version_asks_for_an_upgrade(bundle: Path) -> None:
    write_content(bundle, edited(read_content(bundle), ("model", "novelty"), 5))
    with pytest.raises(BundleError, match=r"model\.novelty(.|\n)*upgrade"):
        World.from_pretrained(bundle)


def test_a_config_changed_by_hand_loads_without_its_digest(bundle: Path) -> None:
    content = edited(read_content(bundle), ("spec", "tasks", "reach", "horizon"), 32)
    (bundle / "config.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=r'changed by hand(.|\n)*remove its line "digest"'):
        World.from_pretrained(bundle)
    del content["digest"]
    (bundle / "config.json").write_text(json.dumps(content))
    assert World.from_pretrained(bundle).spec.tasks["reach"].horizon == 32


def test_every_preset_is_within_the_bounds() -> None:
    for name, sizes in PRESETS.items():
        values = json.loads(json.dumps(stored_config(sizes.model)))
        model = CONFIG_FIELDS["model"].check("model", values)
        assert model == sizes.model, name
        check_rules(model, MODEL_RULES, "model.")
        if sizes.codec is not None:
            CONFIG_FIELDS["codec"].check(
                "codec",
                json.loads(json.dumps(stored_config(sizes.codec))),
            )


def test_prompts_without_a_token_and_starts_without_a_state_are_refused(bundle: Path) -> None:
    prompts = load_file(bundle / "prompts.safetensors")
    save_file(
        {**prompts, "mask": torch.zeros_like(prompts["mask"])},
        bundle / "prompts.safetensors",
    )
    sign_files(bundle)
    with pytest.raises(BundleError, match=r"prompts\.safetensors"):
        World.from_pretrained(bundle)
    save_file(prompts, bundle / "prompts.safetensors")
    starts = load_file(bundle / "starts.safetensors")
    save_file({**starts, "states": starts["states"][1:].clone()}, bundle / "starts.safetensors")
    sign_files(bundle)
    with pytest.raises(BundleError, match=r"starts\.safetensors(.|\n)*6 latents, 5 states"):
        World.from_pretrained(bundle)
