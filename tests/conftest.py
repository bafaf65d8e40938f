"""For every test: property tests have no deadline, and many more examples under `make test-all`."""

import os

import hypothesis

hypothesis.settings.register_profile("short", deadline=None)
hypothesis.settings.register_profile("whole", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("whole" if os.environ.get("TEST_ALL") else "short")

for name in [key for key in os.environ if key.startswith("DPLOYR_")]:
    del os.environ[name]  # what a developer has set for daily use must not reach what is tested
