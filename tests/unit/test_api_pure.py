"""The pure parts of the HTTP side: maps that are total, JSON read strictly, text made visible."""

import json

import pytest
from hypothesis import given, strategies

from control_plane import errors
from control_plane.api import declared, flat, follow, requests
from control_plane.api import errors as api_errors

plain = strategies.text(strategies.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
documents = strategies.dictionaries(
    plain,
    strategies.recursive(
        strategies.none() | strategies.booleans() | strategies.integers() | plain,
        lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(plain, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def test_a_process_may_be_given_with_its_replicas():
    fields, problems = flat.flattened(
        {"processes": {"a": "x", "b": {"command": "y", "replicas": 3}, "c": {"replicas": 0}}}
    )
    assert (fields, problems) == ({"processes": {"a": "x", "b": "y"}, "process_replicas": {"b": 3, "c": 0}}, [])
    assert flat.flattened({"processes": {"c": {"replicas": 0}}})[0] == {"process_replicas": {"c": 0}}
    assert flat.flattened({"processes": {}})[0] == {"processes": {}}
    both = {"process_replicas": {"a": 1}, "processes": {"b": {"command": "y", "replicas": 3, "schedule": "x"}}}
    assert {one["field"] for one in flat.flattened(both)[1]} == {"process_replicas", "processes.b.schedule"}
    changes = declared.DeploymentUpdate.model_validate({"processes": {"a": None, "b": {"replicas": None}}}).changes()
    assert (changes.processes, changes.process_replicas) == ({"a": None}, {"b": None})


def test_every_kind_of_error_has_an_answer():
    assert set(api_errors.ANSWERS) == set(errors.Kind)
    assert all(400 <= status < 600 for status, _ in api_errors.ANSWERS.values())


def test_every_error_class_is_of_a_known_kind():
    for error in errors.DployrError.__subclasses__():
        assert error.kind in api_errors.ANSWERS


@given(documents)
def test_what_json_writes_is_read_back(document):
    assert requests.parse(json.dumps(document).encode()) == document


@given(strategies.binary(max_size=60))
def test_any_bytes_are_an_object_or_an_invalid_error(data):
    try:
        assert isinstance(requests.parse(data), dict)
    except errors.InvalidError as error:
        assert error.details["field"]


@pytest.mark.parametrize("text", ['{"a": 1, "a": 2}', '{"b": {"a": 1, "a": 1}}'])
def test_a_key_given_twice_is_named(text):
    with pytest.raises(errors.InvalidError) as refused:
        requests.parse(text.encode())
    assert refused.value.details == {"field": "a", "issue": "given twice"}


@pytest.mark.parametrize("one", [1, [], {}, "a", ["a,b", [[]]], {"a": {}}])
def test_more_values_than_anybody_means_are_refused_wherever_they_stand(one):
    many, within = requests.MAX_VALUES, {"a": {"b": [[one] * 100] * (requests.MAX_VALUES // 100)}}
    for document in ({"env": [one] * many}, {str(key): one for key in range(many)}, within):
        with pytest.raises(errors.InvalidError, match=f"more than {many} values"):
            requests.parse(json.dumps(document).encode())


@pytest.mark.parametrize("text", [",[{", '"', '",', "\\,", '\\",{'])
def test_what_stands_in_a_text_is_no_value(text):
    document = {"env": text * requests.MAX_VALUES, "name": text}
    assert requests.parse(json.dumps(document).encode()) == document


def test_of_very_many_faults_some_are_told():
    faults = [{"field": f"field-{number}", "issue": "wrong"} for number in range(10 * errors.MAX_TOLD)]
    told = errors.InvalidError.several("cannot", faults)
    assert told.problems == faults[: errors.MAX_TOLD]
    assert len(told.message) < 100 * errors.MAX_TOLD


def test_a_bad_string_is_named_with_its_path():
    with pytest.raises(errors.InvalidError) as refused:
        requests.parse(b'{"env": {"A": ["x", "\\u0000"]}}')
    assert refused.value.details["field"] == "env.A.1"


@given(strategies.text())
def test_visible_text_obeys_nothing_and_keeps_what_is_harmless(text):
    shown = follow.visible(text)
    assert not any(ord(c) < 32 and c != "\t" for c in shown)
    assert not any(0x7F <= ord(c) < 0xA0 for c in shown)
    assert not set(shown) & follow.BIDI
    assert follow.visible(shown) == shown


def test_ordinary_text_stays_as_it_is():
    assert follow.visible("Grüße, 世界 🙂\t'ok'") == "Grüße, 世界 🙂\t'ok'"


def test_environment_values_become_text():
    values = {"A": True, "B": False, "C": 1, "D": 1.5, "E": "x"}
    fields, problems = flat.flattened({"env": values})
    assert problems == []
    assert fields == {"env": {"A": "true", "B": "false", "C": "1", "D": "1.5", "E": "x"}}


def test_a_change_deletes_a_variable_with_null_and_leaves_the_rest_unsaid():
    changes = declared.DeploymentUpdate.model_validate({"env": {"A": None, "B": 1}, "version": "22"}).changes()
    assert (changes.env, changes.version, changes.runtime, changes.port) == ({"A": None, "B": "1"}, "22", None, None)
