"""What an instance can do, of what it said of itself, and what a declaration asks beyond that. Pure.

A word that an agent does not say counts as what the oldest agents do: one process of one kind, no limits, rolling.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from control_plane.domain import health, resources, strategy, values

NODE_VERSIONS = ("18", "20", "22", "24")
PYTHON_VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
# What may be declared everywhere; the others where an instance has them.
RUNTIMES: dict[str, tuple[str, ...]] = {"nodejs": NODE_VERSIONS, "python": PYTHON_VERSIONS, "static": ()}
OFFERED = ("nodejs", "python", "go", "php", "ruby", "java", "dotnet", "static", "custom")
ANY = "any"
UTC = "utc"
PORT_MODES = ("env", "fixed")
DETECTED = frozenset({"runtime", "run_cmd", "port"})
PINNED, KNOWN_HOSTS = "pinned", "known_hosts"

NO_IMAGES = "needs an instance that can run images"

Problem = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Abilities:
    """`limits` are the resources that are enforced. `processes`: may there be others than `web`? `volumes`: can
    directories outlive releases? `cron`: are there entries? `detects` are fields that
    may be left open: the source decides them there.

    `ssh`: may sources come by ssh, PINNED when each must name its server's key. `images`: why none can be run.
    """

    name: str = ""
    replicas: int = 1
    process_replicas: int = 1
    limits: frozenset[str] = frozenset()
    strategies: tuple[str, ...] = ("rolling",)
    sources: tuple[str, ...] = ("remote",)
    health_checks: tuple[str, ...] = ("http", "tcp")
    port_modes: tuple[str, ...] = ("env",)
    processes: bool = False
    volumes: bool = False
    cron: bool = False
    detects: frozenset[str] = frozenset()
    ssh: str = ""
    images: str = ""
    runtimes: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=lambda: RUNTIMES)


# What no instance is asked about: for faults that are faults everywhere.
EVERYTHING = Abilities(
    replicas=2**31,
    process_replicas=2**31,
    limits=frozenset(resources.LIMITS),
    strategies=tuple(strategy.KINDS),
    sources=("remote", "local"),
    health_checks=tuple(health.KINDS),
    port_modes=PORT_MODES,
    processes=True,
    volumes=True,
    cron=True,
    detects=DETECTED,
    ssh=KNOWN_HOSTS,
    runtimes=dict.fromkeys(OFFERED, ()),
)


def of(instance: values.Instance) -> Abilities:
    """Those of `instance`; it said so when it connected."""
    said = instance.facts.get("capabilities")
    said = said if isinstance(said, dict) else {}
    default = Abilities()
    return Abilities(
        name=instance.name,
        replicas=_number(said.get("replicas"), default.replicas),
        process_replicas=_number(said.get("process_replicas"), default.process_replicas),
        limits=frozenset(_words(said.get("limits"), ())) & frozenset(resources.LIMITS),
        strategies=_words(said.get("strategies"), default.strategies),
        sources=_words(said.get("sources"), default.sources),
        health_checks=_words(said.get("health_checks"), default.health_checks),
        port_modes=_words(said.get("port_modes"), default.port_modes),
        processes=said.get("processes") == ANY,
        volumes=said.get("volumes") == ANY,
        cron=said.get("cron") == UTC,
        detects=frozenset(_words(said.get("detects"), ())) & DETECTED,
        ssh=_word(said.get("ssh_remotes"), (PINNED, KNOWN_HOSTS)),
        images=str(said.get("images", ""))[:200],
        runtimes=_runtimes(instance.facts.get("runtimes")),
    )


def problems(able: Abilities, fields: Any) -> list[Problem]:
    """What `fields` (a DeploymentFields) asks that the instance cannot do. Values of no sense are not judged here."""
    found = [
        _beyond("replicas", fields.replicas, able.replicas, able.name),
        _unknown("strategy", strategy.kind_of(fields.strategy), strategy.KINDS, able.strategies, able.name),
        _unknown("port_mode", fields.port_mode, PORT_MODES, able.port_modes, able.name),
        _unknown(
            "health_check.kind",
            fields.health_check.get("kind", health.implied(fields.health_check)),
            health.KINDS,
            able.health_checks,
            able.name,
        ),
    ]
    found += [
        _beyond(f"process_replicas.{name}", count, able.process_replicas, able.name)
        for name, count in fields.process_replicas.items()
    ]
    if set(fields.processes) and not able.processes:
        issue = _here(able.name, "runs the process web alone")
        found.append({"field": "processes", "issue": issue, "supported": ["web"]})
    if fields.volumes and not able.volumes:
        found.append({"field": "volumes", "issue": _here(able.name, "keeps no directories beside releases")})
    if fields.cron and not able.cron:
        found.append({"field": "cron", "issue": _here(able.name, "runs no cron entries"), "supported": []})
    if fields.resources.get("strict") is True:
        found += _unenforced(able, fields.resources)
    return [problem for problem in found if problem]


def unenforced(able: Abilities, wanted: values.Resources) -> list[str]:
    """The limits in `wanted` that are kept but not enforced there."""
    return [name for name in resources.given(wanted) if name not in able.limits]


def is_of(version: str, line: str) -> bool:
    """Whether `version` is `line` or a version of it: 20, 20.11 and 20.11.1 are of the line 20."""
    more = 2 - line.count(".")
    parts = version.split(".")
    lead = line.split(".")
    rest = parts[len(lead) :]
    return parts[: len(lead)] == lead and len(rest) <= max(more, 0) and all(_is_number(part) for part in rest)


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit() and len(part) <= 4 and (part == "0" or not part.startswith("0"))


def _beyond(field: str, wanted: Any, most: int, name: str) -> Problem:
    """One that runs each once does not know of none, either."""
    if not isinstance(wanted, int) or not (most < wanted <= 100 or (wanted == 0 and most == 1)):
        return {}
    return {"field": field, "issue": _here(name, f"runs at most {most} of a process"), "supported": [most]}


def _unknown(field: str, word: Any, all_words: tuple[str, ...], able: tuple[str, ...], name: str) -> Problem:
    if word in able or word not in all_words:
        return {}
    return {"field": field, "issue": _here(name, f"cannot do {word}"), "supported": list(able)}


def _unenforced(able: Abilities, wanted: Mapping[str, Any]) -> list[Problem]:
    issue = _here(able.name, "cannot enforce this limit, and strict is true")
    return [
        {"field": f"resources.{name}", "issue": issue, "supported": sorted(able.limits)}
        for name in resources.LIMITS
        if wanted.get(name) and name not in able.limits
    ]


def _here(name: str, issue: str) -> str:
    return f"instance {name} {issue}" if name else f"no instance is known that does more: it {issue}"


def named(able: Abilities) -> str:
    return f"instance {able.name}" if able.name else "no instance is known that does more: it"


def no_images(able: Abilities) -> str:
    """Why an image cannot be declared there."""
    why = able.images.removeprefix("no: ") or "it does not say that it can"
    return f"needs an instance that can run images; {named(able)} cannot: {why}" if able.name else NO_IMAGES


def _word(said: Any, known: tuple[str, ...]) -> str:
    return said if said in known else ""


def _number(said: Any, default: int) -> int:
    return int(said) if isinstance(said, str) and said.isascii() and said.isdigit() and len(said) < 6 else default


def _words(said: Any, default: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(said, str):
        return tuple(default)
    return tuple(word.strip() for word in said.split(",") if word.strip() not in {"", "none"})


def _runtimes(said: Any) -> Mapping[str, tuple[str, ...]]:
    """Those of everywhere, and what the instance has besides: more versions, more runtimes."""
    found = dict(RUNTIMES)
    for runtime, versions in said.items() if isinstance(said, dict) else ():
        if runtime in OFFERED:
            known = found.get(runtime, ())
            more = [one for one in _words(versions, ()) if not any(is_of(one, line) for line in known)]
            found[runtime] = tuple(sorted((*known, *(one for one in more if one != ANY)), key=_order))
    return found


def _order(line: str) -> tuple[int, ...]:
    """20 after 3.12 as numbers; what is no number comes last."""
    parts = line.split(".")
    return tuple(int(part) for part in parts) if all(map(_is_number, parts)) else (2**31,)
