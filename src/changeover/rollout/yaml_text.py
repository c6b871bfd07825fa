"""YAML text to plain values, strictly, and lines to point at. Pure.

A narrower YAML than PyYAML's: `on`, `off`, `yes` and `no` are words and `1e-3` a number, as in YAML 1.2 (a plan says
`optimization: off`), dates are text, a key comes once, and there are no anchors, with which a
small text unfolds into a huge value.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from changeover.errors import InvalidPlan

_MAX_CHARS: Final = 256 * 1024
_PATH_PART: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the words of YAML 1.2."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own class attribute, never changed here
        first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[1] not in ("bool", "timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), ["t", "f"])
_EXPONENT: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+")  # YAML 1.1 knows no 1e-3
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def read_yaml(text: str, name: str) -> tuple[object, yaml.Node | None]:
    """The value of a YAML document, and its tree for `line_of`; `None` twice when it is empty.

    Args:
        text: of one document.
        name: of the file, for messages.

    Raises:
        InvalidPlan: with the line where that is known.
    """
    if len(text) > _MAX_CHARS:
        raise InvalidPlan(f"{name} is longer than {_MAX_CHARS} characters.")
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return None, None
        _check(node, name, set())
        loader = _Loader("")
        try:
            return loader.construct_document(node), node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}" if mark else ""
        raise InvalidPlan(f"{name}{where} is not YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidPlan(f"{name} is not YAML: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise InvalidPlan(f"{name} is nested too deeply.") from error


def line_of(node: yaml.Node | None, path: str, key: str | None = None) -> int | None:
    """Line of a place, from 1, or `None` when the tree does not have it.

    Args:
        node: the document's tree.
        path: as msgspec writes it: `$.rollout.steps[0]`.
        key: of a field below that place; the line of the key itself is given.
    """
    for name, index in _PATH_PART.findall(path):
        if isinstance(node, yaml.SequenceNode) and index and int(index) < len(node.value):
            node = node.value[int(index)]
        else:
            node = _child(node, name)[1]
    target = _child(node, key)[0] if key is not None else node
    return target.start_mark.line + 1 if target is not None else None


def _child(node: yaml.Node | None, key: str) -> tuple[yaml.Node | None, yaml.Node | None]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == key:
                return key_node, value_node
    return None, None


def _check(node: Any, name: str, seen: set[int]) -> None:
    if id(node) in seen:
        raise InvalidPlan(f"{name} line {node.start_mark.line + 1}: anchors and aliases are not taken.")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in keys:
                raise InvalidPlan(f"{name} line {key.start_mark.line + 1}: {key.value!r} comes twice, or is no name.")
            keys.add(key.value)
            _check(value, name, seen)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check(value, name, seen)
