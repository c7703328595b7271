"""Shared set-up of all tests: the ledger plugin, hypothesis profiles, one thread a test process."""

import os

import torch
from hypothesis import HealthCheck, settings

import tests.checker  # noqa: F401  (named by its path in pyproject.toml)

pytest_plugins = ["tests.ledger_plugin"]

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.differing_executors]}
settings.register_profile("default", max_examples=100, derandomize=True, **_common)
settings.register_profile("deep", max_examples=5000, derandomize=False, print_blob=True, **_common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
