"""No text becomes a program by accident: one module gives a shell a text, and nothing evaluates one."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PRODUCT = sorted(
    path
    for part in ("control_plane", "node_agent", "dployr", "protos", "detection", "addresses", "failpoints", "tools")
    for path in (ROOT / part).rglob("*.py")
)
THE_SHELL = ROOT / "node_agent" / "supervisor" / "launch.py"
FORBIDDEN = frozenset(
    {
        *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
        *("asyncio.create_subprocess_shell", "create_subprocess_shell", "pty.spawn", "commands.getoutput"),
        *("eval", "exec", "compile", "__import__", "os.execl", "os.execlp", "os.spawnl", "os.spawnlp"),
    }
)
SHELLS = frozenset({"sh", "bash", "dash", "zsh", "ksh", "/bin/sh", "/bin/bash", "/usr/bin/env"})


def findings(tree):
    """What in a module could give a text to a shell or to an interpreter."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in FORBIDDEN:
                yield node.lineno, name
            for keyword in node.keywords:
                if keyword.arg == "shell" and not (
                    isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                ):
                    yield node.lineno, "shell="
        if isinstance(node, ast.Constant) and node.value in SHELLS:
            yield node.lineno, f"the program {node.value}"


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_given_to_a_shell_but_in_the_one_place(path):
    found = list(findings(ast.parse(path.read_text())))
    if path == THE_SHELL:
        assert {what for _, what in found} == {"the program /bin/sh"}
    else:
        assert found == []


def test_the_rule_sees_what_it_forbids():
    bad = """
subprocess.run("ls", shell=True)
os.system("ls")
subprocess.run(["sh", "-c", "ls"])
asyncio.create_subprocess_shell("ls")
eval("1")
subprocess.run("ls", shell=wanted)
"""
    assert len(list(findings(ast.parse(bad)))) == 6
    assert list(findings(ast.parse("subprocess.run(['ls'], shell=False)\nre.compile('x')"))) == []


def test_a_shell_gets_a_text_only_whole():
    """Never formatted, never joined: what a user wrote is one argument of it, as it is."""
    tree = ast.parse(THE_SHELL.read_text())
    commands = [
        node.elts[2]
        for node in ast.walk(tree)
        if isinstance(node, ast.Tuple)
        and node.elts
        and isinstance(node.elts[0], ast.Constant)
        and node.elts[0].value in SHELLS
    ]
    assert commands
    assert {type(command) for command in commands} == {ast.Attribute}
