"""An application that burns every processor (T23), as others see it: the instance keeps its lease, and deployments go on."""

import pytest

from tests.e2e.platform import Platform
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(120)
BURNER = "import os\nfor _ in range(3): os.fork()\nwhile True: pass\n"


def test_an_app_that_burns_every_processor_takes_no_heartbeat_and_holds_up_no_deployment(
    platform: Platform, repository
) -> None:
    (instance,) = platform.call("GET", "/v1/instances")["data"]
    if "cpu" not in instance["capabilities"]["limits"].split(","):
        pytest.skip("this host cannot limit cpu by a control group")
    repository.commit(main__py=BURNER, index__html="here")
    burner = {"run_cmd": "python3 main.py", "runtime": "python", "resources": {"cpu": 0.2, "strict": True}}
    workers = {"processes": {"burn": "python3 main.py"}, "process_replicas": {"burn": 3}}
    platform.deploy("burner", repository, **burner, **workers)

    def beats() -> str:
        (found,) = platform.call("GET", "/v1/instances")["data"]
        assert found["status"] == "online"
        return str(found["last_seen"])

    wait_until(lambda: len(platform.pids("burner")) >= 3, 60, "the burners")
    first = beats()
    wait_until(lambda: beats() > first, 30, "a heartbeat")
    _, domain = platform.live("beside", repository, runtime="static")
    assert platform.get(domain) == (200, "here")
    beats()
    platform.call("DELETE", "/v1/deployments/burner")
    wait_until(lambda: not platform.call("GET", "/v1/deployments?name=burner")["data"], 60, "the end of the burners")
