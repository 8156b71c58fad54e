# Two commands matter: `make demo` runs the main job, `make test` passes the tests. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test slow lint bench clean
.DELETE_ON_ERROR:

$(VENV)/core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "installing (about a minute) ..."
	$(PIP) install -c constraints.txt torch==2.13.0
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/core
	@echo "installing what the tests need: every converter and runtime, about 3 GB, 2 minutes ..."
	$(PIP) install -c constraints.txt -e '.[dev]'
	@touch $@

# what tests run from npm: ONNX Runtime's WebAssembly files for browsers, a server that speaks S3
$(VENV)/web/done:
	@mkdir -p $(VENV)/web
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --prefix $(VENV)/web onnxruntime-web@1.30.0 s3rver@3.7.1 \
	    || echo "npm failed: the tests that need a browser will skip"; \
	else echo "npm is not there: the tests that need a browser will skip"; fi
	@touch $@

demo: $(VENV)/core
	$(BIN)/mobilenets demo --out runs/demo --overwrite

test: $(VENV)/dev $(VENV)/web/done lint
	$(BIN)/python -m pytest -m "not slow and not alone" -n 2 --dist loadfile
	$(BIN)/python -m pytest -m "alone and not slow"

slow: $(VENV)/dev $(VENV)/web/done
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev $(VENV)/web/done
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
