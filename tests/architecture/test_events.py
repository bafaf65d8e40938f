"""Every event that a webhook may ask for is sent by something, or said to be unsent."""

import pathlib

import control_plane
from control_plane.domain import event

ROOT = pathlib.Path(control_plane.__file__).parent
SENDERS = [file for part in ("services", "domain") for file in sorted((ROOT / part).glob("*.py"))]
BY_VERB = {"route.created"}  # services/routes.py puts it together
DOCS = ROOT.parent / "docs" / "explanation" / "webhooks.md"


def test_every_event_of_the_contract_is_sent_somewhere_or_said_to_be_unsent():
    said = "".join(file.read_text() for file in SENDERS if file.name != "event.py")
    never = {name for name in event.TYPES if f'"{name}"' not in said}
    assert never == BY_VERB | set(event.UNSENT)
    routes = (ROOT / "services" / "routes.py").read_text()
    assert all(f'"{name.partition(".")[2]}"' in routes for name in BY_VERB)


def test_every_event_is_in_the_table_for_receivers():
    table = DOCS.read_text()
    assert [name for name in event.TYPES if f"`{name}`" not in table] == []
