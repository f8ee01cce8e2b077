"""The `policy:` part of a scenario: one policy per decision point, by name, with its parameters."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from policies import registry
from policies.card import PolicyCard
from traces.errors import InputError
from traces.scenario.document import parse
from traces.scenario.fields import Part
from traces.units import parse_quantity


class Choice(Part):
    """A policy's name and its parameters in SI units; in the file `name`, or `{name: {parameter: value}}`."""

    name: str
    params: dict[str, Any] = Field({})


def _choice(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ValueError(f"`{value}` is no policy; write a name, or {{name: {{parameter: value}}}}")
    ((name, params),) = value.items()
    if params is None:
        params = {}
    if not isinstance(params, Mapping):
        raise ValueError(f"{name}: `{params}` is not a mapping; write its parameters as {{parameter: value}}")
    return {"name": str(name), "params": {str(key): _plain(item) for key, item in params.items()}}


def _plain(value: Any) -> Any:
    """`10%` → 0.1: parameters reach policies as plain numbers."""
    quantity = parse_quantity(value) if isinstance(value, str) else None
    return value if quantity is None else quantity


def parse_params(options: Sequence[str]) -> dict[str, Any]:
    """Policy parameters as typed on the command line, `name=value` each, the value as it would stand in a scenario.

    Raises:
        InputError: an option has no `=`, no name, or an unreadable value.
    """
    params = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name:
            raise InputError(f"--param {option}: names no value; write it like --param choices=3")
        params[name] = _plain(parse(text, f"--param {name}", in_file=False).data)
    return params


def search_working_directory(name: str) -> None:
    """Let a policy given as ``module:Class`` lie in the working directory, as while it is written. Installed modules go first."""
    if ":" in name and not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())


PolicyChoice = Annotated[
    Choice,
    BeforeValidator(lambda value: value if isinstance(value, Choice) else _choice(value)),
    PlainSerializer(lambda choice: {choice.name: choice.params}),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "object", "maxProperties": 1, "additionalProperties": {"type": ["object", "null"]}},
            ]
        }
    ),
]


def _with_stack(schema: dict[str, Any]) -> None:
    schema["properties"]["stack"] = {"enum": list(registry.STACKS), "description": "the policies that the other keys leave open"}
    schema.pop("required")
    for point in registry.POINTS:
        cards = [card for card in registry.catalogue() if card.point == point]
        named, chosen, *rest = schema["properties"][point]["anyOf"]
        chosen = chosen | {"properties": {card.name: _parameters(card) for card in cards}}
        schema["properties"][point]["anyOf"] = [{"enum": [card.name for card in cards]}, named, chosen, *rest]


def _parameters(card: PolicyCard) -> dict[str, Any]:
    """JSON schema of a policy's parameters."""
    told = {parameter.name: {"description": parameter.doc} for parameter in card.parameters}
    return {"type": ["object", "null"], "description": card.summary, "properties": told, "additionalProperties": False}


class Policy(Part):
    """One policy per decision point. `policy: NAME` alone, or `stack: NAME` among the points, takes a whole stack as the start."""

    SHORT: ClassVar = {"enum": list(registry.STACKS)}

    router: PolicyChoice = Field(description="chooses an engine for each request")
    scaler: PolicyChoice | None = Field(None, description="brings engines up and takes them down; default: none")
    batcher: PolicyChoice = Field(description="fills each step of an engine")
    speculator: PolicyChoice | None = Field(
        None, description="chooses draft tokens, on engines with `speculative:`; default: vllm, all that there can be"
    )

    model_config = ConfigDict(json_schema_extra=_with_stack)

    @classmethod
    def default(cls) -> Policy:
        """The stack that is used when nothing is said."""
        return cls.model_validate(registry.DEFAULT_STACK)

    @property
    def speculation(self) -> Choice:
        """The speculator of engines with speculative decoding."""
        return self.speculator or Choice(name="vllm", params={})

    @model_validator(mode="before")
    @classmethod
    def _over_a_stack(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"stack": value}
        if not isinstance(value, dict):
            return value
        points = {key: choice for key, choice in value.items() if key != "stack" and choice is not None}
        return registry.stack(str(value.get("stack") or registry.DEFAULT_STACK)) | points

    @field_validator("router", "scaler", "batcher", "speculator")
    @classmethod
    def _can_be_built(cls, choice: Choice | None, info: ValidationInfo) -> Choice | None:
        if choice is None:
            return None
        search_working_directory(choice.name)
        registry.build(str(info.field_name), choice.name, choice.params, seed=0)
        return choice
