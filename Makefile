# Everything a user types. Set-up happens by itself, once; what it does is in tools/setup.sh, its output in build/setup.log.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
export PYTHON

ENVIRONMENT := .venv/.environment.done
TESTING := .venv/.test.done
TRAINING := .venv/.train.done
BUILD := install/.build.done
RUN := . tools/environment.sh &&

## setup      virtual environment, ROS 2, colcon build of messages and nodes (PYTHON=python3.12 selects one)
.PHONY: setup
setup: $(BUILD)

$(ENVIRONMENT): requirements/runtime.txt requirements/ros.txt tools/adapt_ros_wheels.py
	@tools/setup.sh environment && touch $@

$(TESTING): $(ENVIRONMENT) requirements/test.txt
	@tools/setup.sh add test && touch $@

$(TRAINING): $(TESTING) requirements/train.txt
	@tools/setup.sh add train && touch $@

# Python files are linked, not copied: only a new or removed one (its folder changes) needs another build.
$(BUILD): $(ENVIRONMENT) CMakeLists.txt package.xml $(wildcard msg/*.msg scripts/*) \
          $(shell find seg_perception launch config -type d -not -name __pycache__)
	@tools/setup.sh build && touch $@

## demo       simulated drive through camera, segmenter and grid_mapper into out/demo; IMAGES=<folder> or BAG=<rosbag2> for your own
.PHONY: demo
demo: $(BUILD)
	@$(RUN) python -m seg_perception.cli demo $(if $(IMAGES),--images "$(IMAGES)") $(if $(BAG),--bag "$(BAG)") $(ARGS)

## test       all tests (needs torch: 5 GB), two files at a time; ARGS="test/core -k camera" for some
.PHONY: test
test: $(BUILD) $(TRAINING)
	@$(RUN) python -m pytest -n 2 --dist loadfile $(ARGS)

## lint       ruff and mypy
.PHONY: lint
lint: $(BUILD) $(TESTING)
	@$(RUN) ruff check . && mypy

## benchmark  latency and throughput of engine, nodes and grid on this machine
.PHONY: benchmark
benchmark: $(BUILD)
	@$(RUN) python -m seg_perception.cli benchmark $(ARGS)

## clean      remove what set-up and runs have made here; rendered streets stay in ~/.cache/seg_perception
.PHONY: clean
clean:
	rm -rf .venv build install log out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help
help:
	@sed -n 's/^## /make /p' Makefile
