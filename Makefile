# One-command loops. Everything runs in .venv, which the first target that needs it creates.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The release that pip resolves to a CPU build; any torch >= 2.6 already in .venv is kept.
TORCH ?= torch==2.13.0

# Tests start many processes, each of which would compile all of its modules.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint docs unit isa isa-avx2 isa-baseline browser cross build bench gpu versions wheel clean

demo: $(VENV)/.demo
	$(BIN)/latentpath demo --out demo-out --overwrite

# The linters take one core: the numbers under other instruction sets are computed beside them.
test: $(VENV)/.dev
	$(MAKE) --jobs 3 --output-sync lint docs $(OTHER_ISAS)
	$(MAKE) unit

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in build/site: every page, the commands' options and the Python API; a broken link or a
# docstring that cannot be shown is an error. Needs no network once it is installed.
docs: $(VENV)/.docs
	OMP_NUM_THREADS=1 NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

# One thread per process: threads that wait for each other spin, which is slower than none.
# Workers steal from each other's lists: a worker that dies then costs the test that it ran, where
# loadfile would run that test again in every worker (tests/test_workers.py).
unit: $(VENV)/.dev browser cross
	OMP_NUM_THREADS=1 $(BIN)/pytest -q --numprocesses logical --maxprocesses 8 --dist worksteal

# The tests of numbers again, as processors without AVX-512 and without AVX2 would run them: caps
# for PyTorch, for oneDNN and for our kernels. Not again: Triton's interpreter, which computes with
# NumPy; how ops are registered, compiled and refused; the memory that they take.
# Beside each other, one worker each: tests are collected once, and a crash costs one of them.
# `make test` leaves out what the machine is itself: `unit` computes that.
OTHER_ISAS := $(if $(shell grep -s -m1 -o avx512f /proc/cpuinfo),isa-avx2) isa-baseline
NUMBERS := not triton and not opcheck and not graph_break and not refused and not memory_does
ISA := $(BIN)/pytest -q -m numeric -k "$(NUMBERS)" --numprocesses 1 --dist worksteal \
  $$(grep -rl "mark.numeric" tests --include="test_*.py")

isa: $(VENV)/.dev
	$(MAKE) --jobs 2 --output-sync isa-avx2 isa-baseline

isa-avx2: $(VENV)/.dev
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 \
	  LATENTPATH_MAX_CPU_ISA=avx2 $(ISA)

isa-baseline: $(VENV)/.dev
	OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 \
	  LATENTPATH_MAX_CPU_ISA=baseline $(ISA)

# For the tests of the report's page. Where it cannot be installed without a password they skip.
browser:
	@for name in chromium chromium-browser google-chrome; do \
	  command -v $$name >/dev/null && exit 0; \
	done; \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null && timeout 60 apt-get -qq update && \
	  timeout 180 apt-get install -qq --yes --no-install-recommends chromium >/dev/null 2>&1 || \
	  echo "no Chromium: the tests of the report's layout will be skipped"

# For the kernels' test on another processor: a compiler for aarch64, and QEMU to run what it makes.
cross:
	@command -v aarch64-linux-gnu-g++ >/dev/null && command -v qemu-aarch64-static >/dev/null || \
	{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && timeout 60 apt-get -qq update && \
	  timeout 180 apt-get install -qq --yes --no-install-recommends \
	    g++-aarch64-linux-gnu qemu-user-static >/dev/null 2>&1; } || \
	  echo "no compiler for aarch64: the tests of its kernels will be skipped"

# Rebuild the extension after a change in csrc/.
build: $(VENV)/.dev
	$(BIN)/python -m pip install -qq --no-deps --editable .

# Everything that can be checked and measured on a GPU, in ten minutes: docs/gpu.md. With the Python
# and PyTorch at hand, on a machine without a network; without nvcc Triton's kernels take over. What
# was measured goes into the tables, pages and pictures, whatever was found wrong.
GPU_OUT ?= gpu-out
gpu:
	-$(PYTHON) setup.py -q build_ext --inplace
	$(PYTHON) scripts/gpu_check.py --out $(GPU_OUT) $(GPU_ARGS); found=$$?; \
	  $(PYTHON) scripts/gpu_tables.py $(GPU_OUT) && exit $$found

bench: $(VENV)/.dev
	$(BIN)/python benches/run.py

# The suite with the oldest and the newest versions of what latentpath needs: docs/versions.md.
# Hours, gigabytes; a combination whose Python is not on the PATH is left out.
versions: $(BIN)/nox
	$(BIN)/nox --session versions

# The sdist, from it the wheel, and a walk with the wheel where there is no compiler.
wheel: $(BIN)/nox
	TORCH="$(TORCH)" $(BIN)/nox --session wheel

$(BIN)/nox: $(VENV)/bin/python
	$(BIN)/python -m pip install -qq nox

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip
	$(BIN)/python -m pip install -qq "$(TORCH)"

$(VENV)/.demo: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -qq --editable ".[demo]"
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -qq --editable ".[test,lint,docs,triton]"
	touch $@ $(VENV)/.demo $(VENV)/.docs

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml setup.py
	$(BIN)/python -m pip install -qq --editable ".[docs]"
	touch $@

clean:
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
