"""The reference in docs/ is what the contract says now."""

import pytest

from control_plane.api import problems
from tools import reference


@pytest.fixture(scope="module")
def document():
    return reference.document()


def test_the_generated_pages_are_not_stale(document):
    for path, content in reference.files(document).items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name} is stale: run `{reference.COMMAND}`"


def test_every_operation_and_every_error_is_on_its_page(document):
    pages = {path.name: content for path, content in reference.files(document).items()}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert f"### {operation['operationId']}\n\n`{method.upper()} {path}`" in pages["api.md"]
    for code in problems.codes().values():
        assert f"\n## {code}\n" in pages["errors.md"]


def test_every_link_of_the_pages_leads_somewhere(document):
    pages = {path.name: content for path, content in reference.files(document).items()}
    for written in ("conventions.md", "detection.md"):
        pages[written] = (reference.DIRECTORY / written).read_text(encoding="utf-8")
    for name, content in pages.items():
        for target in reference.links(content):
            page, _, anchor = target.partition("#")
            assert (page or name) in pages, target
            assert not anchor or anchor in reference.anchors(pages[page or name]), f"{name}: {target}"
