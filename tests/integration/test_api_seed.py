"""Every request of the seed's API reference, literally, over a real server and the real services."""

import re

import pytest

from control_plane.domain import values
from tests import api_fixtures

APP = api_fixtures.NODE_APP
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(scope="module")
def running():
    with api_fixtures.control_plane(requests_per_hour=100_000, anonymous_per_hour=100_000) as pair:
        yield pair


@pytest.fixture
def plane(running):
    return running[0]


@pytest.fixture
def client(running):
    yield running[1]
    for deployment in running[1].get("/v1/deployments?limit=200").json["data"]:
        running[0].loop.run(_forget(running[0], deployment["id"]))


async def _forget(plane, deployment_id):
    async with plane.store.write() as tx:
        await tx.delete_deployment(deployment_id)


@pytest.fixture
def deployed(client):
    return client.post("/v1/deployments", APP).json


def test_login_gives_tokens_that_work(client):
    answer = client.post("/v1/auth/login", {"email": api_fixtures.EMAIL, "password": api_fixtures.PASSWORD})
    assert answer.status == 200
    assert answer.json["expires_in"] == 3600
    assert answer.json["token_type"] == "Bearer"
    signed_in = api_fixtures.Client(client.port, answer.json["access_token"])
    me = signed_in.get("/v1/auth/me").json
    assert me["email"] == api_fixtures.EMAIL
    assert me["operator"]
    renewed = client.post("/v1/auth/refresh", {"refresh_token": answer.json["refresh_token"]}).json
    assert api_fixtures.Client(client.port, renewed["access_token"]).get("/v1/deployments").status == 200


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(client):
    wrong = client.post("/v1/auth/login", {"email": api_fixtures.EMAIL, "password": "wrong"})
    unknown = client.post("/v1/auth/login", {"email": "nobody@example.test", "password": "wrong"})
    assert (wrong.status, unknown.status) == (401, 401)
    assert wrong.json["error"] == unknown.json["error"]


def test_a_deployment_says_which_values_were_given_and_which_are_defaults(client):
    made = client.post("/v1/deployments", {**APP, "name": "told", "replicas": 1, "secrets": {"A": "b"}}).json["sources"]
    given = {name for name, origin in made.items() if origin == "given"}
    assert given == {*APP, "replicas", "secrets"} - {"name"}
    assert {made[name] for name in ("env", "strategy", "health_check", "working_dir")} == {"default"}
    repeated = client.put("/v1/deployments/told", {"working_dir": ""}).json
    assert (repeated["sources"]["working_dir"], repeated["release"]) == ("given", 1)
    again = client.put("/v1/deployments/told", {"working_dir": "", "name": "told"}).json
    assert again["generation"] == repeated["generation"]
    other = client.put("/v1/deployments/told", {"runtime": "python", "env": {"A": "1"}, "secrets": {"A": None}}).json
    assert (other["sources"]["version"], other["sources"]["env"]) == ("default", "given")
    release = client.get("/v1/deployments/told/releases/1").json
    assert (release["config"]["sources"]["version"], release["config"]["sources"]["env"]) == ("given", "default")


def test_create_deployment(client):
    answer = client.post("/v1/deployments", APP)
    assert answer.status == 201
    made = answer.json
    assert answer.headers["location"] == f"/v1/deployments/{made['id']}"
    assert made["status"] == "pending"
    assert made["release"] == 1
    assert made["live_release"] is None
    assert made["project"] == "default"
    assert made["project_id"] == client.get("/v1/projects/default").json["id"]
    assert {key: made[key] for key in APP} == APP
    assert TIME.fullmatch(made["created_at"])
    assert client.get(answer.headers["location"]).json == made


def test_list_deployments(client, deployed):
    page = client.get("/v1/deployments").json
    assert page == {"data": [deployed], "next_cursor": None}


def test_lists_are_paged_and_filtered(client, deployed):
    second = client.post("/v1/deployments", {**APP, "name": "second"}).json
    first_page = client.get("/v1/deployments?limit=1").json
    assert [found["name"] for found in first_page["data"]] == ["my-app"]
    last_page = client.get(f"/v1/deployments?limit=1&cursor={first_page['next_cursor']}").json
    assert last_page == {"data": [second], "next_cursor": None}
    assert client.get("/v1/deployments?name=second").json["data"] == [second]
    assert client.get("/v1/deployments?status=running").json["data"] == []
    assert len(client.get("/v1/deployments?project=default").json["data"]) == 2
    assert client.get("/v1/services?name=second").json["data"][0]["deployment_id"] == second["id"]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=zzz", "status=odd", "colour=blue"])
def test_a_bad_list_parameter_is_a_400_that_names_it(client, query):
    answer = client.get(f"/v1/deployments?{query}")
    assert answer.status == 400
    assert answer.json["error"]["details"]["field"] == query.partition("=")[0]


def test_get_deployment_by_id_and_by_name(client, deployed):
    assert client.get(f"/v1/deployments/{deployed['id']}").json == deployed
    assert client.get("/v1/deployments/my-app").json == deployed


def test_update_deployment_merges(client, deployed):
    client.put("/v1/deployments/my-app", {"env": {"A": "1", "B": "2"}})
    answer = client.put(
        f"/v1/deployments/{deployed['id']}", {"version": "22", "env": {"NODE_ENV": "production", "A": None}}
    )
    assert answer.status == 200
    assert answer.json["version"] == "22"
    assert answer.json["env"] == {"B": "2", "NODE_ENV": "production"}
    assert answer.json["run_cmd"] == APP["run_cmd"]
    assert answer.json["release"] == 3
    again = client.put(f"/v1/deployments/{deployed['id']}", {"version": "22"})
    assert (again.status, again.json["release"]) == (200, 3)


def test_releases_are_listed_and_shown(client, deployed):
    client.put("/v1/deployments/my-app", {"version": "22"})
    listed = client.get("/v1/deployments/my-app/releases").json["data"]
    assert [(found["number"], found["version"]) for found in listed] == [(2, "22"), (1, "20")]
    assert client.get("/v1/deployments/my-app/releases/1").json == listed[1]
    assert client.get("/v1/deployments/my-app/releases/9").status == 404
    assert client.get("/v1/deployments/my-app/releases/x").status == 404


def test_delete_deployment(client, deployed):
    answer = client.delete(f"/v1/deployments/{deployed['id']}")
    assert answer.status == 202
    assert answer.json["status"] == "deleting"
    assert client.get("/v1/deployments/my-app").json["status"] == "deleting"
    assert client.delete("/v1/deployments/nothing").status == 404


def test_services_are_listed_shown_started_stopped_and_restarted(client, deployed):
    service = client.get("/v1/services").json["data"][0]
    assert service["id"] == deployed["service_id"]
    assert service["instance_id"].startswith("ins_")
    path = f"/v1/services/{service['id']}"
    assert client.get(path).json == service
    assert client.get(f"{path}/status").json == service
    assert client.post(f"{path}/start").status == 202
    stopped = client.post(f"{path}/stop")
    assert (stopped.status, stopped.json["desired"]) == (202, "stopped")
    restarted = client.post("/v1/services/my-app/restart")
    assert (restarted.status, restarted.json["desired"]) == (202, "running")
    assert restarted.json["generation"] > service["generation"]


def test_service_logs_as_a_page(plane, client, deployed):
    plane.relay.tail = [api_fixtures.a_line(seq, f"line {seq}") for seq in range(1, 5)]
    plane.relay.tail[3] = api_fixtures.a_line(4, late=True)
    plane.relay.tail.append(api_fixtures.a_line(5, gap_to=7))
    page = client.get(f"/v1/services/{deployed['service_id']}/logs?tail=3&after_seq=1").json
    assert page["next_cursor"] == "7"
    assert [line.get("seq") for line in page["data"]] == [3, 4, None]
    assert page["data"][0] == {
        "seq": 3,
        "ts": "2023-11-14T22:13:20.500Z",
        "stream": "stdout",
        "process": "web.1",
        "release": 1,
        "line": "line 3",
        "late": False,
    }
    assert page["data"][1]["late"]
    assert page["data"][2] == {"gap": {"from": 5, "to": 7}}


def test_instances_are_listed_and_shown(plane, client):
    listed = client.get("/v1/instances").json["data"]
    assert [(found["name"], found["status"]) for found in listed] == [("host-1", "online")]
    assert client.get(f"/v1/instances/{plane.instance.id}").json["os"] == "Debian"
    assert client.get("/v1/instances/host-1").json["id"] == plane.instance.id


def test_instances_are_listed_by_name_and_status(client):
    for query, names in (
        ("name=host-1", ["host-1"]),
        ("name=host-2", []),
        ("status=online", ["host-1"]),
        ("status=offline", []),
    ):
        assert [one["name"] for one in client.get(f"/v1/instances?{query}").json["data"]] == names, query
    assert client.get("/v1/instances?status=asleep").json["error"]["details"]["field"] == "status"


def test_instance_metrics_as_json_and_for_prometheus(plane, client):
    missing = client.get("/v1/instances/host-1/metrics")
    assert missing.status == 503
    assert missing.headers["retry-after"]
    sample = values.Sample(plane.instance.id, 1_700_000_000.0, {"load1": 0.5}, "dployr_load1 0.5\n")
    plane.loop.run(plane.services.instances.record_sample(plane.instance.id, sample))
    answer = client.get("/v1/instances/host-1/metrics").json
    assert answer["latest"] == {"time": "2023-11-14T22:13:20.000Z", "families": {"load1": 0.5}}
    assert answer["series"] == []  # nothing in it that is kept over time
    scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
    scraped = client.get("/v1/instances/host-1/metrics", Accept=scraper)
    assert scraped.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert scraped.text == "dployr_load1 0.5\n"


def test_instance_metrics_over_time(plane, client):
    sample = values.Sample(plane.instance.id, 1.0, {"cpu": {"user": 12.5}, "load": [0.5]}, "")
    plane.loop.run(plane.services.instances.record_sample(plane.instance.id, sample))
    answer = client.get("/v1/instances/host-1/metrics").json
    assert answer["step"] == 10
    assert len(answer["times"]) == 1
    assert answer["from"] <= answer["times"][0] <= answer["to"]
    assert answer["series"] == [
        {"name": "cpu_percent", "labels": {"mode": "user"}, "values": [12.5]},
        {"name": "load", "labels": {"period": "1m"}, "values": [0.5]},
    ]
    older = client.get("/v1/instances/host-1/metrics?from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step=3600").json
    assert (older["step"], older["times"], older["series"]) == (3600, [], [])
    assert (older["from"], older["to"]) == ("2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z")
    for query, field in (
        ("from=yesterday", "from"),
        ("to=2026", "to"),
        ("step=0", "step"),
        ("step=many", "step"),
        ("since=2026-01-01T00:00:00Z", "since"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "from"),
    ):
        refused = client.get(f"/v1/instances/host-1/metrics?{query}")
        assert (refused.status, refused.json["error"]["details"]["field"]) == (400, field), query


def test_prometheus_finds_every_instance_and_scrapes_it_where_it_asked(plane, client):
    client.request("PATCH", "/v1/instances/host-1", {"labels": {"disk.kind": "nvme"}})
    [group] = client.get("/v1/prometheus/targets", Host="dployr.example.com:8443").json
    assert group["targets"] == ["dployr.example.com:8443"]
    path = group["labels"].pop("__metrics_path__")
    assert group["labels"] == {
        "instance": "host-1",
        "__meta_dployr_instance_id": plane.instance.id,
        "__meta_dployr_status": "online",
        "__meta_dployr_label_disk_kind": "nvme",
    }
    sample = values.Sample(plane.instance.id, 1_700_000_000.0, {}, "dployr_host_load1 0.5\n")
    plane.loop.run(plane.services.instances.record_sample(plane.instance.id, sample))
    assert client.get(path, Accept="text/plain").text == "dployr_host_load1 0.5\n"


def test_proxy_routes(client, deployed):
    wanted = {"domain": "Example.com", "service_id": deployed["service_id"], "port": 3000}
    answer = client.post("/v1/proxy/routes", wanted)
    assert answer.status == 201
    route = answer.json
    assert (route["domain"], route["path"], route["status"]) == ("example.com", "/", "pending")
    assert client.get(answer.headers["location"]).json == route
    assert client.get("/v1/proxy/routes").json["data"] == [route]
    assert client.get("/v1/deployments/my-app").json["urls"] == ["http://example.com:8081/"]
    taken = client.post("/v1/proxy/routes", wanted)
    assert (taken.status, taken.json["error"]["code"]) == (409, "conflict")
    gone = client.delete(f"/v1/proxy/routes/{route['id']}")
    assert (gone.status, gone.body) == (204, b"")
    assert client.get(answer.headers["location"]).status == 404


def test_the_blueprint_form_is_the_flat_one(client):
    blueprint = {
        "name": "blueprint",
        "source": "remote",
        "runtime": {"type": "node", "version": "20"},
        "remote": {"url": "https://github.com/user/repo", "branch": "dev", "commit_hash": "abcdef1"},
        "run_cmd": "npm start",
        "port": 3000,
        "env_vars": {"DEBUG": True, "WORKERS": 4, "RATIO": 0.5},
        "health_check": {"path": "/ready", "interval": "500ms", "timeout": 3},
    }
    made = client.post("/v1/deployments", blueprint).json
    assert (made["runtime"], made["version"]) == ("nodejs", "20")
    assert (made["remote"], made["branch"], made["commit"]) == ("https://github.com/user/repo", "dev", "abcdef1")
    assert made["env"] == {"DEBUG": "true", "WORKERS": "4", "RATIO": "0.5"}
    assert made["health_check"]["kind"] == "http"
    assert made["health_check"]["interval"] == 0.5


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"runtime": "cobol"}, "runtime"),
        ({"version": "3000"}, "version"),
        ({"replicas": 2}, "replicas"),
        ({"secrets": {"A B": "b"}}, "secrets.A B"),
        ({"secrets": {"A": ["b"]}}, "secrets.A"),
        ({"env": {"A": "1"}, "secrets": {"A": "2"}}, "secrets.A"),
        ({"resources": {"memory": "much"}}, "resources.memory"),
        ({"resources": {"gpu": 1}}, "resources.gpu"),
        ({"resources": {"cpu": 1, "strict": True}}, "resources.cpu"),
        ({"git_token": "a b"}, "git_token"),
        ({"git_host_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA"}, "git_host_key"),
        ({"submodules": "yes"}, "submodules"),
        ({"strategy": "recreate"}, "strategy"),
        ({"strategy": {"kind": "canary", "weight": 0}}, "strategy.weight"),
        ({"strategy": "magic"}, "strategy"),
        ({"processes": {"web": "x"}}, "processes.web"),
        ({"processes": {"worker": "x"}}, "processes"),
        ({"labels": {"-": "x"}}, "labels.-"),
        ({"instance": "nowhere"}, "instance"),
        ({"placement": {"labels": {"disk": "ssd"}}}, "placement.labels"),
        ({"placement": {"zone": "a"}}, "placement.zone"),
        ({"source": "docker"}, "source"),
        ({"source": "image"}, "source"),
        ({"health_check": {"kind": "command", "command": "true"}}, "health_check.kind"),
        ({"poll": "never"}, "poll"),
        ({"name": "Not A Name"}, "name"),
        ({"port": "3000"}, "port"),
        ({"port": True}, "port"),
        ({"port": None}, "port"),
        ({"env": {"A B": "1"}}, "env.A B"),
        ({"env": {"A": ["1"]}}, "env.A"),
        ({"env": {"A": None}}, "env.A"),
        ({"env": [1]}, "env"),
        ({"env_vars": {}, "env": {}}, "env"),
        ({"runtime": {"type": "node", "colour": "blue"}}, "runtime.colour"),
        ({"runtime": {"type": "node", "version": "20"}}, "version"),
        ({"remote": {"url": 1}}, "remote.url"),
        ({"health_check": {"interval": "soon"}}, "health_check.interval"),
        ({"health_check": {"colour": "blue"}}, "health_check.colour"),
        ({"project": "nothing"}, "project"),
    ],
)
def test_a_bad_field_is_a_400_that_names_it_and_makes_nothing(client, changes, field):
    answer = client.post("/v1/deployments", {**APP, **changes})
    assert answer.status == 400
    error = answer.json["error"]
    assert (error["code"], error["details"]["field"]) == ("invalid_request", field)
    assert error["details"]["issue"]
    assert error["message"].startswith(("Invalid deployment configuration", "cannot"))
    assert client.get("/v1/deployments").json["data"] == []


@pytest.mark.parametrize("source", ["image", "docker"])
def test_an_image_is_refused_for_what_it_is(client, source):
    answer = client.post("/v1/deployments", {"name": "web", "source": source, "image": "nginx:1", "port": 80})
    assert answer.status == 400
    details = answer.json["error"]["details"]
    assert details["field"] == "source"
    assert details["issue"].startswith("needs an instance that can run images; instance host-1 cannot: ")
    assert "errors" not in details
    wrong = client.post("/v1/deployments", {**APP, "image": "nginx:1"}).json["error"]["details"]
    assert (wrong["field"], wrong["issue"]) == ("image", "has no use with the source remote; leave it out")


def test_several_bad_fields_come_together(client):
    details = client.post("/v1/deployments", {**APP, "port": 0, "runtime": "cobol"}).json["error"]["details"]
    assert {problem["field"] for problem in details["errors"]} == {"port", "runtime"}


def test_faults_of_form_and_of_rule_come_together(client, deployed):
    bad = {**APP, "name": "Bad", "runtime": "cobol", "port": "3000", "env": {"1": "x"}, "ports": [1], "branch": None}
    bad |= {"replicas": 0, "remote": {"url": "ftp://x", "ref": "main"}}
    details = client.post("/v1/deployments", bad).json["error"]["details"]
    named = {problem["field"] for problem in details["errors"]}
    assert named == {"name", "runtime", "port", "env.1", "ports", "branch", "replicas", "remote.ref"}
    changes = {"ports": 1, "replicas": 0, "env": {"1": "x", "GONE": None}, "version": "1", "run_cmd": ""}
    refused = client.put(f"/v1/deployments/{deployed['id']}", changes).json["error"]["details"]
    assert {problem["field"] for problem in refused["errors"]} == {"ports", "replicas", "env.1"}


def test_what_cannot_be_judged_without_the_bad_field_is_left_out(client):
    refused = client.post("/v1/deployments", {"name": "app", "source": 7}).json["error"]["details"]
    assert (refused["field"], "errors" in refused) == ("source", False)


def test_a_taken_name_is_a_409_that_says_how_to_go_on(client, deployed):
    answer = client.post("/v1/deployments", APP)
    assert answer.status == 409
    assert "PUT" in answer.json["error"]["message"]
    assert answer.json["error"]["details"]["id"] == deployed["id"]
