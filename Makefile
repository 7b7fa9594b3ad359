# Everything here sets itself up: .venv is made and kept current by lock/install.
#
#   make demo        the whole system on loopback   SEATS= WORKERS= PUBLIC_PORT= ADMIN_PORT=
#   make test        every test                     FAST=1: checks, unit tests and contracts only
#   make check       ruff, mypy --strict, import contracts
#   make compiled    the data path as C: a request costs a quarter less CPU
#   make bench       against the peers              CASES=page-1k,...
#   make loadtest    Locust against a demo          SCENARIO= SCALE= SPEED=
#   make pictures    draw the pictures of README and RUNBOOK again
#   make locales     take new texts into the catalogues, compile them
#   make lock        resolve the dependencies       UPGRADE=1: to their newest versions
#   make clean       remove what make made here
#
# PYTHON= picks the interpreter (3.11 to 3.13).

SHELL := /bin/sh
BIN := .venv/bin
PYTEST := $(BIN)/pytest -n 2 --durations=15
export PYTHON

.PHONY: help demo compiled test check bench loadtest pictures locales lock clean

help:
	@sed -n 's/^#   //p' Makefile

demo:
	@lock/install demo
	@exec $(BIN)/broker demo $(if $(SEATS),--seats $(SEATS)) $(if $(WORKERS),--workers $(WORKERS)) \
	    $(if $(PUBLIC_PORT),--public-port $(PUBLIC_PORT)) $(if $(ADMIN_PORT),--admin-port $(ADMIN_PORT))

compiled:
	@lock/debian-packages compile
	@lock/install compile
	@$(BIN)/python -m lock.compile

check:
	@lock/install test
	@wrong=0; for tool in "ruff check --output-format concise ." "ruff format --check ." "mypy" "lint-imports --no-logo"; do \
	    echo "$$tool"; $(BIN)/$$tool || wrong=1; done; exit $$wrong

ifdef FAST
test: check
	$(PYTEST) tests/unit tests/contracts
else
test:
	@lock/debian-packages test
	@lock/node-packages test
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m lock.compile --if-possible
	$(PYTEST) --cov=broker/policy --cov-branch --cov-fail-under=100 tests
	$(PYTEST) -p tests.support.compiled_path tests/journeys tests/fuzz tests/unit/gateway \
	    tests/unit/site tests/unit/telemetry tests/unit/policy/test_ejection.py \
	    tests/unit/policy/test_retries.py
endif

# $(call part,FILE,WHAT): refuse honestly while a part is not written.
part = @test -e $(1) || { echo "make $@: $(2) is not there yet." >&2; exit 1; }

bench:
	$(call part,loadtest/bench,the benchmark against the peers)
	@lock/debian-packages bench
	@lock/node-packages bench
	@lock/install bench
	@$(BIN)/python -m lock.compile --if-possible
	@exec $(BIN)/python -m loadtest.bench $(if $(CASES),--cases $(CASES))

loadtest:
	$(call part,loadtest/__main__.py,the load test)
	@lock/install load
	@exec $(BIN)/python -m loadtest run $(or $(SCENARIO),crisis-sixfold) \
	    $(if $(SCALE),--scale $(SCALE)) $(if $(SPEED),--speed $(SPEED))

pictures:
	$(call part,loadtest/pictures,the drawing of the pictures)
	@lock/install test
	@exec $(BIN)/python -m loadtest.pictures

lock:
	@lock/install test
	$(BIN)/python lock/relock.py $(if $(UPGRADE),--upgrade)

locales:
	@lock/install runtime
	@mkdir -p build
	$(BIN)/pybabel extract -F broker/locales/babel.cfg -k mark -k translate --no-location \
	    -o build/broker.pot .
	$(BIN)/pybabel update -D broker -d broker/locales -i build/broker.pot --no-fuzzy-matching \
	    --ignore-obsolete --width=100
	$(BIN)/pybabel compile -D broker -d broker/locales

clean:
	rm -rf .venv .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	    .coverage .coverage.* build dist loadtest/bench/node/node_modules tests/node/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
