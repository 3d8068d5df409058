"""Write the gateway's settings into the chart's schema of values.

Usage: ``python tools/chart_schema.py [--check]``. ``gateway.config`` is handed to the gateway as it
is; with its settings in ``charts/alise/values.schema.json`` Helm refuses a misspelt one before
anything is installed. The rest of that file is written by hand.
"""

import json
import sys
from pathlib import Path
from typing import Any

from alise_gateway.settings import GatewaySettings

SCHEMA = Path(__file__).resolve().parent.parent / "charts/alise/values.schema.json"
PREFIX = "settings."
SET_BY_THE_CHART = {"host", "port", "admin_host", "admin_port", "admin_token_file", "kubernetes"}
"""Left to the template, whose refusal says which value to use."""
LEFT_OUT = {"default", "title", "discriminator", "format"}


def main() -> int:
    """Write, or with ``--check`` compare; returns the exit code."""
    written = SCHEMA.read_text(encoding="utf-8")
    wanted = with_settings(json.loads(written))
    text = json.dumps(wanted, indent=2) + "\n"
    if "--check" in sys.argv[1:]:
        if text != written:
            print(f"{SCHEMA.name} is not up to date: run python tools/chart_schema.py")
        return int(text != written)
    SCHEMA.write_text(text, encoding="utf-8")
    return 0


def with_settings(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of values with the gateway's settings as they are now."""
    ours = {
        name: part for name, part in schema["definitions"].items() if not name.startswith(PREFIX)
    }
    return {**schema, "definitions": ours | settings_definitions()}


def settings_definitions() -> dict[str, Any]:
    """The settings as definitions of JSON Schema draft 7, which every Helm 3 reads."""
    schema = GatewaySettings.model_json_schema(ref_template=f"#/definitions/{PREFIX}{{model}}")
    groups = schema.pop("$defs")
    properties = schema["properties"] | {name: {} for name in sorted(SET_BY_THE_CHART)}
    definitions = {"gateway": {**schema, "properties": properties}} | groups
    used = _reachable(definitions)
    return {
        PREFIX + name: _plain(part) for name, part in sorted(definitions.items()) if name in used
    }


def _reachable(definitions: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = ["gateway"]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [
                other
                for other in definitions
                if f'{PREFIX}{other}"' in json.dumps(definitions[name])
            ]
    return found


def _plain(part: Any) -> Any:  # noqa: ANN401  any JSON
    if isinstance(part, list):
        return [_plain(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        name: {key: _plain(item) for key, item in value.items()}
        if name in {"properties", "definitions"}
        else _plain(value)
        for name, value in part.items()
        if name not in LEFT_OUT
    }


if __name__ == "__main__":
    sys.exit(main())
