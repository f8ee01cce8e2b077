"""A scenario file before validation: plain data, and the place in the file (or the `--set` option) that each value came from.

The file is YAML read by the rules of version 1.2's core schema: `on` and `off` are words, `1:30` is a text, `1e3` a number. It can
hold data only; no tag builds an object.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from traces.errors import InputError

if TYPE_CHECKING:
    import yaml

Keys = tuple[str | int, ...]

_MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 30
_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, which a terminal obeys; marks that turn the direction of text; halves of UTF-16 pairs."""


class Place(NamedTuple):
    """Where a value was written: a 1-based line of the file, or line 0 and the option that set it."""

    line: int
    origin: str

    def __str__(self) -> str:
        return f"{self.origin}:{self.line}" if self.line else self.origin


@dataclass
class Document:
    """Raw data and the place of each of its keys. ``name``: what messages call the file."""

    name: str
    data: Any
    places: dict[Keys, Place] = field(default_factory=dict)

    def place(self, keys: Keys) -> Place:
        """The place of the value, or of the nearest one around it that was written down."""
        for end in range(len(keys), -1, -1):
            if keys[:end] in self.places:
                return self.places[keys[:end]]
        return Place(0, self.name)

    def set(self, option: str) -> None:
        """Applies one override, `key.path=value`; the value is YAML. List entries are addressed by index or by their `name`.

        Raises:
            InputError: it has no `=`, no key or an unreadable value, or the path leads through something that has no keys.
        """
        _refuse_unseen_characters(option, "--set")
        path, equals, text = option.partition("=")
        words = re.sub(r"\[(\d+)\]", r".\1", path.strip()).split(".")
        origin = f"--set {path.strip()}"
        if not equals or not all(words):
            raise InputError(f"--set {option}: names no value; write it like --set workload.chat.rate=20/s")
        keys, holder, key = self._descend(words, origin)
        new = parse(text, origin, in_file=False)
        holder[key] = new.data
        kept = {k: place for k, place in self.places.items() if k[: len(keys)] != keys}
        opened = {keys[:end]: Place(0, origin) for end in range(1, len(keys) + 1)}
        self.places = opened | kept | {keys + k: place for k, place in new.places.items()}

    def _descend(self, words: list[str], origin: str) -> tuple[Keys, Any, str | int]:
        """The full key path, and the mapping or list that holds its last key."""
        keys: Keys = ()
        node, holder = self.data, None
        while words:
            key: str | int
            if isinstance(node, list):
                key, used = _entry(node, words, f"{origin}: {dotted(keys)}")
            elif isinstance(node, dict):
                key, used = words[0], 1
            else:
                raise InputError(f"{origin}: `{dotted(keys)}` is `{node}`, which has no keys; set it whole, as a mapping")
            keys, words, holder = (*keys, key), words[used:], node
            node = node[int(key)] if isinstance(node, list) else node.get(key)
            if words:
                node = self._opened(keys, node, words[0])
                holder[key] = node
        return keys, holder, keys[-1]

    @staticmethod
    def _opened(keys: Keys, node: Any, word: str) -> Any:
        """Room for the deeper key ``word``: absent mappings are made, bare names of policies get their long form."""
        if keys[0] == "policy" and len(keys) == 1 and isinstance(node, str):
            return {"stack": node}
        if keys[0] == "policy" and len(keys) == 2:  # a point holds one policy: naming another's parameter replaces it
            chosen = {node: {}} if isinstance(node, str) else node
            return {word: chosen.get(word) if isinstance(chosen, dict) else None}
        return {} if node is None else node


def read(path: str | Path) -> Document:
    """The document in a file.

    Raises:
        InputError: the file cannot be read, is not YAML, repeats a key, or holds no mapping; one line.
    """
    name = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{name}: no such file; check the path, or start from one of the files in traces/gallery") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: is not text in UTF-8 (byte {error.start}); a scenario is a YAML file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{name}: cannot be read ({reason}); name a scenario file in YAML") from None
    if len(data) > _MAX_BYTES:
        raise InputError(f"{name}: is larger than {_MAX_BYTES >> 20} MiB, which no scenario is; name a scenario file in YAML")
    document = parse(text, name)
    if not isinstance(document.data, dict):
        found = "is empty" if document.data is None else "holds no keys at its top level"
        raise InputError(f"{name}: {found}; a scenario starts with `model:`, `fleet:` and `workload:`")
    return document


def dotted(keys: Keys) -> str:
    """`workload[0].slo.ttft`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)
    return text.removeprefix(".")


def nearest(word: str, words: Iterator[str] | list[str]) -> str:
    """ "did you mean `x`?", or the words to choose from."""
    known = list(words)
    lowered = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{lowered[close[0]]}`?"
    return f"use one of {', '.join(known)}" if known else "remove it"


def _entry(entries: list[Any], words: list[str], where: str) -> tuple[int, int]:
    """Index of the list entry that the first words name, and how many words that takes (names may hold dots)."""
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    for used in range(len(words), 0, -1):
        if (name := ".".join(words[:used])) in names:
            return names.index(name), used
    if words[0].isdecimal() and int(words[0]) < len(entries):
        return int(words[0]), 1
    known = [name for name in names if isinstance(name, str)] + [str(i) for i in range(len(entries))]
    raise InputError(f"{where} has no entry `{words[0]}`; {nearest(words[0], known)}")


def parse(text: str, name: str, *, in_file: bool = True) -> Document:
    """The document in a text: a file's, or the value of an option (``in_file`` off: places have no lines).

    Raises:
        InputError: it is not YAML, or holds what no scenario holds; one line.
    """
    import yaml

    loader_type = _loader()
    try:
        loader = loader_type(text)
        node = loader.get_single_node()
        document = Document(name, None)
        if node is not None:
            document.places = dict(_walk(loader, node, (), name, _Budget(name)))
            if not in_file:
                document.places = {keys: Place(0, name) for keys in document.places}
            document.data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"{name}:{mark.line + 1}" if mark and in_file else name
        words = [error.context] * str(error.problem).startswith("but") + [error.problem]
        problem = " ".join(" ".join(str(word) for word in words).split())
        raise InputError(f"{line}: is not valid YAML: {problem}; check indentation, quotes and brackets there") from None
    except yaml.reader.ReaderError as error:
        raise InputError(f"{name}: holds a character that YAML forbids (position {error.position}); remove it") from None
    except RecursionError:
        raise InputError(f"{name}: is nested too deeply; a scenario has at most {_MAX_DEPTH} levels") from None
    except (ValueError, KeyError):
        raise InputError(
            f"{name}: holds a value that does not fit its tag, or a number of too many digits; write it plainly"
        ) from None
    return document


class _Budget:
    """Stops files whose aliases, or merge keys, unfold without end."""

    def __init__(self, name: str) -> None:
        self.name, self.nodes = name, 0
        self._entries: dict[int, int] = {}

    def spend(self, depth: int) -> None:
        self.nodes += 1
        if self.nodes > _MAX_NODES or depth > _MAX_DEPTH:
            raise InputError(f"{self.name}: is nested too deeply or unfolds to more than {_MAX_NODES} values; write it out flat")

    def check_merges(self, node: yaml.MappingNode) -> None:
        """Before they are carried out: each may merge what itself is merged many times over."""
        if self._merged(node) > _MAX_NODES:
            raise InputError(f"{self.name}: merges unfold to more than {_MAX_NODES} values; write it out flat")

    def _merged(self, node: yaml.Node) -> int:
        """How many entries a mapping has with all that it merges. Each node is counted once, however often it is named."""
        import yaml

        if not isinstance(node, yaml.MappingNode):
            return 0
        if id(node) not in self._entries:
            self._entries[id(node)] = 0
            total = 0
            for key, value in node.value:
                merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                total += sum(map(self._merged, merged)) if key.tag == "tag:yaml.org,2002:merge" else 1
            self._entries[id(node)] = total
        return self._entries[id(node)]


def _walk(loader: yaml.SafeLoader, node: yaml.Node, keys: Keys, origin: str, budget: _Budget) -> Iterator[tuple[Keys, Place]]:
    """Each key path below the node with its place; a mapping's value lies where its key does."""
    import yaml

    budget.spend(len(keys))
    if not keys:
        yield keys, Place(node.start_mark.line + 1, origin)
    items: list[tuple[str | int, yaml.Node, yaml.Node]] = []
    if isinstance(node, yaml.ScalarNode):
        _refuse_unseen_characters(node.value, f"{origin}:{node.start_mark.line + 1}")
    elif isinstance(node, yaml.SequenceNode):
        items = [(i, item, item) for i, item in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        _refuse_repeated_keys(node, keys, origin)
        budget.check_merges(node)
        loader.flatten_mapping(node)  # `<<: *anchor`
        items = [(key.value, key, value) for key, value in node.value]
    for key, marked, value in items:
        yield (*keys, key), Place(marked.start_mark.line + 1, origin)
        yield from _walk(loader, value, (*keys, key), origin, budget)


def _refuse_repeated_keys(node: yaml.MappingNode, keys: Keys, origin: str) -> None:
    import yaml

    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise InputError(f"{origin}:{line}: a key is a list or a mapping; keys are plain words")
        if key.value in lines:
            where = dotted((*keys, key.value))
            raise InputError(f"{origin}:{line}: {where}: is written twice (first on line {lines[key.value]}); remove one")
        _refuse_unseen_characters(key.value, f"{origin}:{line}")
        lines[key.value] = line


def _refuse_unseen_characters(text: str, where: str) -> None:
    if found := _UNSEEN.search(text):
        raise InputError(f"{where}: holds the character U+{ord(found[0]):04X}, which nobody can see; remove it")


@cache
def _loader() -> type[yaml.SafeLoader]:
    import yaml

    class CoreSchemaLoader(yaml.SafeLoader):
        """YAML 1.2's core schema, merge keys included."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (as PyYAML declares it)
        yaml_constructors: ClassVar[dict[str | None, Any]] = {
            tag: build
            for tag, build in yaml.SafeLoader.yaml_constructors.items()
            if tag is None or tag.rpartition(":")[2] in ("null", "bool", "int", "float", "str", "seq", "map")
        }

    number = list("-+.0123456789")
    core: list[tuple[str, str, list[str]]] = [
        ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
        ("int", r"[-+]?[0-9][0-9_]*", number),
        ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", number),
        ("merge", r"<<", ["<"]),
    ]
    for tag, pattern, first in core:
        CoreSchemaLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)
    CoreSchemaLoader.add_constructor(
        "tag:yaml.org,2002:int",
        lambda loader, node: int(str(loader.construct_scalar(node)).replace("_", "")),  # type: ignore[arg-type]
    )
    return CoreSchemaLoader
