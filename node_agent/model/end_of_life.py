"""When the makers of a runtime stop mending a line of it. Dates as published by each project; checked November 2026.

nodejs: the release schedule of the Node.js Release working group. python: the developer guide's "Status of Python
versions". go: the release policy (a line ends when the second after it comes). php: "Supported Versions". ruby: "Ruby
Maintenance Branches". dotnet: the support policy of .NET. Java has as many dates as vendors, so there is none here.
"""

import datetime

from node_agent.model import toolchain

ENDS: dict[str, dict[str, str]] = {
    "nodejs": {
        "14": "2023-04-30",
        "16": "2023-09-11",
        "17": "2022-06-01",
        "18": "2025-04-30",
        "19": "2023-06-01",
        "20": "2026-04-30",
        "21": "2024-06-01",
        "22": "2027-04-30",
        "23": "2025-06-01",
        "24": "2028-04-30",
        "25": "2026-06-01",
    },
    "python": {
        "2.7": "2020-01-01",
        "3.6": "2021-12-23",
        "3.7": "2023-06-27",
        "3.8": "2024-10-07",
        "3.9": "2025-10-31",
        "3.10": "2026-10-31",
        "3.11": "2027-10-31",
        "3.12": "2028-10-31",
        "3.13": "2029-10-31",
        "3.14": "2030-10-31",
    },
    "go": {
        "1.19": "2023-09-06",
        "1.20": "2024-02-06",
        "1.21": "2024-08-13",
        "1.22": "2025-02-11",
        "1.23": "2025-08-12",
        "1.24": "2026-02-10",
        "1.25": "2026-08-19",
    },
    "php": {"7.4": "2022-11-28", "8.0": "2023-11-26", "8.1": "2025-12-31", "8.2": "2026-12-31", "8.3": "2027-12-31"},
    "ruby": {"2.7": "2023-03-31", "3.0": "2024-04-23", "3.1": "2025-03-26", "3.2": "2026-03-31", "3.3": "2027-03-31"},
    "dotnet": {
        "6.0": "2024-11-12",
        "7.0": "2024-05-14",
        "8.0": "2026-11-10",
        "9.0": "2026-11-10",
        "10.0": "2028-11-14",
    },
}


def warning(runtime: str, exact: str, now: float) -> str:
    """The sentence for a version that is no longer mended at `now` (seconds since the epoch), else ""."""
    lines = ENDS.get(runtime, {})
    line = next((line for line in lines if toolchain.satisfies(exact, line)), None)
    today = datetime.datetime.fromtimestamp(now, datetime.UTC).date()
    if line is None or datetime.date.fromisoformat(lines[line]) > today:
        return ""
    living = [one for one, end in lines.items() if datetime.date.fromisoformat(end) > today]
    better = f"; set version to {' or '.join(living[:3])}" if living else ""
    return f"{runtime} {line} has had no security fixes since {lines[line]}{better}"
