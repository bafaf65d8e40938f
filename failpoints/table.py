"""The steps of a deployment at which a daemon may die, in order: the one list of failpoints.

A step is one function, decorated with `failpoints.around(name)`; `row` is its row in the table of docs/explanation/recovery.md,
whose recovery must hold before and after it. `ways` are the changes that come past it, and how often each of them surely
does. Read by the tests, which die at each point of each way, at each pass.
"""

import dataclasses
from collections.abc import Mapping

AGENT, SUPERVISOR, CONTROL_PLANE = "agent", "supervisor", "control-plane"
# A change of the kind, with a release live: of the source; back to a former build; with a trial on some requests; with the
# former release stopped first; with a command before the start; of an uploaded source; to a release that does not stay up;
# given up while it builds; with a toolchain that is not there yet; with more builds than are kept. `stop` takes the
# service out of the way of requests, `first` and `delete` begin and end it.
BUILT, BACK, CANARY, TURNS, PREPARED, UPLOAD = "deploy", "rollback", "canary", "recreate", "command", "upload"
UNHEALTHY, CANCEL, TOOLCHAIN, PRUNED = "unhealthy", "cancel", "toolchain", "prune"
FIRST, STOP, DELETE = "first", "stop", "delete"
RUN = {BUILT: 1, BACK: 1}


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    name: str
    process: str
    row: str
    ways: Mapping[str, int] = dataclasses.field(default_factory=lambda: {BUILT: 1})

    @property
    def before(self) -> str:
        return self.name.replace(".", ".before_")

    @property
    def after(self) -> str:
        return self.name.replace(".", ".after_")


STEPS = (
    Step("change.run", CONTROL_PLANE, "1-5", {BUILT: 1, BACK: 1, UPLOAD: 1, CANCEL: 1, FIRST: 1, STOP: 1, DELETE: 1}),
    Step(
        "change.finish", CONTROL_PLANE, "4-5", {BUILT: 1, BACK: 1, UPLOAD: 1, CANCEL: 1, FIRST: 1, STOP: 1, DELETE: 1}
    ),
    Step("archive.keep", CONTROL_PLANE, "4-5", {UPLOAD: 1}),
    Step("wish.send", CONTROL_PLANE, "6", {BUILT: 1, BACK: 1, CANCEL: 1, STOP: 1, DELETE: 1}),
    Step("wish.take", AGENT, "7", {BUILT: 1, BACK: 1, CANCEL: 1, STOP: 1, DELETE: 1}),
    Step("wish.acknowledged", CONTROL_PLANE, "7", {BUILT: 1, DELETE: 1}),
    Step("release.note", AGENT, "8-12", {BUILT: 7}),
    Step("build.count", AGENT, "8a"),
    Step("build.resolve", AGENT, "8a"),
    Step("build.fetch", AGENT, "8b", {BUILT: 1, UPLOAD: 1}),
    Step("archive.unpack", AGENT, "8b", {UPLOAD: 1}),
    Step("toolchain.provide", AGENT, "8c"),
    Step("toolchain.publish", AGENT, "8c", {TOOLCHAIN: 1}),
    Step("build.run", AGENT, "8d"),
    Step("job.begin", SUPERVISOR, "8d", {BUILT: 3, PREPARED: 4}),
    Step("job.end", SUPERVISOR, "8d", {BUILT: 3, PREPARED: 4, CANCEL: 1}),
    Step("build.stage", AGENT, "8e", RUN),
    Step("build.flush", AGENT, "8e"),
    Step("build.manifest", AGENT, "8e"),
    Step("build.publish", AGENT, "8e", RUN),
    Step("release.prepare", AGENT, "8-9", {PREPARED: 1}),
    Step("identity.give", SUPERVISOR, "9a", {FIRST: 1}),
    Step("service.settle", SUPERVISOR, "9a", {FIRST: 1}),
    Step("volumes.make", SUPERVISOR, "9a", RUN),
    Step("port.take", AGENT, "9a", RUN),
    Step("process.ask", AGENT, "9b", RUN),
    Step("process.begin", SUPERVISOR, "9b", RUN),
    Step("record.save", SUPERVISOR, "9b-9c", dict.fromkeys(RUN, 2)),
    Step("process.spawn", SUPERVISOR, "9b", {**RUN, TURNS: 1}),
    Step("gate.check", AGENT, "10", RUN),
    Step("trial.run", AGENT, "10-11", {CANARY: 1}),
    Step("proxy.stage", AGENT, "11a", {**RUN, CANARY: 1}),
    Step("proxy.check", AGENT, "11b"),
    Step("nginx.test", SUPERVISOR, "11b"),
    Step("proxy.begin", AGENT, "11c", RUN),
    Step("proxy.point", AGENT, "11c", {**RUN, CANARY: 1}),
    Step("proxy.load", AGENT, "11d", RUN),
    Step("nginx.reload", SUPERVISOR, "11d", RUN),
    Step("proxy.end", AGENT, "11e", RUN),
    Step("site.put", AGENT, "11e", RUN),
    Step("live.put", AGENT, "11e", {**RUN, CANARY: 1, TURNS: 1}),
    Step("failure.put", AGENT, "11", {UNHEALTHY: 1}),
    Step("release.cancelled", AGENT, "C", {CANCEL: 1}),
    Step("release.vacate", AGENT, "F", {TURNS: 1}),
    Step("drain.quiet", AGENT, "12a", RUN),
    Step("drain.stop", AGENT, "12a", {**RUN, UNHEALTHY: 1, STOP: 1}),
    Step("process.stop", SUPERVISOR, "12a", {**RUN, TURNS: 1, UNHEALTHY: 1, STOP: 1}),
    Step("process.stopped", SUPERVISOR, "12a", RUN),
    Step("port.free", AGENT, "12a", RUN),
    Step("release.prune", AGENT, "12b", {PRUNED: 1}),
    Step("report.spool", AGENT, "13", {BUILT: 2}),
    Step("report.record", CONTROL_PLANE, "13-14", {BUILT: 2, BACK: 2}),
    Step("report.acknowledge", AGENT, "13", {BUILT: 2}),
    Step("webhook.post", CONTROL_PLANE, "14"),
    Step("webhook.record", CONTROL_PLANE, "14"),
    Step("site.drop", AGENT, "D", {STOP: 1, DELETE: 1}),
    Step("service.settled", AGENT, "S", {STOP: 1}),
    Step("service.forget", SUPERVISOR, "D", {DELETE: 1}),
    Step("files.remove", AGENT, "D", {DELETE: 1}),
    Step("service.forgotten", AGENT, "D", {DELETE: 1}),
    Step("service.removed", CONTROL_PLANE, "D", {DELETE: 1}),
)
BY_NAME = {step.name: step for step in STEPS}
