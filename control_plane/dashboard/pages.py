"""The status page: what runs here and whether it is ready. It shows no data of anybody."""

import base64
import dataclasses
import hashlib
from collections.abc import Callable
from typing import Any

import flask
import markupsafe

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;color:#1c2733;background:#fff;margin:0}"
    "main{max-width:40rem;margin:3rem auto;padding:0 1rem}"
    "pre{background:#f2f4f7;padding:1rem;overflow:auto}"
    "@media(prefers-color-scheme:dark){body{color:#e6e9ee;background:#14181d}pre{background:#20262d}a{color:#8ab4f8}}"
)
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# No script, no foreign content, no frame: the page is text with the one style sheet above inside.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """What the page shows."""

    version: str
    ready: bool
    problems: tuple[str, ...]


def blueprint(status: Callable[[], Status], public: Callable[[Any], Any]) -> flask.Blueprint:
    """`status` answers at each request; `public` marks a view as open to anybody, as the API does."""
    pages = flask.Blueprint("dashboard", __name__, template_folder="templates")

    @pages.get("/")
    @public
    def home() -> flask.Response:
        style = markupsafe.Markup(STYLE)  # noqa: S704 - our own constant
        address = flask.request.host_url.rstrip("/")
        page = flask.render_template("status.html", status=status(), address=address, style=style)
        response = flask.Response(page, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return pages
