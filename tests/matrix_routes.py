"""One endpoint of the app as the authorization matrix asks it, and what must be equal between two of its refusals."""

import contextlib
import dataclasses
import re

from control_plane.api import access, contract
from tests.matrix_fixtures import COMMON, FOREIGN, OWN, TABLE, filled

# What may differ between two answers to the same question: when it was asked, and how much of the quota was left then.
OF_ITS_MOMENT = frozenset({"date", "x-request-id", "x-ratelimit-remaining", "x-ratelimit-reset"})


class Route:
    """One endpoint of the app with its line of the table."""

    def __init__(self, world, endpoint):
        app = world.plane.app
        (self.rule,) = [rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint]
        self.world, self.call = world, TABLE[endpoint]
        self.permission = access.declared(app, endpoint)
        self.method = next(iter(self.rule.methods - {"HEAD", "OPTIONS"}))
        path = contract.path_of(self.rule.rule)
        operation = app.extensions[contract.EXTENSION]["paths"].get(path, {}).get(self.method.lower(), {})
        parameters = {parameter.get("name") for parameter in operation.get("parameters", [])}
        self.is_followed = "follow" in parameters
        self.is_list_of_projects = "project" in parameters and not self.call.kinds

    @property
    def by_project(self):
        """The same list, of one project."""
        route = object.__new__(Route)
        route.__dict__ = {**self.__dict__, "call": dataclasses.replace(self.call, query="project=$project")}
        return route

    @property
    def named(self):
        """What would be missing when the object is: the first of the path, or what body or query name."""
        in_path = [kind for kind in self.call.path.values() if kind.startswith("$")]
        return next(iter(in_path or self.call.kinds))

    def sides(self):
        return (OWN, FOREIGN) if self.call.kinds - COMMON else (OWN,)

    def target(self, ids, more=""):
        path = re.sub(r"<(?:[^:>]+:)?([^>]+)>", lambda name: filled(self.call.path[name[1]], ids), self.rule.rule)
        query = "&".join(part for part in (filled(self.call.query, ids), more) if part)
        return f"{path}?{query}" if query else path

    def send(self, who, ids):
        """The answer to the whole request."""
        return self.world.client(who).request(self.method, self.target(ids), filled(self.call.body, ids))

    def ask(self, who, ids):
        """The same, and what it has changed is taken back."""
        if self.method == "GET":
            return self.send(who, ids)
        with self.world.fresh():
            return self.send(who, ids)

    def head(self, who, ids):
        return self.world.client(who).request("HEAD", self.target(ids)).status

    def stream(self, who, ids):
        """The status of a stream; of one that begins nothing is read."""
        with contextlib.closing(self.world.client(who).open("GET", self.target(ids, "follow=true"))) as connection:
            return connection.getresponse().status


def form(answer, ids):
    """What a refusal says, without what differs from request to request: its ids are numbered."""
    text = answer.text
    for number, one in enumerate([answer.json["request_id"], *ids]):
        text = text.replace(one, f"<{number}>")
    return answer.status, {name: value for name, value in answer.headers.items() if name not in OF_ITS_MOMENT}, text
