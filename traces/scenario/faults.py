"""pydantic's errors in the user's words: one line per fault, "file:line: key.path: what is wrong; what to do"."""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from traces.scenario.document import Document, Keys, dotted, nearest
from traces.scenario.fields import IN_WORDS, LIST, RULES_BROKEN


def lines(error: ValidationError, schema: type[BaseModel], document: Document) -> list[str]:
    """All faults in the order of the file, those of `--set` options last. ``schema``: the model that the document failed."""
    found = []
    for detail in error.errors(include_url=False):
        for keys, text in _faults(detail, schema, document):
            place, where = document.place(keys), dotted(keys)
            named = not keys or str(place) == f"--set {where}"
            found.append((place.line or float("inf"), f"{place}: {text}" if named else f"{place}: {where}: {text}"))
    return [line for _, line in sorted(found, key=lambda pair: pair[0])]


def _faults(detail: ErrorDetails, schema: type[BaseModel], document: Document) -> Iterator[tuple[Keys, str]]:
    location = tuple(detail["loc"])
    keys = tuple(part for part in location if not _is_tag(part))
    if detail["type"] == RULES_BROKEN:
        for key, text in detail["ctx"]["faults"]:
            yield (*keys, *_path(key)), text
        return
    if detail["type"] != "missing":
        while keys and keys not in document.places:  # keys that a short form stands for: `1024` for `{fixed: 1024}`
            keys = keys[:-1]
    yield keys, _text(detail, location, schema)


def _path(key: str) -> Keys:
    return tuple(int(word) if word.isdecimal() else word for word in key.split(".") if word)


def _text(detail: ErrorDetails, location: Keys, schema: type[BaseModel]) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    shown = "nothing" if value is None else f"`{value if len(str(value)) <= 40 else str(value)[:40] + '…'}`"
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(location[-1]), _keys_at(schema, location[:-1]))}"
    if kind == "missing":
        return f"is missing; add `{location[-1]}:` {_described(schema, location)}".rstrip()
    if kind == IN_WORDS:
        return detail["msg"]
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"{shown} is not known; {nearest(str(value), [word.strip() for word in _options(context['expected'])])}"
    if kind in ("greater_than_equal", "greater_than", "less_than_equal", "less_than"):
        bound = "at least {ge}" if "ge" in context else "more than {gt}" if "gt" in context else ""
        bound = bound or ("at most {le}" if "le" in context else "less than {lt}")
        return f"is {shown}; it must be {bound.format(**context)}"
    if kind in ("model_type", "model_attributes_type", "dict_type", "union_tag_not_found"):
        known = _keys_at(schema, location)
        return f"{shown} is not a mapping; write keys under it" + (f" ({', '.join(known)})" if known else "")
    if kind in ("tuple_type", "list_type"):
        return f"{shown} is not a list; write its entries as `- …` or between [ and ]"
    if kind == "string_type":
        return f"{shown} is not a text; put it in quotes"
    if kind == "invalid_key":
        return f"key {shown} is not a word; put it in quotes"
    return f"{shown}: {detail['msg'][:1].lower()}{detail['msg'][1:]}; write such a value"


def _options(expected: str) -> list[str]:
    return expected.replace(" or ", ", ").replace("'", "").split(",")


def _is_tag(part: str | int) -> bool:
    """Whether it names a branch of a union (`<file>`) and not a key of the file."""
    return isinstance(part, str) and part.startswith("<")


def _described(schema: type[BaseModel], location: Keys) -> str:
    for model in _models_at(schema, location[:-1]):
        for name, info in model.model_fields.items():
            if location[-1] == (info.alias or name) and info.description:
                return f"({info.description})"
    return ""


def _keys_at(schema: type[BaseModel], location: Keys) -> list[str]:
    return [info.alias or name for model in _models_at(schema, location) for name, info in model.model_fields.items()]


def _models_at(schema: type[BaseModel], location: Keys) -> list[type[BaseModel]]:
    types: list[Any] = [schema]
    for part in location:
        types = [inner for kind in types for inner in _step(kind, part)]
    return [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _step(kind: Any, part: str | int) -> Iterator[Any]:
    """The types that one part of a location leads to."""
    if _is_tag(part):
        tag = LIST if get_origin(kind) is tuple else getattr(kind, "TAG", None)
        yield from (kind,) if tag == part else ()
    elif isinstance(part, int):
        yield from (inner for argument in get_args(kind) for inner in _flat(argument)) if get_origin(kind) is tuple else ()
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, info in kind.model_fields.items():
            if part == (info.alias or name):
                yield from _flat(info.annotation)


def _flat(kind: Any) -> Iterator[Any]:
    """The members of a union, annotations taken off."""
    if get_origin(kind) is Annotated:
        yield from _flat(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        for member in get_args(kind):
            yield from _flat(member)
    else:
        yield kind
