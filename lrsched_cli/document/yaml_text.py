"""YAML as a document.

What ``yaml.safe_load`` reads, except that: ``1e-5`` is a number; ``1:30``, ``2024-01-01`` and ``=`` are text, as is a
key such as ``no``; and what would be silently surprising (a key twice, ``010``) or is not plain data is refused.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import yaml

from lrsched_cli.document.located import MAX_DEPTH, MAX_DIGITS, MAX_NODES, Located, LocatedList
from lrsched_cli.errors import SpecError, shown

#: Beyond this many, whole numbers can be made that all hash alike, and a mapping of them takes hours to fill.
MAX_KEY = 10**18


def build(text: str, name: str) -> Any:
    """The document in a text, None where it holds nothing; raises ``SpecError``, without the file's name."""
    if text.lstrip()[:1] in ("{", "["):
        text = _PAIR.sub(_paired, text)
    return _Builder(name).build(_compose(text)).value


# What YAML admits no character of: both parsers refuse these too, but neither says on which line.
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# How JSON writes a character beyond 16 bits, which YAML does not: the escapes of its two halves, each after an even
# number of backslashes.
_PAIR = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def _paired(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return f"{match[1]}{chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00)}"


_STANDARD = "tag:yaml.org,2002:"
_MERGE = _STANDARD + "merge"
_NAMES: dict[type, str] = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a value"}

#: The kinds an unquoted scalar can be told to be of: the characters such a scalar begins with, and its pattern. A kind
#: is tried only where those before it did not match, so that a float's pattern need not exclude whole numbers.
_KINDS = {
    "null": (["", *"~nN"], r"~|null|Null|NULL|"),
    "bool": ([*"yYnNtTfFoO"], r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"),
    "int": (
        [*"-+0123456789"],
        r"[-+]?(?:[0-9][0-9_]*|0b_*[01][01_]*|0o_*[0-7][0-7_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*)",
    ),
    "float": (
        [*"-+.0123456789"],
        r"[-+]?(?:(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
    ),
    "merge": (["<"], r"<<"),
}
_PATTERNS = {_STANDARD + kind: re.compile(rf"(?:{pattern})\Z") for kind, (_, pattern) in _KINDS.items()}


class _Bounded:
    """Part of a loader: counts what it composes, as the parsers themselves would go on until memory or stack end."""

    depth = nodes = 0

    def descend_resolver(self, parent: yaml.Node | None, _: Any) -> None:
        """Called by the loader before each node, and so before it calls itself for what is in the node."""
        self.depth += 1
        self.nodes += 1
        if parent is not None:
            _check_bounds(self.nodes, self.depth - 1, _line(parent))

    def ascend_resolver(self) -> None:
        self.depth -= 1


def _check_bounds(nodes: int, depth: int, line: int) -> None:
    if depth > MAX_DEPTH:
        raise SpecError(f"is nested more than {MAX_DEPTH} levels deep", line=line)
    if nodes > MAX_NODES:
        raise SpecError(f"holds more than {MAX_NODES} values, counting what aliases repeat", line=line)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _bounded_loader(parser: type) -> Any:
    """A loader that parses as another does, but with this module's bounds and kinds; the other stays as it is."""
    loader: Any = type("BoundedLoader", (_Bounded, parser), {"yaml_implicit_resolvers": {}})
    for kind, (first, _) in _KINDS.items():
        loader.add_implicit_resolver(_STANDARD + kind, _PATTERNS[_STANDARD + kind], first)
    return loader


#: The C parser is some ten times as fast, but not every build of PyYAML has it.
LOADERS = [_bounded_loader(getattr(yaml, name)) for name in ("CSafeLoader", "SafeLoader") if hasattr(yaml, name)]


def _compose(text: str) -> yaml.Node:
    """The one document of a text as nodes."""
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise SpecError(f"is not text: it holds the character {shown(found[0])}", line=line)
    loader = LOADERS[0](text)
    try:
        if not loader.check_node():
            raise SpecError("is empty")
        root: yaml.Node = loader.get_node()
        if loader.check_node():
            raise SpecError("holds more than one document")
        return root
    except yaml.MarkedYAMLError as error:
        # At the end of a text both parsers may name the line after its last.
        last = text.removesuffix("\n").count("\n") + 1
        place = min(error.problem_mark.line + 1, last) if error.problem_mark else None
        # Of an anchor twice, the problem is "second occurrence" and the context says of what.
        said = error.context if error.problem == "second occurrence" else error.problem
        said = " ".join(str(said).split(";")[0].split())[:100]
        raise SpecError(f"not valid YAML: {said}", line=place) from None
    except SpecError:
        raise
    except (ValueError, OverflowError):  # the Python parser's: "\UFFFFFFFF", or a %YAML of thousands of digits
        raise SpecError("not valid YAML: a character or version number is out of range") from None
    finally:
        loader.dispose()


class _Built(NamedTuple):
    """A node's value, and how many values and levels it is with every alias written out."""

    value: Any
    nodes: int = 1
    depth: int = 0


class _Builder:
    """Builds the values of one document; an alias gives the very value that its anchor does, built once."""

    def __init__(self, file: str) -> None:
        self.file = file
        # A node that is begun but not built has None: to meet it again is to be inside it.
        self.built: dict[yaml.Node, _Built | None] = {}

    def build(self, node: yaml.Node) -> _Built:
        if node not in self.built:
            self.built[node] = None
            self.built[node] = self._build(node)
        built = self.built[node]
        if built is None:
            raise SpecError("an anchor holds an alias of itself", line=_line(node))
        return built

    def _build(self, node: yaml.Node) -> _Built:
        if isinstance(node, yaml.MappingNode) and node.tag == _STANDARD + "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and node.tag == _STANDARD + "seq":
            return self._list(node)
        if isinstance(node, yaml.ScalarNode):
            return _Built(_scalar(node))
        raise _tag_error(node)

    def _list(self, node: yaml.SequenceNode) -> _Built:
        result = LocatedList(self.file, _line(node))
        nodes, depth = 1, 1
        for item in node.value:
            built = self.build(item)
            nodes, depth = nodes + built.nodes, max(depth, built.depth + 1)
            _check_bounds(nodes, depth, result.line)
            result.append(built.value)
            result.lines.append(_line(item))
        return _Built(result, nodes, depth)

    def _mapping(self, node: yaml.MappingNode) -> _Built:
        own = Located(self.file, _line(node))
        merged: _Built | None = None
        nodes, depth = 1, 1
        for key_node, value_node in node.value:
            line, built = _line(key_node), self.build(value_node)
            nodes, depth = nodes + 1 + built.nodes, max(depth, built.depth + 1)
            _check_bounds(nodes, depth, line)
            key = _key(key_node, self.build(key_node).value)
            if key in own.lines:
                raise SpecError(f"key {shown(key)} is written twice, first on line {own.lines[key]}", line=line)
            own.lines[key] = line
            if key_node.tag == _MERGE:
                merged = built
            else:
                own[key] = built.value
        return _Built(_merge(own, merged.value) if merged else own, nodes, depth)


def _merge(own: Located, value: Any) -> Located:
    """A mapping laid over what a ``<<`` in it merges, of which the first that has a key gives its value."""
    result = Located(own.file, own.line)
    for source in [*reversed(value if isinstance(value, list) else [value]), own]:
        if not isinstance(source, Located):
            raise SpecError(f"<< must be a mapping or a list of mappings, got {shown(source)}", line=own.lines["<<"])
        result.update(source)
        result.lines.update(source.lines)
    del result.lines["<<"]
    return result


def _key(node: yaml.Node, key: Any) -> str | int | float:
    """The key that a node and its value are: text or a number; a word such as ``no`` or ``on`` is its text."""
    if isinstance(key, bool):
        return str(node.value)
    if isinstance(key, str) or (isinstance(key, int | float) and -MAX_KEY < key < MAX_KEY):
        return key
    given = shown(node.value) if isinstance(node, yaml.ScalarNode) else _NAMES[type(node)]
    raise SpecError(f"a key must be text or a number below 1e18, got {given}", line=_line(node))


def _scalar(node: yaml.ScalarNode) -> str | int | float | None:
    tag, text = node.tag, str(node.value)
    if tag in (_STANDARD + "str", _MERGE):
        if not text.isascii() and re.search("[\ud800-\udfff]", text):  # written as "\ud800"
            raise SpecError(f"is not text: it holds half a character in {shown(text)}", line=_line(node))
        return text
    if tag not in _PATTERNS:
        raise _tag_error(node)
    kind = tag.removeprefix(_STANDARD)
    if not _PATTERNS[tag].match(text):
        raise SpecError(f"tag !!{kind} does not fit {shown(text)}", line=_line(node))
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind == "int":
        return _whole_number(text.replace("_", ""), node)
    return float(re.sub(r"_|\.(?=[inIN])", "", text))  # 1_000.5, .inf


def _whole_number(text: str, node: yaml.Node) -> int:
    digits = text.lstrip("+-")
    if len(digits) > MAX_DIGITS:
        raise SpecError(f"a number has more than {MAX_DIGITS} digits: {shown(text)[1:-1]}", line=_line(node))
    if digits.isdigit() and digits.startswith("0") and len(digits) > 1:
        sign, decimal = text.removesuffix(digits), digits.lstrip("0") or "0"
        octal = "" if re.search("[89]", decimal) else f", or {sign}0o{decimal} if it is octal"
        raise SpecError(f"a number must not begin with 0, got {text}: write {sign}{decimal}{octal}", line=_line(node))
    return int(text, 0)


def _tag_error(node: yaml.Node) -> SpecError:
    tag = shown(node.tag.replace(_STANDARD, "!!", 1))[1:-1]
    return SpecError(f"tag {tag} is not allowed on {_NAMES[type(node)]}", line=_line(node))
