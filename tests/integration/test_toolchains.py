"""Toolchains: what the host has, version managers, package managers beside a runtime; small programs stand in for large ones."""

import asyncio
import pathlib

import pytest

from node_agent.builder import node_providers, programs, registries, tools
from node_agent.builder.toolchains import Toolchains
from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import Runtime
from node_agent.paths import Paths


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


class Host:
    """A root of its own, and a PATH with what a test puts there."""

    def __init__(self, place: pathlib.Path, monkeypatch) -> None:
        self.home, self.bin = place / "home", place / "bin"
        self.bin.mkdir()
        self.paths = Paths(place / "root")
        self.paths.root.mkdir(mode=0o700)
        self.paths.toolchains.mkdir()
        monkeypatch.setenv("PATH", f"{self.bin}:/nowhere")
        monkeypatch.setenv("HOME", str(self.home))
        self.toolchains = Toolchains(self.paths)

    def put(self, place: pathlib.Path, says: str, code: int = 0) -> pathlib.Path:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        place.chmod(0o755)
        return place

    def bin_of(self, name: str) -> dict[str, pathlib.Path]:
        return {one.name: one.resolve() for one in (self.paths.toolchain(name) / "bin").iterdir()}


async def test_a_program_of_the_host_is_linked_with_what_comes_along(host):
    ruby = host.put(host.bin / "ruby", "ruby 3.9.4p1 (x)")
    bundle = host.put(host.bin / "bundle", "")
    assert await host.toolchains.provide(Runtime.RUBY, "3.9") == "ruby-3.9.4"
    assert host.bin_of("ruby-3.9.4") == {"ruby": ruby.resolve(), "bundle": bundle.resolve()}
    assert host.toolchains.available()["ruby"][-1] == "3.9"


async def test_another_program_of_the_same_version_is_linked_anew(host):
    old = host.put(host.bin / "php", "PHP 9.1.2 (cli)")
    await host.toolchains.provide(Runtime.PHP, "")
    new = host.put(host.home / ".asdf/installs/php/9.1.2/bin/php", "PHP 9.1.2 (cli)")
    old.unlink()
    assert await host.toolchains.provide(Runtime.PHP, "9.1.2") == "php-9.1.2"
    assert host.bin_of("php-9.1.2")["php"] == new.resolve()


async def test_what_version_managers_installed_is_found_and_shims_are_not_asked(host, monkeypatch):
    host.put(host.home / ".local/share/mise/installs/ruby/3.8.1/bin/ruby", "ruby 3.8.1 (x)")
    shim = host.put(host.home / "shims/ruby", "ruby 3.9.9 (x)")
    monkeypatch.setenv("PATH", str(shim.parent))
    found = programs.Programs().found(Runtime.RUBY)
    assert "3.8.1" in found
    assert "3.9.9" not in found


async def test_something_that_only_has_the_name_is_no_toolchain(host):
    host.put(host.bin / "dotnet", "8.0.100", code=1)
    with pytest.raises(ReleaseFailedError) as told:
        await host.toolchains.provide(Runtime.DOTNET, "8.0")
    assert told.value.code == "toolchain_unavailable"
    assert "cannot get dotnet 8.0: no such dotnet is installed on the host" in str(told.value)
    assert "dotnet" not in host.toolchains.available()


async def test_versions_that_can_be_had_stand_in_the_refusal(host):
    host.put(host.bin / "ruby", "ruby 3.9.4p1 (x)")
    with pytest.raises(ReleaseFailedError, match=r"versions that can be had: .*3\.9"):
        await host.toolchains.provide(Runtime.RUBY, "9")


async def test_where_apps_have_users_of_their_own_only_programs_for_all_count(host):
    host.put(host.bin / "dotnet", "8.0.100")
    host.bin.chmod(0o700)
    assert "8.0.100" in programs.Programs().found(Runtime.DOTNET)
    assert "8.0.100" not in programs.Programs().found(Runtime.DOTNET, by_all=True)


def provisioned(host, name: str, *names: str) -> None:
    for program in names:
        host.put(host.paths.toolchain(name) / "bin" / program, name)


async def test_a_package_manager_stands_beside_its_runtime_in_one_directory(host):
    provisioned(host, "node-22.1.0", "node", "npm")
    provisioned(host, "pnpm-10.2.0", "pnpm", "npm")
    provisioned(host, "pnpm-9.9.0", "pnpm")
    name = await host.toolchains.provide(Runtime.NODEJS, ">=20", "pnpm@10")
    assert name == "node-22.1.0+pnpm-10.2.0"
    found = host.bin_of(name)
    assert found["node"].parent.parent.name == "node-22.1.0"
    assert found["npm"].parent.parent.name == "pnpm-10.2.0"
    assert await host.toolchains.provide(Runtime.NODEJS, "22", "pnpm@9") == "node-22.1.0+pnpm-9.9.0"
    assert await host.toolchains.provide(Runtime.NODEJS, "22", "npm") == "node-22.1.0"
    assert host.toolchains.best(Runtime.NODEJS, "22") == "node-22.1.0"


async def test_many_that_want_the_same_pair_get_one(host):
    provisioned(host, "node-22.1.0", "node")
    provisioned(host, "yarn-1.22.22", "yarn")
    wanted = (host.toolchains.provide(Runtime.NODEJS, "", "yarn@1") for _ in range(5))
    assert set(await asyncio.gather(*wanted)) == {"node-22.1.0+yarn-1.22.22"}
    assert not list(host.paths.toolchains.glob(".new*"))


async def test_a_tool_that_cannot_be_fetched_leaves_nothing_and_says_why(host):
    provisioned(host, "node-22.1.0", "node")
    host.put(host.bin / "npm", "", code=1)
    with pytest.raises(ReleaseFailedError, match=r"cannot get bun"):
        await host.toolchains.provide(Runtime.NODEJS, "22", "bun@1")
    assert sorted(place.name for place in host.paths.toolchains.iterdir() if place.is_dir()) == ["node-22.1.0"]


async def test_a_program_that_does_not_end_is_no_toolchain_and_leaves_nothing(host, monkeypatch):
    monkeypatch.setattr(node_providers, "ASK_S", 0.2)
    node = host.put(host.bin / "node", "v99.1.0")
    node.write_text('#!/bin/sh\n[ "$1" = --version ] && echo v99.1.0 && exit\nexec /bin/sleep 600\n')
    npm = host.put(host.home / "lib/node_modules/npm/bin/npm-cli.js", "")
    (host.paths.root.parent / "lib").symlink_to(npm.parents[3])
    with pytest.raises(ReleaseFailedError, match=r"cannot get nodejs 99: host: .* did not end within 0.2 s"):
        await host.toolchains.provide(Runtime.NODEJS, "99")
    assert not [place for place in host.paths.toolchains.iterdir() if place.is_dir()]


async def test_a_package_manager_of_another_version_than_asked_for_is_refused(host):
    provisioned(host, "node-22.1.0", "node")
    npm = host.put(host.bin / "npm", "")
    package = '{"version": "10.0.0-rc.1", "bin": {}}'
    npm.write_text(
        f"#!/bin/sh\n/bin/mkdir -p $3/node_modules/pnpm\necho '{package}' > $3/node_modules/pnpm/package.json\n"
    )
    with pytest.raises(ReleaseFailedError, match=r"cannot get pnpm 10: gave 10.0.0-rc.1 for 10"):
        await host.toolchains.provide(Runtime.NODEJS, "22", "pnpm@10")


async def test_without_an_interpreter_uv_is_asked_and_what_it_made_is_found_again(host):
    """A stand-in for uv: its own sources are not for tests."""
    uv = host.put(host.paths.toolchain("uv-0.9.0") / "bin" / "uv", "")
    uv.write_text(
        '#!/bin/sh\nwhile [ "$1" != --install-dir ]; do shift; done\nbin="$2/cpython-3.99.1-linux/bin"\n'
        '/bin/mkdir -p "$bin"\nprintf "#!/bin/sh\\necho 3.99.1\\n" > "$bin/python3"\n/bin/chmod 755 "$bin/python3"\n'
    )
    assert await host.toolchains.provide(Runtime.PYTHON, "3.99") == "python-3.99.1"
    program = host.bin_of("python-3.99.1")["python3"]
    assert program.is_relative_to(host.paths.toolchain("python-3.99.1").resolve())
    assert host.toolchains.best(Runtime.PYTHON, "3.99") == "python-3.99.1"
    assert await host.toolchains.provide(Runtime.PYTHON, "3.99.1") == "python-3.99.1"


@pytest.mark.parametrize("script", ["../../outside", "/bin/sh", "missing"])
async def test_a_package_whose_program_lies_elsewhere_is_refused(host, script):
    (host.paths.root / "outside").write_text("")
    npm = host.put(host.bin / "npm", "")
    package = f'{{"version": "10.0.0", "bin": {{"pnpm": "{script}"}}}}'
    npm.write_text(
        f"#!/bin/sh\n/bin/mkdir -p $3/node_modules/pnpm\necho '{package}' > $3/node_modules/pnpm/package.json\n"
    )
    tool = tools.Tool("pnpm", "10", host.paths.toolchains, "22.1.0")
    place = host.paths.root / "place"
    place.mkdir()
    with pytest.raises(registries.ProviderError, match="the package has no pnpm"):
        await tools.fill(place, tool, host.paths)


def test_without_a_version_pnpm_suits_its_node():
    assert tools.Tool("pnpm", "", pathlib.Path(), "22.1.0").wanted == "10"
    assert tools.Tool("pnpm", "", pathlib.Path(), "16.20.0").wanted == "8"
    assert tools.Tool("poetry", "", pathlib.Path(), "3.12.1").suffix == "-py3.12"
