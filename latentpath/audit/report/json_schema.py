"""The JSON schema of `audit.json`, put together from the report's part and one of every wing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from latentpath.audit.registry import wings

_REPORT = Path(__file__).with_name("audit.schema.json")


def audit_schema() -> dict[str, Any]:
    """The schema of `audit.json` (JSON Schema, draft 2020-12), with all wings that are registered.

    >>> audit_schema()["properties"]["format"]
    {'const': 6}
    """
    schema: dict[str, Any] = json.loads(_REPORT.read_text(encoding="utf-8"))
    of_set = schema["$defs"]["set"]
    for wing in wings():
        part: dict[str, Any] = {"measures": {}, "$defs": {}}
        if wing.schema is not None:
            part = json.loads(wing.schema.read_text(encoding="utf-8"))
        schema["$defs"] |= part["$defs"]
        for measure in wing.measures:
            values = part["measures"].get(measure.name, {"type": "object"})
            of_set["properties"][measure.name] = {"anyOf": [values, {"type": "null"}]}
            of_set["required"].append(measure.name)
    return schema
