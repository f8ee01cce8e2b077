"""What every part of a scenario is made of: the base model and the field types that read quantities with their units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema, PydanticCustomError

from traces.hardware import GPUS, MODELS
from traces.scenario.document import nearest
from traces.units import parse_bandwidth, parse_duration, parse_fraction, parse_rate

LIST = "<list>"
"""Tag of a union's branch that is a list."""
RULES_BROKEN = "rules_broken"
IN_WORDS = "in_words"
"""Error types of our own: rules between keys (``Part.faults``), and a message that is ready to be shown."""


class Part(BaseModel):
    """A mapping of the scenario file: read-only, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    SHORT: ClassVar[dict[str, Any] | None] = None
    """JSON schema of what may be written in place of the mapping."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core_schema)
        return schema if cls.SHORT is None else {"anyOf": [cls.SHORT, schema]}

    def faults(self) -> Iterator[tuple[str, str]]:
        """The rules between keys that are broken: (key at fault, or "" for the whole part; "what is wrong; what to do")."""
        return iter(())

    @model_validator(mode="after")
    def _keeps_its_rules(self) -> Self:
        if broken := list(self.faults()):
            raise PydanticCustomError(RULES_BROKEN, "breaks rules between its keys", {"faults": broken})
        return self


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise ValueError(f"`{value}` is not a whole number; write one without unit or quotes")
    return int(value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{value}` is not a number; write one without unit or quotes")
    return float(value)


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("on", "off"):
        return value == "on"
    raise ValueError(f"`{value}` is neither true nor false; write true (or on), false (or off)")


def _noise(value: object) -> float:
    return 0.0 if value is False or value == "off" else parse_fraction(value)


def _scalar(value: object) -> str | int | float | bool:
    if isinstance(value, str | int | float | bool):
        return value
    raise ValueError(f"`{value}` is not a single value; write a number, a word, true or false")


def _not_empty(value: object) -> object:
    if value in ([], ()):
        raise ValueError("is empty; give at least one entry")
    return value


def _known(what: str, names: Sequence[str], name: str) -> str:
    if name not in names:
        raise ValueError(f"{what} `{name}` is not known; {nearest(name, list(names))}")
    return name


def _schema(kind: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "description": kind, "examples": list(examples)})


Seconds = Annotated[float, BeforeValidator(parse_duration), _schema("a duration; a plain number counts seconds", "500ms", "20min")]
PerSecond = Annotated[float, BeforeValidator(parse_rate), _schema("a rate; a plain number counts per second", "12/s", "720/min")]
BytesPerSecond = Annotated[
    float, BeforeValidator(parse_bandwidth), _schema("a bandwidth; a plain number counts bytes per second", "50GB/s")
]
Fraction = Annotated[float, BeforeValidator(parse_fraction), _schema("a share of one", "10%", "0.1")]
Count = Annotated[int, BeforeValidator(_count), WithJsonSchema({"type": "integer"})]
Number = Annotated[float, BeforeValidator(_number), WithJsonSchema({"type": "number"})]
Noise = Annotated[float, BeforeValidator(_noise), _schema("a share of the step time, or off", "2%", "off")]
Scalar = Annotated[Any, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})]
NotEmpty = BeforeValidator(_not_empty)
ServedModel = Annotated[str, WithJsonSchema({"enum": sorted(MODELS)})]
"""Any name: whether a pool serves it is asked of the fleet."""
ModelName = Annotated[ServedModel, AfterValidator(partial(_known, "model", tuple(MODELS)))]
GPUName = Annotated[str, AfterValidator(partial(_known, "GPU", tuple(GPUS))), WithJsonSchema({"enum": sorted(GPUS)})]
Switch = Annotated[bool, BeforeValidator(_switch), WithJsonSchema({"enum": ["on", "off", True, False]})]
