"""What differs between configurations, and what is told of it."""

from control_plane.domain import differences, values
from tests import builders


def with_env(*env):
    return builders.a_config(env=env)


def test_a_variable_that_is_a_secret_on_one_side_is_hidden_on_both():
    """It may have become one with the value that it had."""
    plain, secret = values.Variable("A", "value"), values.Variable("A", "value", secret=True)
    for old, new in ((plain, secret), (secret, plain)):
        (found,) = differences.of_configs(with_env(old), with_env(new))
        assert found == {"field": "env.A", "from": differences.HIDDEN, "to": differences.HIDDEN}


def test_the_audit_has_no_values_of_variables():
    changes = differences.of_configs(
        with_env(values.Variable("A", "1"), values.Variable("B", "2")),
        builders.a_config(env=(values.Variable("A", "3"), values.Variable("C", "4")), port=4000),
    )
    told = {one["field"]: (one["from"], one["to"]) for one in differences.without_values(changes)}
    hidden = differences.HIDDEN
    assert told == {"port": (3000, 4000), "env.A": (hidden, hidden), "env.B": (hidden, None), "env.C": (None, hidden)}


def test_what_is_the_same_is_not_told():
    assert differences.of_configs(builders.a_config(), builders.a_config()) == []
