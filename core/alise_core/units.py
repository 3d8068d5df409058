"""Units and identifiers as types, so that a signature says what a number means."""

from typing import NewType

Seconds = NewType("Seconds", float)
"""A duration, or a mark on the process's monotonic clock."""

Tokens = NewType("Tokens", int)
"""Tokens as the engine's own tokenizer counts them."""

Blocks = NewType("Blocks", int)
"""KV-cache blocks: the engine's unit of KV memory."""

Bytes = NewType("Bytes", int)

RequestId = NewType("RequestId", str)
TenantId = NewType("TenantId", str)
ModelName = NewType("ModelName", str)
BackendName = NewType("BackendName", str)
"""One engine pod as logs and metrics name it, for example ``127.0.0.1:9001``."""
