"""From the table of sites to the text of one generation. Pure.

Every value has a grammar and is checked here, whoever sent it; then it is written quoted. nginx's own check is no
validator (it accepts a smuggled directive), so nothing reaches it that is not known to be a domain, path, port or id.
"""

import dataclasses
import ipaddress
import re

from node_agent import ports
from node_agent.model import canary, domain_name, spec
from node_agent.paths import Paths, checked_id
from node_agent.proxy import options, requests, text
from node_agent.proxy.quoting import quoted

USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SEGMENT = re.compile(r"[A-Za-z0-9._@+~-][A-Za-z0-9._@+~ -]{0,254}")
MAX_SOCKET_PATH = 107


@dataclasses.dataclass(frozen=True, slots=True)
class ProxySettings:
    """`host` is an address or localhost. `run_as` names the workers' user, for a master that runs as root only."""

    host: str
    port: int
    run_as: str = ""
    workers: int = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """One route, checked: where on its domain it stands and what answers there."""

    route_id: str
    path: str
    site: ports.Site
    options: spec.RouteOptions


def render(generation: int, sites: tuple[ports.Site, ...], settings: ProxySettings, paths: Paths) -> dict[str, str]:
    """File name, relative to the generation's directory, to text. Only nginx.conf names the generation.

    Sites without routes are left out. Raises ValueError on the first value that its grammar refuses, and when two
    routes claim the same place.
    """
    files = served_files(sites, settings, paths)
    files["mime.conf"] = text.MIME
    files["nginx.conf"] = _main(generation, sorted(files), settings, paths)
    return files


def served_files(sites: tuple[ports.Site, ...], settings: ProxySettings, paths: Paths) -> dict[str, str]:
    """Those of `render` in which the sites and their routes stand."""
    served = sorted((site for site in sites if site.routes), key=lambda site: site.service_id)
    files = {f"upstreams/{checked_id(site.service_id)}.conf": _upstream(site) for site in served if _runs(site)}
    for site in served:
        if site.upstream.canary is not None and hits_socket(paths):  # read before the routes that name it
            files[f"formats/{site.service_id}.conf"] = f'log_format {site.service_id} "{requests.FORMAT}";\n'
    for domain, locations in _by_domain(served).items():
        files[f"routes/{min(each.route_id for each in locations)}.conf"] = _server(domain, locations, settings, paths)
        files |= {
            options.users_file(each.route_id): options.users(each.options)
            for each in locations
            if each.options.basic_auth
        }
    return files


def status_socket(paths: Paths) -> str:
    """Where nginx answers which generation it serves. Raises ValueError when the kernel could not take the path."""
    path = str(paths.nginx / "status.sock")
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise ValueError(
            f"cannot listen on {path}: it is longer than {MAX_SOCKET_PATH} bytes; use a shorter data directory"
        )
    return path


def _by_domain(sites: list[ports.Site]) -> dict[str, list[Location]]:
    """Longest path first, though nginx finds it in any order: so a person reads the file as nginx does."""
    domains: dict[str, list[Location]] = {}
    taken: set[str] = set()
    for site in sites:
        for route in site.routes:
            place = _checked(route, site)
            locations = domains.setdefault(domain_name.checked_domain(route.domain), [])
            if place.route_id in taken or any(place.path == other.path for other in locations):
                raise ValueError(f"cannot route {route.domain}{place.path} twice: another route has it already")
            taken.add(place.route_id)
            locations.append(place)
    return {
        domain: sorted(domains[domain], key=lambda each: (-len(each.path), each.path)) for domain in sorted(domains)
    }


def _checked(route: spec.RouteSpec, site: ports.Site) -> Location:
    return Location(checked_id(route.id), domain_name.checked_path(route.path), site, route.options)


def _runs(site: ports.Site) -> bool:
    """Is there a process that may have the requests?"""
    return bool(site.upstream.ports or site.upstream.canary)


def _upstream(site: ports.Site) -> str:
    """Of several servers one that refuses is left out for a moment; a single one marked so would lengthen the outage."""
    found = [_port(port) for port in site.upstream.ports]
    words = "max_fails=1 fail_timeout=1s" if len(found) > 1 else "max_fails=0"
    if site.upstream.canary is not None:
        return _trial(site, site.upstream.canary)
    servers = "".join(f"    server 127.0.0.1:{port} {words};\n" for port in found)
    return f"upstream {site.service_id} {{\n{servers}}}\n"


def _trial(site: ports.Site, trial: ports.Canary) -> str:
    """Both releases by weight. A server is never left out here: a canary that refuses must be seen to.

    While the former release is down the canary answers for it.
    """
    former, new = canary.weights(_percent(trial.percent), len(site.upstream.ports), len(trial.ports))
    weighed = [(port, former) for port in site.upstream.ports] + [(port, new) for port in trial.ports]
    servers = "".join(f"    server 127.0.0.1:{_port(port)} weight={weight} max_fails=0;\n" for port, weight in weighed)
    return f"upstream {site.service_id} {{\n{servers}}}\n"


def hits_socket(paths: Paths) -> str:
    """Where nginx tells of requests to a canary and to its former release; empty where the path cannot be said to it."""
    path = str(paths.proxy / "hits.sock")
    return "" if "," in path or len(path.encode()) > MAX_SOCKET_PATH else path


def _server(domain: str, locations: list[Location], settings: ProxySettings, paths: Paths) -> str:
    blocks = [_location(each, paths) for each in locations]
    if locations[-1].path != "/":
        blocks.append(text.NOT_FOUND)
    head = f"server {{\n    listen {_listen(settings)};\n    server_name {quoted(domain)};\n"
    return head + "".join(blocks) + "}\n"


def _location(place: Location, paths: Paths) -> str:
    if (alone := options.answer(place.options)) is not None:
        return _places(place, alone)
    common = options.common(place.route_id, place.options)
    if place.site.upstream.static_root is not None:
        return _static(place, common, paths)
    if not _runs(place.site):
        return _places(place, [*common, *text.DOWN])
    target = f"proxy_pass http://{place.site.service_id};"
    return _places(place, [*common, *options.proxied(place.options), *_shared(place.site, paths), target])


def _shared(site: ports.Site, paths: Paths) -> list[str]:
    """What holds where several processes answer: one that cannot be reached hands the request on, if nothing was sent
    to it or the request may be repeated.
    """
    lines = ["proxy_next_upstream error;"] if len(site.upstream.ports) > 1 else []
    if site.upstream.canary is not None and (path := hits_socket(paths)):
        where = quoted(f"syslog:server=unix:{path},nohostname,tag=hits")
        lines = [f"access_log {where} {site.service_id};"]
    return lines


def _places(place: Location, lines: list[str]) -> str:
    """The path itself and what is below it, never a longer word that begins alike. The path stays as it came."""
    body = _indented(lines)
    if place.path == "/":
        return f"    location / {{\n{body}    }}\n"
    exact, below = quoted(place.path), quoted(place.path + "/")
    return f"    location = {exact} {{\n{body}    }}\n    location {below} {{\n{body}    }}\n"


def _static(place: Location, lines: list[str], paths: Paths) -> str:
    """The directory stands at the path. No link is followed below the sealed tree, and no hidden file is served."""
    tree = paths.release_tree(place.site.service_id, _positive(place.site.upstream.release))
    root = "/".join([str(tree), *_segments(place.site.upstream.static_root or "")])
    below = "/" if place.path == "/" else place.path + "/"
    block = text.STATIC.format(
        path=quoted(below), root=quoted(root + "/"), boundary=quoted(f"from={tree}"), extra=_indented(lines)
    )
    if place.path == "/":
        return block
    return f"    location = {quoted(place.path)} {{\n        return 301 {quoted(below)};\n    }}\n" + block


def _indented(lines: list[str]) -> str:
    return "".join(f"        {line}\n" for line in lines)


def _main(generation: int, files: list[str], settings: ProxySettings, paths: Paths) -> str:
    """Included by name, not by pattern: a missing file is an error, a foreign one is not read."""
    included = [name for name in files if name.endswith(".conf") and name != "mime.conf"]
    return text.MAIN.format(
        user=_user(settings),
        workers=_positive(settings.workers),
        pid=quoted(str(paths.nginx / "nginx.pid")),
        errors=quoted(str(paths.nginx_log)),
        temporary={name: quoted(str(paths.nginx / name)) for name in text.TEMPORARY},
        listen=_listen(settings),
        status=quoted("unix:" + status_socket(paths)),
        generation=int(generation),
        includes="".join(f"    include {quoted(name)};\n" for name in included),
    )


def _user(settings: ProxySettings) -> str:
    if not settings.run_as:
        return ""
    if not USER.fullmatch(settings.run_as):
        raise ValueError(f"cannot run nginx as {settings.run_as!r}: that is no user name")
    return f"user {settings.run_as};\n"


def _listen(settings: ProxySettings) -> str:
    port = _port(settings.port)
    if settings.host == "localhost":
        return f"localhost:{port}"
    address = ipaddress.ip_address(settings.host)  # ValueError says what is wrong
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def _segments(root: str) -> list[str]:
    segments = [segment for segment in root.split("/") if segment not in {"", "."}]
    if root.startswith("/") or ".." in segments or not all(SEGMENT.fullmatch(segment) for segment in segments):
        raise ValueError(f"cannot serve the directory {root!r}: it must be a path inside the release")
    return segments


def _port(port: int) -> int:
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise ValueError(f"cannot use {port!r} as a port")
    return port


def _percent(number: int) -> int:
    if not 0 < _positive(number) < 100:
        raise ValueError(f"cannot send {number!r} percent of the requests to a canary")
    return number


def _positive(number: int) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(f"cannot use {number!r} as a number above 0")
    return number
