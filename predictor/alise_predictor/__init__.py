"""How many tokens a request is going to produce, as a distribution, before it runs."""

import os

# ONNX Runtime 1.32 opens a database below the home directory on import and reports to a collector
# of its maker's unless this is set before it is loaded; disable_telemetry_events() comes too late.
# Source: the wheel's own strings (ORT_DISABLE_TELEMETRY), and its open files with and without it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # noqa: TID251  written, not read
