"""An agent with its supervisor that builds sources full of links: run under strace by test_links_traced.py.

Its argument is a directory; the canaries in it are what the links lead to. It prints how each release ended, by its name.
"""

import asyncio
import json
import pathlib
import sys
from collections.abc import Mapping

from node_agent.errors import ReleaseFailedError
from node_agent.model.spec import Runtime
from node_agent.supervisor_client import SupervisorClient
from tests.builder_fixtures import Bench
from tests.supervisor_host import SupervisorHost

PAGE = {"index.html": "x"}
PYTHON = {"runtime": Runtime.PYTHON, "run_cmd": "python app.py"}


def sources(canary: pathlib.Path, directory: pathlib.Path) -> Mapping[str, tuple[dict, dict]]:
    """By name: the files of a source (a path is a link to it), and what its release says besides."""
    return {
        "a file": ({**PAGE, "leads/out": canary}, {}),
        "a directory": ({**PAGE, "leads": directory}, {}),
        "a manifest": ({**PAGE, "dployr.yaml": canary}, {"runtime": Runtime.DETECT}),
        "a Procfile": ({"app.py": "", "Procfile": canary}, {"runtime": Runtime.PYTHON}),
        "a list of packages": ({"app.py": "", "requirements.txt": canary}, PYTHON),
        "attributes": ({".gitattributes": canary, **PAGE}, {}),
        "working_dir": ({"app": directory}, {"working_dir": "app"}),
        "static_dir": ({**PAGE, "site": directory}, {"static_dir": "site"}),
        "a page": ({"index.html": canary}, {}),
        "made by the build": (PAGE, {"build_cmd": f"ln -s {directory} d; ln -s {canary} c; ln -s ../../../.. up"}),
        "in the place of a directory": (
            {**PAGE, "d/x": "x"},
            {"build_cmd": f"rm -r d; ln -s {directory} d; mkdir .venv; ln -s {canary} .venv/pyvenv.cfg"},
        ),
        "a second name": (PAGE, {"build_cmd": f"ln {canary} mine; :"}),
        "a FIFO": (PAGE, {"build_cmd": "mkfifo pipe"}),
        "a device": (PAGE, {"build_cmd": "mknod null c 1 3; :"}),
    }


async def main(place: pathlib.Path) -> dict[str, str]:
    (place / "canaries" / "file").read_bytes()  # the one look that the trace has to show
    host = SupervisorHost(place / "data")
    host.start()
    client = SupervisorClient(host.paths)
    ended: dict[str, str] = {}
    try:
        await client.connect(120.0)
        cases = sources(place / "canaries" / "file", place / "canaries" / "directory")
        for number, (name, (files, said)) in enumerate(cases.items(), 2):
            (place / str(number)).mkdir()
            bench = Bench(place / str(number), supervisor=client, paths=host.paths)
            bench.repository.write(files)
            ended[name] = await outcome(bench, bench.release(number, **said))
    finally:
        await client.close()
        host.close()
    return ended


async def outcome(bench: Bench, release) -> str:
    try:
        await bench.build(release)
    except ReleaseFailedError as error:
        return error.code
    return "sealed"


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(main(pathlib.Path(sys.argv[1])))))
