# A thin door: every target is a script of scripts/, a preset of CMakePresets.json, or both.
.DEFAULT_GOAL := build
.PHONY: run test build bench instructions lint fuzz sanitize stress format docs setup clean

run:
	@scripts/run

test:
	@scripts/setup test
	@scripts/build release
	@scripts/test

build:
	@scripts/setup
	@scripts/build release labs-analytics

bench:
	@scripts/setup test
	@scripts/build release labs-analytics bench-ingest-cost
	@bench/run

instructions:
	@scripts/setup test
	@scripts/build release counted
	@scripts/instructions

lint:
	@scripts/setup test
	@scripts/build release
	@scripts/lint

fuzz:
	@scripts/setup test
	@scripts/fuzz

sanitize:
	@scripts/setup test
	@scripts/sanitize

stress:
	@scripts/setup test
	@scripts/build release
	@LABS_SCALE=$${LABS_SCALE:-10} scripts/test tests/fault tests/stress

format:
	@scripts/setup test
	@scripts/format

docs:
	@scripts/setup
	@scripts/build release labs-analytics
	@scripts/docs

setup:
	@scripts/setup test

clean:
	rm -rf build build-* .venv .venv-client .pytest_cache
	rm -rf clients/python/build clients/python/src/*.egg-info
