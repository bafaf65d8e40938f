"""The disk of the host as a user meets it: a build that takes too much fails alone, and who asks sees what uses what."""

import pytest

from tests.e2e.platform import Platform
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(100)


def test_a_build_that_takes_too_much_leaves_the_live_release_and_the_disk_shows_the_service(
    platform: Platform, repository
) -> None:
    repository.commit(index__html="one")
    made, domain = platform.live("roomy", repository, runtime="static")
    greedy = {"build_cmd": "head -c 40000000 /dev/zero > big; sleep 600", "resources": {"disk": "16M", "strict": True}}
    platform.call("PUT", "/v1/deployments/roomy", greedy)
    failed = platform.settled("roomy", 2)
    assert (failed["status"], failed["live_release"]) == ("failed", 1)
    release = platform.call("GET", "/v1/deployments/roomy/releases/2")
    assert release["reason"] == "build_too_large" and "16 MiB are allowed" in release["message"]
    platform.says(domain, "one".__eq__)

    def shown():
        (instance,) = platform.call("GET", "/v1/instances")["data"]
        disk = platform.call("GET", f"/v1/instances/{instance['name']}/disk")
        assert 0 < disk["space"]["free_bytes"] < disk["space"]["total_bytes"]
        return next(
            (one for one in disk["services"] if one["id"] == made["service_id"] and one["parts"]["releases"]), None
        )

    own = wait_until(shown, 60, "the service among what uses the disk")
    assert (own["name"], own["deployment_id"]) == ("roomy", made["id"])
    assert own["bytes"] >= own["parts"]["releases"]["bytes"] > 0 and own["parts"]["logs"]["bytes"]
