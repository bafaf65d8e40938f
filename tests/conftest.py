"""For every test: property tests have no deadline, and many more examples under `make test-all`. How tests are shared out."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

# The short run, which lands or refuses work, tries the same examples each time; the whole one goes looking for new ones.
hypothesis.settings.register_profile("short", deadline=None, derandomize=True)
hypothesis.settings.register_profile("whole", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("whole" if os.environ.get("TEST_ALL") else "short")

for name in [key for key in os.environ if key.startswith("DPLOYR_")]:
    del os.environ[name]  # what a developer has set for daily use must not reach what is tested


@pytest.fixture(autouse=True)
def _where_we_stood() -> Iterator[None]:
    """Who starts a process as the supervisor does stands at the root afterwards."""
    before = pathlib.Path.cwd()
    yield
    os.chdir(before)


@pytest.hookimpl(optionalhook=True)  # there is no such hook under -p no:xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With -n, the tests of a file run on one worker, and all end-to-end tests on the same: they share one platform."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid.partition("::")[0]

    config.option.loadscopereorder = False  # by size the end-to-end tests would come last, and leave a worker idle
    return Scheduling(config, log)
