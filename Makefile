# One door to everything a developer does. Needs Python 3.11 or newer and make; Node 20 or newer is used when it is there.
#   make install   the virtual environment, the package, and (with Node) the npm servers used by the demo and the tests
#   make demo      real requests through the gateway to real servers
#   make test      the tests
#   make bundle    dist/mcp-dualtune.mcpb, which desktop clients install with a click (needs Node)
#   make conformance  the official MCP conformance suite, directly and through the gateway (needs Node)
#   make check     format, lint, types and the tests: exactly what CI runs

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE_SERVERS := @modelcontextprotocol/server-filesystem@2026.8.31 @modelcontextprotocol/server-memory@2026.8.31
NODE_INSPECTOR := @modelcontextprotocol/inspector@0.15.0
NODE_BUNDLER := @anthropic-ai/mcpb@2.1.2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install demo test conformance bundle check clean

help:
	@sed -n '2,7s/^# *//p' Makefile

install: $(VENV)/.installed .node/.installed

# torch goes in alone and first, so that its pinned build is settled before anything else asks for "some torch".
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mcp-dualtune needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 install" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing the Python packages (the first time takes minutes)"
	@$(BIN)/python -m pip install --quiet 'pip>=25.1,<27'
	@$(BIN)/python -m pip install --quiet -c constraints.txt torch
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e . --group dev
	@touch $@

# Node is optional: without it the demo and the tests say what they leave out. The stamp stays away then, so that a
# later `make install` finds a Node that has come in the meantime.
.node/.installed: Makefile tests/conformance/packages.py
	@mkdir -p .node
	@if command -v npm >/dev/null 2>&1 && node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null; then \
	  echo "Installing the npm servers" && \
	  npm install --silent --no-audit --no-fund --prefix .node $(NODE_SERVERS) $(NODE_INSPECTOR) $(NODE_BUNDLER) && \
	  echo "Installing the conformance suite and the foreign clients" && $(PYTHON) -m tests.conformance.packages && touch $@; \
	else echo "Node 20 or newer is not here: going on without the filesystem and memory servers"; fi

demo: install
	@$(BIN)/python -m examples.demo

test: install
	@./.ci/tests

bundle: install
	@$(BIN)/python -m bundle.build

conformance: install
	@$(BIN)/python -m tests.conformance

check:
	@./.ci/run

clean:
	@rm -rf $(VENV) .node .pytest_cache .mypy_cache .ruff_cache
