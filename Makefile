# The names everybody uses; each is a short script in scripts/ that also runs without make.
.PHONY: help quickstart setup test lint fix docs bench clean

help:
	@echo 'make quickstart   package a model, serve it, ask it'
	@echo 'make setup        .venv with everything for working on Truss'
	@echo 'make test         what CI runs: setup, lint, generated docs, tests'
	@echo 'make lint         static checks (make fix corrects what can be corrected)'
	@echo 'make docs         write the generated reference pages'
	@echo 'make bench        run the benchmarks'

quickstart:
	sh scripts/quickstart

setup:
	sh scripts/setup

test:
	sh scripts/test

lint: setup
	sh scripts/lint

fix: setup
	sh scripts/lint --fix

docs: setup
	sh scripts/docs

bench:
	sh scripts/bench

clean:
	rm -rf .venv .venvs .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
