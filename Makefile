# Two commands: `make demo` and `make test`. Both set up .venv and the messages first, once.
PYTHON ?= python3
ARGS ?=
# The colcon overlay, and the machine's own ROS (if one is sourced) kept out of it.
RUN = . install/setup.sh && PATH="$(CURDIR)/.venv/bin:$$PATH"

# Tests in two to four processes at once, a file at a time.
PYTEST = $(RUN) pytest --numprocesses auto --maxprocesses 4 --dist loadfile

.PHONY: demo test test-fast test-all lint results setup setup-paper clean

demo: setup
	@$(RUN) gsc demo $(ARGS)

test: setup-paper lint
	@$(PYTEST) $(ARGS)

# Without the tests marked slow: real nodes and links, training, the full-size system's pieces at work.
test-fast: setup lint
	@$(PYTEST) -m "not slow and not exhaustive" $(ARGS)

# With the long forms of fuzzes and searches.
test-all: test
	@$(PYTEST) -m exhaustive $(ARGS)

lint: setup-paper
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

setup:
	@$(PYTHON) tools/setup_environment.py

# What the tests of the profile `paper` need beside that.
setup-paper:
	@$(PYTHON) tools/setup_environment.py --paper

# The tables of docs/results.md; DATA is the folder that the roots in config/results.yaml lie in.
results: setup
	@test -n "$(DATA)" || { echo "make results DATA=DIR: the folder with the datasets of config/results.yaml"; exit 2; }
	@$(RUN) python tools/make_results.py "$(DATA)"

clean:
	rm -rf .venv build install log out setup.log
