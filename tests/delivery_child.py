"""A sender in a process of its own, on a queue in a file, to be killed: `python -m tests.delivery_child FILE [RECORDS]`.

After so many records it says "recording" and stands still between the attempt and its record.
"""

import asyncio
import dataclasses
import datetime
import json
import pathlib
import sys

from control_plane import clock, config
from control_plane.delivery.client import Client
from control_plane.delivery.guard import Guard
from control_plane.delivery.resolver import SystemResolver
from control_plane.delivery.sender import Sender
from control_plane.domain import webhook
from control_plane.fakes.deliveries import MemoryDeliveries


class FileDeliveries(MemoryDeliveries):
    """Kept in one JSON file, replaced whole at each record."""

    def __init__(self, file: pathlib.Path, records: int = sys.maxsize) -> None:
        super().__init__()
        self._file = file
        self._records = records
        if file.exists():
            self._load(json.loads(file.read_text()))

    def _load(self, content: dict) -> None:
        for fields in content["targets"]:
            self.put_target(webhook.Target(**fields))
        for fields in content["deliveries"]:
            times = {key: datetime.datetime.fromisoformat(fields[key]) for key in ("created_at", "changed_at")}
            self.queue(webhook.Delivery(**(fields | times)))

    def save(self) -> None:
        content = {
            "targets": [dataclasses.asdict(target) for target in self.targets.values()],
            "deliveries": [dataclasses.asdict(delivery) for delivery in self.deliveries.values()],
        }
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(content, default=lambda moment: moment.isoformat()))
        temporary.replace(self._file)

    async def record(self, delivery, attempt, verdict) -> None:
        if self._records <= 0:
            print("recording", flush=True)
            await asyncio.Event().wait()
        self._records -= 1
        await super().record(delivery, attempt, verdict)
        self.save()


async def main(file: str, records: str = str(sys.maxsize)) -> None:
    now = clock.SystemClock()
    client = Client(Guard(SystemResolver(), config.PARSERS["webhook_allow"]("127.0.0.0/8")), now)
    queue = FileDeliveries(pathlib.Path(file), int(records))
    await Sender(queue, lambda: True, client, now, clock.system_chance(), "1.2.3").run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
