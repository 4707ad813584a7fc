# `make` lists the targets. Nothing but pip is used (and npm, where it is, for one test), and nothing outside this folder changes.
PYTHON ?= python3
VENV := .venv
AXE := $(VENV)/axe/node_modules/axe-core/axe.min.js
WORKERS := 2
PY := $(VENV)/bin/python
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help repro smoke test test-all test-verl test-deepspeed clean

help: ## list the targets
	@echo "make TARGET [PYTHON=python3.12]: the interpreter (3.11 to 3.13) that $(VENV) is made with"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

repro: $(VENV)/core.stamp ## check claims and methods, predict, simulate, draw, run the experiments; then smoke
	$(PY) paper_repro.py all --preset smoke --core
	@echo
	@echo "That was all without torch. Next: a small language model (make smoke)."
	@$(MAKE) --no-print-directory smoke

smoke: $(VENV)/llm.stamp ## also teach a small language model, train it by GRPO and DS, audit all three; report.html; installs torch
	$(PY) paper_repro.py all --preset smoke

test: $(VENV)/dev.stamp ## lint, format, types, doctests and tests [WORKERS=2]
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy --num-workers $(WORKERS)
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --durations 20

test-all: test $(AXE) ## test, the slow tests, comparisons with packages of others in environments of their own (verl and DeepSpeed too)
	@command -v chromium >/dev/null || echo "Without the test of the report in a browser: apt-get install chromium"
	$(PY) -m pytest -n $(WORKERS) --dist loadfile -m "(slow or other_package) and not deepspeed" --durations 20
	@if $(PY) -c 'import sys; sys.exit(sys.version_info >= (3, 13))'; then $(MAKE) --no-print-directory test-verl; \
	  else echo "Not tried: the plugin inside verl, which needs Python 3.12 or older."; fi
	@if command -v c++ >/dev/null; then $(MAKE) --no-print-directory test-deepspeed; \
	  else echo "Not tried: DeepSpeed, which needs a compiler of C++."; fi

test-verl: $(VENV)-verl/stamp ## the plugin for verl inside verl itself, in an environment of its own, .venv-verl (Python to 3.12)
	PYTHONPATH=$(CURDIR) $(<D)/bin/python -m pytest -W ignore -m verl tests/test_verl.py

test-deepspeed: $(VENV)-deepspeed/stamp ## two processes by DeepSpeed ZeRO-3, in .venv-deepspeed (needs a compiler of C++)
	PYTHONPATH=$(CURDIR) PATH="$(CURDIR)/$(<D)/bin:$$PATH" TORCH_EXTENSIONS_DIR=$(CURDIR)/$(<D)/compiled \
	  $(<D)/bin/python -m pytest -W ignore -m deepspeed tests/test_sharded.py

clean: ## remove .venv and the checkers' caches; results and models stay
	rm -rf $(VENV) $(VENV)-verl $(VENV)-deepspeed build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv is made anew where it is missing or incomplete, or where another interpreter is asked for by name.
HAVE := $(shell test -x $(VENV)/bin/pip && test -x $(PY) && $(PY) -V)
ifneq ($(origin PYTHON),file)
WANT := $(or $(shell command -v $(PYTHON) >/dev/null && $(PYTHON) -V),none)
endif
ifneq ($(HAVE),$(or $(WANT),$(HAVE),some))
.PHONY: $(PY)
endif

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "PYTHON=$(PYTHON) is '$$($(PYTHON) -V 2>&1)': want Python 3.11, 3.12 or 3.13, as in" \
	    "make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)."
	@$(PYTHON) -m venv --clear $(VENV)

# Without --no-compile pip compiles all of every package, which takes longer than the rest of the installation.
define install
	@echo "Installing $(1) with the versions of constraints.txt into $(VENV): about half a minute, and the downloads."
	@$(PY) -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt --editable '$(2)'
	@rm -rf build sharpening.egg-info
	@touch $(VENV)/core.stamp $(3) $@
endef

$(VENV)/core.stamp: pyproject.toml constraints.txt $(PY)
	$(call install,what the toolkit needs,.)

$(VENV)/llm.stamp: pyproject.toml constraints.txt $(PY)
	@echo "torch is a download of 0.2 GB as a CPU build, and of about 3 GB with CUDA, which is what pip finds for Linux;" \
	  "put PIP_INDEX_URL or PIP_FIND_LINKS to where CPU builds are, if you want one. transformers is 0.02 GB more."
	$(call install,torch and transformers,.[llm])

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(PY)
	$(call install,what the toolkit and its tests need,.[dev],$(VENV)/llm.stamp)

# What the test of the report in a browser looks with; without npm that test is skipped.
$(AXE): $(VENV)/dev.stamp
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix $(VENV)/axe axe-core@4.14.1; \
	  else echo "No npm, so without axe-core, which looks at the report in a browser."; fi

# verl pins other versions than TRL works with: only it and what it imports beyond .venv is installed, and .venv lies under it.
# DeepSpeed changes what transformers does wherever it is installed, and compiles a part of itself when it is first used.
$(VENV)-%/stamp: tests/%_requirements.txt $(VENV)/dev.stamp
	@echo "Making $(@D) with $* and what it imports: about half a minute, and downloads of at most 0.1 GB."
	@$(PY) -m venv --clear $(@D)
	@DS_BUILD_OPS=0 $(@D)/bin/python -m pip install --quiet --no-compile --no-deps --disable-pip-version-check -r $<
	@echo "import site; site.addsitedir('$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')')" \
	  > "$$($(@D)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/below.pth"
	@touch $@
