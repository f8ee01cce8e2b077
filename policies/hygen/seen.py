"""A running request as it stands when a step is planned."""

from __future__ import annotations

from policies.types import RequestView


class Seen:
    """What planning a step needs of a running request, each figure read once: a view may work it out anew every time.

    ``generated``, ``drafted``: tokens so far. ``prefilled``: tokens whose KV is computed; ``left``: known ones whose KV is not.
    ``decodes``: whether its next token comes of a decode.
    """

    __slots__ = ("decodes", "drafted", "generated", "id", "left", "offline", "prefilled")

    def __init__(self, request: RequestView) -> None:
        generated, prefilled = request.generated_tokens, request.prefilled_tokens
        self.id = request.id
        self.offline = request.offline
        self.generated = generated
        self.drafted = request.drafted_tokens
        self.prefilled = prefilled
        self.left = left = request.prompt_tokens + generated - prefilled
        self.decodes = generated > 0 and left <= 1
