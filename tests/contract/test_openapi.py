"""The OpenAPI document: valid, complete, and the same as what the server obeys."""

import collections
import re
import types

import jsonschema_rs
import pytest
from schemathesis.specs.openapi import definitions

from control_plane.api import (
    access,
    contract,
    errors,
    examples,
    limits,
    models_system,
    mutations,
    problems,
    vocabulary,
)
from control_plane.web import app
from tests import api_fixtures

METHODS = ("get", "put", "post", "delete", "patch")


@pytest.fixture(scope="module")
def made():
    with api_fixtures.loop_thread() as loop:
        yield api_fixtures.ControlPlane(loop, app.HttpSettings()).app


@pytest.fixture(scope="module")
def document(made):
    return made.extensions[contract.EXTENSION]


@pytest.fixture(scope="module")
def operations(document):
    return {
        operation["operationId"]: (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
    }


def test_it_is_valid_openapi_31(document):
    assert [str(error) for error in definitions.OPENAPI_31_VALIDATOR.iter_errors(document)] == []


def test_every_reference_leads_somewhere(document):
    for reference in _refs(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in node, reference
            node = node[part]


def test_every_rule_of_the_app_is_an_operation_and_the_other_way_round(made, document):
    served = {
        (contract.path_of(rule.rule), method.lower())
        for rule in made.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if not rule.endpoint.startswith("dashboard.")
    }
    assert {(path, method) for path, item in document["paths"].items() for method in item} == served


def test_operation_ids_are_unique_and_tell_the_resource(document):
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert [name for name, count in collections.Counter(ids).items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)+", name) for name in ids)
    assert "deployments_create" in ids
    assert "deployments_list" in ids


def test_every_operation_says_what_it_does_who_may_and_what_it_answers(operations):
    for name, (_, _, operation) in operations.items():
        assert operation["summary"], name
        assert operation["description"], name
        assert len(operation["tags"]) == 1, name
        assert operation["tags"][0] in vocabulary.TAGS, name
        assert operation["x-dployr-permission"], name
        is_public = operation["x-dployr-permission"] == access.PUBLIC
        assert operation["security"] == ([] if is_public else [{"bearer": []}]), name
        assert set(operation["responses"]) & set(vocabulary.SUCCESSES), name
        assert {"400", "405", "413", "500", "503"} <= set(operation["responses"]), name
        assert ("401" in operation["responses"]) or is_public, name


def test_what_belongs_to_a_project_shows_its_id_by_one_name(document):
    """The deployment alone says its name too: there it is a field that is declared."""
    answers = {name: set(schema.get("properties", ())) for name, schema in document["components"]["schemas"].items()}
    answers = {name: fields for name, fields in answers.items() if not name.endswith("Input")}
    assert {name for name, fields in answers.items() if "project" in fields} - {
        "DeploymentCreate",
        "DeploymentUpdate",
    } == {"DeploymentShape"}
    assert {"DeploymentShape", "ServiceShape", "RouteShape", "WebhookShape", "TokenShape", "EventShape"} <= {
        name for name, fields in answers.items() if "project_id" in fields
    }


def test_everything_that_goes_in_or_out_has_an_example(document):
    assert examples.missing(document) == []


def test_every_example_is_what_its_schema_says(document):
    checked = 0
    for where, content in _contents(document):
        for name, example in content.get("examples", {}).items():
            schema = {"allOf": [content["schema"]], "components": document["components"]}
            found = [
                error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(example["value"])
            ]
            assert found == [], f"{where}: {name}"
            checked += 1
    assert checked > len(examples.ANSWERS)


def test_no_example_is_for_something_that_does_not_exist(document):
    schemas = set(document["components"]["schemas"])
    assert set(examples.REQUESTS) | set(examples.ANSWERS) <= schemas


def test_every_answer_names_the_headers_that_every_answer_has(document):
    answers = [answer for _, answer in _answers(document)]
    answers += document["components"]["responses"].values()
    for answer in answers:
        assert set(vocabulary.EVERYWHERE) <= set(answer["headers"])
    created = [answer for status, answer in _answers(document) if status == "201"]
    assert created
    assert all("Location" in answer["headers"] for answer in created)


def test_retry_after_is_for_429_and_503_alone(document):
    holders = {
        code for code, answer in document["components"]["responses"].items() if "Retry-After" in answer["headers"]
    }
    assert holders == {"rate_limited", "unavailable"}
    assert not any("Retry-After" in answer["headers"] for _, answer in _answers(document))


def test_a_stream_is_described_in_each_of_its_forms(operations):
    followed = [
        operation
        for _, _, operation in operations.values()
        if any(parameter.get("name") == "follow" for parameter in operation["parameters"])
    ]
    assert followed
    for operation in followed:
        content = operation["responses"]["200"]["content"]
        assert set(content) == {"application/json", *vocabulary.FOLLOWED}
        assert content["application/x-ndjson"]["x-dployr-item"]


def test_what_the_quota_does_not_count_cannot_be_refused_for_it(operations):
    for endpoint in limits.UNCOUNTED:
        assert "429" not in operations[contract.operation_id(endpoint)][2]["responses"]


def test_every_error_that_the_server_can_give_has_a_text(document):
    known = {status for status, _ in errors.ANSWERS.values()} | set(errors.HTTP_CODES) | {500}
    assert set(problems.codes()) == known
    assert known <= set(problems.TEXTS)
    assert set(document["components"]["responses"]) == set(problems.codes().values())


def test_every_mutating_operation_declares_what_it_takes(made):
    without = [
        rule.endpoint
        for rule in made.url_map.iter_rules()
        if rule.methods - {"GET", "HEAD", "OPTIONS"} and mutations.declared(made.view_functions[rule.endpoint]) is None
    ]
    assert without == []


@mutations.mutation(if_match=True, dry_run=True)
def a_change():
    """Change it.

    More about it.
    """


class TestMarks:
    """What a view's marks make of its operation, over a document that is made for it."""

    @pytest.fixture
    def paths(self):
        rules = [
            types.SimpleNamespace(rule="/v1/things/<id>", endpoint="deployments.change", methods={"PUT"}),
            types.SimpleNamespace(rule="/v1/things/<id>", endpoint="deployments.read", methods={"GET", "HEAD"}),
        ]
        body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Health"}}}}
        paths = {
            "/v1/things/{id}": {
                "put": {"responses": {"200": {**body, "content": {**body["content"]}}}},
                "get": {"responses": {"200": {**body, "content": {**body["content"]}}}},
            }
        }
        access.permission("deployment:write")(a_change)

        @access.permission("deployment:read")
        def read():
            """Read it."""

        fake = types.SimpleNamespace(
            api_doc={
                "info": {},
                "paths": paths,
                "components": {"schemas": {"Health": models_system.Health.model_json_schema()}},
            },
            url_map=types.SimpleNamespace(iter_rules=lambda: rules),
            view_functions={"deployments.change": a_change, "deployments.read": read},
            extensions={},
        )
        contract.install(fake)
        return paths["/v1/things/{id}"]

    def test_preconditions_and_dry_runs_become_parameters(self, paths):
        assert [parameter["$ref"].rpartition("/")[2] for parameter in paths["put"]["parameters"]] == [
            "dry_run", "Idempotency-Key", "If-Match", "X-Request-Id",
        ]  # fmt: skip
        assert [parameter["$ref"].rpartition("/")[2] for parameter in paths["get"]["parameters"]] == ["X-Request-Id"]

    def test_a_dry_run_may_be_answered_with_a_plan(self, paths):
        content = paths["put"]["responses"]["200"]["content"]["application/json"]
        assert content["schema"]["anyOf"][1] == contract.PLAN
        assert set(content["examples"]) == {"Health", "Plan"}

    def test_an_object_that_takes_if_match_shows_its_etag(self, paths):
        assert paths["get"]["responses"]["200"]["headers"]["ETag"] == {"$ref": "#/components/headers/ETag"}
        assert not paths["put"]["responses"]["200"]["headers"]["ETag"]["required"]
        assert "Idempotency-Replayed" in paths["put"]["responses"]["200"]["headers"]

    def test_the_docstring_is_summary_and_description(self, paths):
        assert paths["put"]["summary"] == "Change it"
        assert paths["put"]["description"].startswith("More about it.\n\nNeeds the permission `deployment:write`.")


def test_a_tag_that_nobody_described_stops_the_start():
    fake = types.SimpleNamespace(api_doc={"info": {}, "tags": [{"name": "odd"}]})
    with pytest.raises(RuntimeError, match="cannot describe the tag 'odd'"):
        contract.install(fake)


def _answers(document):
    for item in document["paths"].values():
        for operation in item.values():
            yield from ((status, answer) for status, answer in operation["responses"].items() if "$ref" not in answer)


def _contents(document):
    for path, item in document["paths"].items():
        for method, operation in item.items():
            holders = [operation.get("requestBody", {}), *operation["responses"].values()]
            for content in (found for holder in holders for found in holder.get("content", {}).values()):
                yield f"{method} {path}", content
    for code, answer in document["components"]["responses"].items():
        yield code, answer["content"]["application/json"]


def _refs(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from _refs(value)
    elif isinstance(node, list):
        for value in node:
            yield from _refs(value)
