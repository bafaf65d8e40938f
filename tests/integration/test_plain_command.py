"""Which commands run without a shell, and that they mean what they meant with one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.supervisor import plain_command
from tests.supervisor_host import SERVICE, a_process
from tests.supervisor_host import client as client  # noqa: PLC0414 - the fixture
from tests.supervisor_host import host as host  # noqa: PLC0414 - the fixture
from tests.waiting import wait_until, wait_until_async

PATH = "/usr/local/bin:/usr/bin:/bin"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("node server.js", ("node", "server.js")),
        ("exec  ./app --port=80\t-v ", ("./app", "--port=80", "-v")),
        ("gunicorn app:app -b 0.0.0.0:80", ("gunicorn", "app:app", "-b", "0.0.0.0:80")),
        ("exec echo a", ("echo", "a")),
    ],
)
def test_plain_words_are_themselves(command, words):
    assert plain_command.words(command) == words


@pytest.mark.parametrize(
    "command",
    [
        *(
            "",
            "exec",
            "cd sub",
            "echo $PORT",
            "a; b",
            "a && b",
            "a | b",
            "a > b",
            "a &",
            "(a)",
            "{ a; }",
            "a 'b'",
            'a "b"',
        ),
        *(
            "A=1 b",
            "exec A=1 b",
            "~/app",
            "ls *",
            "ls ?",
            "ls [a]",
            "a #b",
            "a\\ b",
            "a\nb",
            "`a`",
            "exec -a x y",
            "! a",
        ),
        *("if", "ulimit -n 5", ". ./env", "true", "exec 2>&1", "a\0b", "caf\u00e9", "a\u00a0b", "-c x", "%1"),
    ],
)
def test_what_a_shell_acts_on_is_the_shells(command):
    assert plain_command.words(command) == ()


@given(st.text(alphabet="ab/.-_ \t='\"$`\\;&|<>(){}[]*?~#!\n%", max_size=12))
def test_a_plain_command_holds_no_character_that_a_shell_knows(command):
    words = plain_command.words(command)
    assert not set("".join(words)) & set("'\"$`\\;&|<>(){}[]*?~#!\n")
    assert "=" not in (words or ("",))[0]


def test_a_program_is_looked_up_as_a_shell_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app").write_text("#!/bin/sh\n")
    assert plain_command.resolve("./app", PATH) is None
    (tmp_path / "app").chmod(0o755)
    assert plain_command.resolve("./app x", PATH) == ("./app", ("./app", "x"))
    assert plain_command.resolve("app", PATH) is None
    assert plain_command.resolve("app", f"{tmp_path}:{PATH}") == (f"{tmp_path}/app", ("app",))
    assert plain_command.resolve("app", f":{PATH}") == ("./app", ("app",))
    assert plain_command.resolve("no-such-program", PATH) is None


async def test_a_plain_command_is_the_process_itself_with_the_same_environment(host, client):
    programs = {"web.1": "env", "web.2": "env; :"}
    for name, command in programs.items():
        wanted = a_process(command, id=type(a_process().id)(SERVICE, 1, 0, name))
        await client.start(wanted)
        await wait_until_async(lambda name=name: "PWD=" in said(host, name))
    plain, by_shell = ({line for line in said(host, name).splitlines() if "web." not in line} for name in programs)
    assert plain == by_shell


async def test_a_script_without_an_interpreter_is_still_run_by_the_shell(host, client):
    (host.tree / "start").write_text("echo from the script\nexec sleep 1000\n")
    (host.tree / "start").chmod(0o755)
    await client.start(a_process("./start"))
    wait_until(lambda: said(host, "web.1") == "from the script\n")


async def test_a_missing_program_is_told_in_the_shells_words(host, client):
    await client.start(a_process("no-such-program --port 1"))

    async def crashed():
        (found,) = await client.processes()
        return found.crash

    crash = await wait_until_async(crashed)
    assert (crash.kind.value, crash.code) == ("exited", 127)
    assert "not found" in " ".join(crash.lines)


def said(host, name):
    return host.paths.log_file(SERVICE, name, 1, "stdout").read_text()
