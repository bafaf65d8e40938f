"""What can go wrong between a person and a server; every message is one sentence with a next step."""

from typing import Any


class DployrError(Exception):
    """Everything that the command line turns into one line on stderr."""


class Unreachable(DployrError):  # noqa: N818 - reads as what it says
    """No answer at all: refused, timed out, cut, or not HTTP."""


class StackError(DployrError):
    """The single-machine stack cannot be started or ended."""


class ConfigError(DployrError):
    """What this person configured cannot be used."""


class ApiError(DployrError):
    """The server answered with its error envelope, or with something else that is no success."""

    def __init__(self, status: int, code: str, message: str, details: dict[str, Any], request_id: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.request_id = request_id

    def __str__(self) -> str:
        """The message, with every complaint of the server that it does not hold yet."""
        found = self.details.get("errors")
        problems = found if isinstance(found, list) else [self.details]
        told = [problem for problem in problems if isinstance(problem, dict) and problem.get("issue")]
        said = [_problem(problem) for problem in told if str(problem["issue"]) not in self.message]
        return f"{self.message} ({'; '.join(said)})" if said else self.message


def _problem(problem: dict[str, Any]) -> str:
    """One complaint of the server as text: field, issue, and what it would take instead."""
    field, issue = problem.get("field"), problem["issue"]
    text = f"{field}: {issue}" if field else str(issue)
    supported = problem.get("supported")
    if isinstance(supported, list) and supported:
        text += f", supported: {', '.join(str(item) for item in supported)}"
    return text
