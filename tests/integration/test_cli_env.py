"""`dployr env`, as people run it, against a small HTTP server that plays the control plane."""

from tests.integration.test_cli_commands import page, run, server

__all__ = ["run", "server"]  # fixtures

ENV = "/v1/services/web/env"


def variable(key, value, *, secret=False):
    return {"key": key, "value": value, "secret": secret}


def test_variables_are_listed_and_secrets_not_shown(run, server):
    server.on("GET", ENV, (200, page(variable("A", "1"), variable("S", None, secret=True))))
    done = run("env", "list", "web")
    assert (done.exit_code, done.output) == (0, "A\t1\nS\t(secret)\n")


def test_several_variables_make_one_release(run, server):
    server.on("POST", ENV, (201, variable("A", "1")))
    done = run("env", "set", "web", "A=1", "B=x=y", "C=")
    assert done.exit_code == 0, done.output
    bodies = server.bodies("POST", ENV)
    assert [(body["key"], body["value"], body["secret"]) for body in bodies] == [
        ("A", "1", None), ("B", "x=y", None), ("C", "", None),
    ]  # fmt: skip


def test_a_secret_is_read_from_standard_input(run, server):
    server.on("POST", ENV, (201, variable("S", None, secret=True)))
    done = run("env", "set", "web", "S", "--secret", input="hidden value\n")
    assert done.exit_code == 0, done.output
    assert server.bodies("POST", ENV) == [{"key": "S", "value": "hidden value", "secret": True}]
    assert "hidden" not in done.output


def test_variables_are_deleted_now_or_with_the_next_release(run, server):
    server.on("DELETE", f"{ENV}/A", (204, None))
    server.on("DELETE", f"{ENV}/B", (204, None))
    done = run("env", "unset", "web", "A", "B", "--next")
    assert (done.exit_code, done.output) == (0, "A, B of web deleted; the next release has it\n")


def test_the_history_is_shown_without_values(run, server):
    line = {
        "at": "2026-11-24T09:30:00.000Z",
        "actor": "usr_1",
        "key": "A",
        "action": "set",
        "secret": True,
        "release": 3,
    }
    server.on("GET", f"{ENV}/history", (200, page(line)))
    done = run("env", "history", "web")
    assert (done.exit_code, done.output) == (0, "2026-11-24T09:30:00.000Z\tusr_1\tset\tA\t3\n")


def test_a_refusal_is_told_and_fails(run, server):
    done = run("env", "set", "web", "A=1")
    assert done.exit_code != 0
    assert "Traceback" not in done.output
