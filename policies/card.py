"""What a policy class says of itself: its parameters from the constructor, the words about it from the docstring."""

from __future__ import annotations

from dataclasses import dataclass

_PLAIN = {"int": (int,), "float": (int, float), "str": (str,), "bool": (bool,)}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One constructor parameter. ``type`` is the annotation as written, ``default`` is ``None`` too where one is ``required``."""

    name: str
    type: str
    default: object
    required: bool
    doc: str

    def accepts(self, value: object) -> bool:
        """Whether the value fits a plain type: a whole number is a float too, a boolean no number. Other types are not checked."""
        plain = _PLAIN.get(self.type)
        return plain is None or (isinstance(value, plain) and isinstance(value, bool) == (self.type == "bool"))


@dataclass(frozen=True, slots=True)
class PolicyCard:
    """A policy as ``twinserve policies list`` (the summary) and ``show`` (all of it) present it; plain data throughout."""

    point: str
    name: str
    summary: str
    details: str = ""
    source: str = ""
    origin: str = ""
    parameters: tuple[Parameter, ...] = ()


def card_of(point: str, name: str, cls: type, origin: str) -> PolicyCard:
    """The card of a policy class: docstring, constructor, and what the registry knows of it."""
    summary, details, _, source = _read(cls)
    settable = tuple(p for p in declared(cls) if p.name != "seed")
    return PolicyCard(point, name, summary, details, source, origin, settable)


def declared(cls: type) -> tuple[Parameter, ...]:
    """The constructor's named parameters in order, ``seed`` included; ``**kwargs`` declares none."""
    import inspect

    docs = _read(cls)[2]
    parameters = list(inspect.signature(cls).parameters.values())
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return tuple(
        Parameter(
            name=p.name,
            type=""
            if p.annotation is p.empty
            else p.annotation
            if isinstance(p.annotation, str)
            else inspect.formatannotation(p.annotation),
            default=None if p.default is p.empty else p.default,
            required=p.default is p.empty,
            doc=docs.get(p.name, ""),
        )
        for p in named
    )


def _read(cls: type) -> tuple[str, str, dict[str, str], str]:
    """Summary, details, parameter → its line, source: the parts of a class docstring, each on one line."""
    import inspect

    paragraphs = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    summary, details, arguments, source = paragraphs[0], [], {}, ""
    for paragraph in paragraphs[1:]:
        if paragraph.startswith("Args:"):
            name = ""
            for line in paragraph.splitlines()[1:]:
                head, colon, rest = line.strip().partition(": ")
                if colon and head.isidentifier() and not line.startswith("     "):
                    name, arguments[head] = head, rest
                elif name:
                    arguments[name] += " " + line.strip()
        elif paragraph.startswith("Source:"):
            source = paragraph.removeprefix("Source:")
        else:
            details.append(paragraph)
    return _flat(summary), _flat(" ".join(details)), {name: _flat(line) for name, line in arguments.items()}, _flat(source)


def _flat(text: str) -> str:
    return " ".join(text.replace("``", "").split())
