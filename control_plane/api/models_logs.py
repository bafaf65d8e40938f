"""What logs are given as."""

import pydantic

from control_plane.api import shapes
from control_plane.domain import values


class LogLineShape(shapes.Shape):
    """`late`: the line was written while no supervisor ran on its instance, and `ts` is when the file was last written."""

    seq: int
    ts: str | None
    stream: str
    process: str
    release: int
    line: str
    late: bool

    @classmethod
    def of(cls, line: values.LogLine) -> "LogLineShape":
        return cls(
            seq=line.seq,
            ts=shapes.moment(line.time),
            stream=line.stream,
            process=line.process,
            release=line.release,
            line=line.line.decode("utf-8", "replace"),
            late=line.late,
        )


class Gap(shapes.Shape):
    """The lines `from` to `to` are lost."""

    first: int = pydantic.Field(alias="from")
    last: int = pydantic.Field(alias="to")


class GapShape(shapes.Shape):
    gap: Gap

    @classmethod
    def of(cls, line: values.LogLine) -> "GapShape":
        return cls(gap=Gap.model_validate({"from": line.seq, "to": line.gap_to}))


class LogPage(shapes.Shape):
    data: list[LogLineShape | GapShape]
    next_cursor: str | None = None


def log_line(line: values.LogLine) -> LogLineShape | GapShape:
    return GapShape.of(line) if line.gap_to else LogLineShape.of(line)
