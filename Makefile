# Two commands: `make demo` and `make test`. Both set up .venv and the messages first, once.
PYTHON ?= python3
ARGS ?=
# The colcon overlay, and the machine's own ROS (if one is sourced) kept out of it.
RUN = . install/setup.sh && PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: demo test lint results setup setup-paper clean

demo: setup
	@$(RUN) gsc demo $(ARGS)

test: setup-paper lint
	@$(RUN) pytest $(ARGS)

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
