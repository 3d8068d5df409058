"""The parts of a body that say what is asked for, as undecoded JSON.

Intake finds where they begin and end while it reads the fields that it acts on; whoever wants to
know what they say decodes them. Fields with contents of unknown shape are ``Raw``, so that judging
them stays the engine's business.
"""

import msgspec

ABSENT = msgspec.Raw(b"null")
"""A field that is not there. ``Raw`` stands alone: in a union with None, only null is taken."""


class ContentFields(msgspec.Struct):
    """Every field of OpenAI's and Anthropic's endpoints that can matter to length or placement.

    Each is a view into the body's bytes and keeps them alive.
    """

    messages: msgspec.Raw = ABSENT
    prompt: msgspec.Raw = ABSENT
    input: msgspec.Raw = ABSENT
    system: msgspec.Raw = ABSENT
    instructions: msgspec.Raw = ABSENT
    tools: msgspec.Raw = ABSENT
    functions: msgspec.Raw = ABSENT
    response_format: msgspec.Raw = ABSENT
    text: msgspec.Raw = ABSENT
    guided_json: msgspec.Raw = ABSENT
    structured_outputs: msgspec.Raw = ABSENT
    nvext: msgspec.Raw = ABSENT
    vllm_xargs: msgspec.Raw = ABSENT
    n: msgspec.Raw = ABSENT
    """How many answers are wanted."""
    prompt_cache_key: msgspec.Raw = ABSENT
    """OpenAI's name for requests that begin alike."""
    user: msgspec.Raw = ABSENT
