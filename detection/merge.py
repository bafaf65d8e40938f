"""Request, file and detection as one decision: the request wins over the file, the file over what the source looks like."""

import dataclasses
from collections.abc import Mapping

from detection import choices, manifest, table
from detection.choices import FILE, NOTHING, REQUEST, Choice, Decision

Files = Mapping[str, str]
# What a decision calls by other names than a deployment does.
NAMED = {"build": "build_cmd", "run": "run_cmd"}


def decide(files: Files, said: manifest.Manifest, request: Mapping[str, str]) -> Decision:
    """`request` holds what was asked for, by the names of the API, commands of processes as `processes.NAME`.

    A build command replaces what would be installed and built. `files` are those of the working directory.
    """

    def chosen(name: str) -> Choice:
        field = NAMED.get(name, name)
        if value := request.get(field):
            return Choice(value, REQUEST, "the request")
        if value := said.values.get(field):
            return Choice(value, FILE, said.file)
        return NOTHING

    seen = table.detect(files, chosen("runtime"))
    given = {name: chosen(name) for name in choices.SINGLE if name != "runtime" and chosen(name)}
    if "build" in given:
        given |= {"install": NOTHING}
    if request.get("runtime") and "version" in given and given["version"].origin is FILE and _differs(said, request):
        given["version"] = seen.version  # a version belongs to its runtime
    return dataclasses.replace(
        seen, **given, processes=_processes(seen, said, request), notes=(*seen.notes, *_ignored(said))
    )


def _differs(said: manifest.Manifest, request: Mapping[str, str]) -> bool:
    return said.values.get("runtime", request["runtime"]) != request["runtime"]


def _processes(seen: Decision, said: manifest.Manifest, request: Mapping[str, str]) -> tuple[tuple[str, Choice], ...]:
    lead = "processes."
    asked = {name.removeprefix(lead): value for name, value in request.items() if name.startswith(lead)}
    both = dict(seen.processes)
    both |= {name: Choice(value, FILE, said.file) for name, value in said.keys_of("processes").items()}
    both |= {name: Choice(value, REQUEST, "the request") for name, value in asked.items()}
    return tuple(sorted(both.items()))


def _ignored(said: manifest.Manifest) -> tuple[str, ...]:
    if not said.ignored:
        return ()
    return (f"not used of {said.file}, because the request says it: {', '.join(said.ignored)}",)
