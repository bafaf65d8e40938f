"""Pydantic's findings in our words: what is wrong with a field, and which values it takes. Never the value that was sent."""

import re
from collections.abc import Mapping
from typing import Any

TEXT, WHOLE, NUMBER, TRUTH = "must be a string", "must be a whole number", "must be a number", "must be true or false"
LIST, OBJECT, TIME = "must be a list", "must be an object", "must be a time such as 2026-12-31T00:00:00Z"
CHOICE = frozenset({"literal_error", "enum"})
# By pydantic's name of the kind; what stands in braces is in its context.
WORDS = {
    "missing": "is required",
    "extra_forbidden": "unknown field",
    "string_type": TEXT,
    "string_unicode": "must be UTF-8",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_from_float": WHOLE,
    "int_parsing_size": "is too large a number",
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": "must be a finite number",
    "bool_type": TRUTH,
    "bool_parsing": TRUTH,
    "list_type": LIST,
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} items",
    "dict_type": OBJECT,
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "value_error": "{error}",
}


def told(found: Mapping[str, Any]) -> dict[str, Any]:
    """`issue`, and `supported` where there is a choice, of one of pydantic's errors. An unknown kind keeps its words."""
    kind, context = found["type"], found.get("ctx", {})
    choices = _choices(context) if kind in CHOICE else []
    if choices:
        return {"issue": f"must be one of {', '.join(choices)}", "supported": choices}
    if kind not in WORDS:
        return {"issue": found["msg"]}
    issue = WORDS[kind].format_map(context)
    is_null = found.get("input", "") is None and kind.endswith("_type")
    return {"issue": f"{issue}, not null" if is_null else issue}


def _choices(context: Mapping[str, Any]) -> list[str]:
    """From "'a', 'b' or 'c'"; without the empty one, which stands for nothing chosen."""
    return [choice for choice in re.findall(r"'([^']*)'", str(context.get("expected", ""))) if choice]
