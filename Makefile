# Two commands on a fresh machine: `make run` and `make test`. Needs Python 3.11 or newer and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run test browser fuzz lint types docs site results reference paper entry entries bench asv asv-site \
	check-regressions clean

help: ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26

run: $(VENV)/.run ## set up, run the suite `core`, print the leaderboard (SUITE=smoke for seconds)
	@status=0; $(BIN)/memformer-bench run $(or $(SUITE),core) || status=$$?; \
	if [ $$status -le 1 ]; then $(BIN)/memformer-bench leaderboard || status=$$?; fi; exit $$status

# Bytecode is kept whatever the environment says, or every process of the tests would compile this project anew.
test: $(VENV)/.dev ## set up, run the tests
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal

browser: $(VENV)/.dev $(VENV)/.browser ## what the tests of the site need beside a Chromium: without it they are skipped

fuzz: $(VENV)/.dev ## read 21,000 damaged and hostile files, use the store in any order; minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist worksteal tests/runs/test_fuzz.py tests/runs/test_machine.py \
	--hypothesis-profile=fuzz

lint: $(VENV)/.dev ## check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev $(VENV)/.types ## check types
	$(BIN)/pyright

site: $(VENV)/.run ## make a site of the latest run, or of RUN=name, in build/site
	$(BIN)/memformer-bench site $(RUN) --output build/site

docs: $(VENV)/.dev $(VENV)/.docs ## build the documentation into build/docs; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "written to build/docs: open build/docs/index.html"

results: $(VENV)/.dev ## make everything anew that is committed under results/ (hours; ONLY=memory for a part)
	$(BIN)/python -m benchmarks.validation.committed $(addprefix --only ,$(ONLY))

reference: $(VENV)/.run ## measure the committed run and leaderboard anew
	$(BIN)/python -m benchmarks.validation.committed --only core

paper: $(VENV)/.dev ## redo the paper's experiments and judge its claims (results/paper)
	$(BIN)/python -m benchmarks.validation.committed --only paper

entry: $(VENV)/.run ## what a pull request with the entry NAME is told: the contract, and where it would stand
	$(BIN)/memformer-bench entries report $(NAME) --output build/entries/$(NAME).md

entries: $(VENV)/.dev ## execute all entries, write their board, then the site (what merging an entry does)
	$(BIN)/python -m benchmarks.validation.committed --only entries
	$(BIN)/memformer-bench site core-reference --output build/site

bench: $(VENV)/.dev ## time the hot paths in the middle of an edit (ARGS="--benchmark-compare" after a first time)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q tests/perf -o python_files='bench_*.py' --benchmark-enable \
	--benchmark-autosave $(ARGS)

asv: $(VENV)/.dev ## speed and loss over commits (COMMITS=HEAD~3..HEAD); results in results/asv
	$(BIN)/asv machine --yes > /dev/null
	$(BIN)/asv run --show-stderr $(or $(COMMITS),HEAD~3..HEAD)

asv-site: $(VENV)/.dev ## the site of those results, in .asv/html
	$(BIN)/asv publish

check-regressions: $(VENV)/.dev ## is this checkout slower or worse than AGAINST=origin/main? minutes
	$(BIN)/memformer-bench check --against $(or $(AGAINST),origin/main)

clean: ## remove the environment and everything generated
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .benchmarks build dist *.egg-info results/parameters .asv
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made last, so that an environment that was interrupted in the making is made anew: its python is there before its pip.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PIP) --version > /dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/.run: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) install -q -c constraints.txt -e '.[all]'
	@touch $@

# Bytecode is compiled when it is first used: most of what is installed never is.
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) install -q --no-compile -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.run $@

$(VENV)/.browser $(VENV)/.docs $(VENV)/.types: $(VENV)/.%: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP) install -q --no-compile -c constraints.txt -e '.[$*]'
	@touch $@
