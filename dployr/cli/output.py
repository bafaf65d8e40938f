"""What is printed: tables, JSON, and text of foreign origin with its control characters made visible."""

import json
import sys
from collections.abc import Sequence
from typing import Any

import click


def clean(text: object) -> str:
    """`text` on one line and harmless to a terminal: what does not print becomes its escape, tabs excepted."""
    return "".join(c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in str(text))


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))


def print_log_line(entry: dict[str, Any], *, prefix: str = "") -> None:
    """One line of a log, or what is to be said instead of lines that are lost."""
    if "gap" in entry:
        click.echo(
            f"{prefix}… {entry['gap'].get('from')} to {entry['gap'].get('to')} left out: too fast for us …", err=True
        )
        return
    click.echo(prefix + log_text(entry, on_terminal=sys.stdout.isatty()))


def log_text(entry: dict[str, Any], *, on_terminal: bool) -> str:
    """Escaped on a terminal, with a mark where the time is not that of the line; the app's own characters into a pipe."""
    line = str(entry.get("line", ""))
    if not on_terminal:
        return line
    return ("(late) " if entry.get("late") else "") + clean(line)


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Names and values, one pair a line; what is empty is left out."""
    shown = [(name, value) for name, value in facts if value not in (None, "", [])]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {clean(value)}")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Columns: fitted to a terminal, tab-separated without a heading into a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            click.echo("\t".join(clean(_cell(cell)) for cell in row))
    elif rows:
        _print_fitted(headers, rows)
    else:
        click.echo(empty)


def _print_fitted(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich import box, console, table, text  # 50 ms: only where it shows

    grid = table.Table(*headers, box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for row in rows:
        grid.add_row(*(text.Text(clean(_cell(cell))) for cell in row))
    console.Console().print(grid)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, list):
        return " ".join(str(item) for item in value) or "-"
    return str(value) or "-"
