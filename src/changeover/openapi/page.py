"""The page at `/docs`: an OpenAPI document as plain HTML, without a script and without anything from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from typing import Any

Document = Mapping[str, Any]

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Value of `content-security-policy` for the page."""
_CODE = re.compile(r"`([^`]+)`")


def page(document: Document) -> str:
    """Return the page of a port's document."""
    info = document["info"]
    body = [
        f"<header><h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>",
        *(f"<p>{_text(line)}</p>" for line in info["description"].split("\n\n")),
        '<p>For programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p></header><main>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            body += _operation(method.upper(), path, operation)
    body.append("<h2>Bodies</h2>")
    for name, schema in document["components"]["schemas"].items():
        body += _body(name, schema)
    style = files(__package__).joinpath("page.css").read_text()
    head = f'<meta charset="utf-8"><title>{escape(info["title"])}</title><style>{style}</style>'
    head += '<meta name="viewport" content="width=device-width">'
    return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(body)}</main></body></html>\n"


def _operation(method: str, path: str, operation: Document) -> Iterator[str]:
    scope = operation["security"][0]["token"][0] if operation["security"] else "open"
    yield f'<details id="{escape(operation["operationId"])}"><summary><b class={method}>{method}</b>'
    yield f"<code>{escape(path)}</code><span>{_text(operation['summary'])}</span><i>{escape(scope)}</i></summary>"
    if operation.get("parameters"):
        yield "<h4>Parameters</h4><table>"
        for one in operation["parameters"]:
            where = one["in"] if one["required"] else f"{one['in']}, optional"
            yield _row(
                f"<code>{escape(one['name'])}</code>", escape(where), _kind(one["schema"]), _text(one["description"])
            )
        yield "</table>"
    if "requestBody" in operation:
        yield "<h4>Body</h4><table>"
        for media, content in operation["requestBody"]["content"].items():
            told = _text(content["schema"].get("description", ""))
            yield _row(f"<code>{escape(media)}</code>", _kind(content["schema"]), told)
        yield "</table>"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        kinds = "<br>".join(_kind(content["schema"]) for content in answer["content"].values())
        fields = "".join(
            f"<br><code>{escape(n)}</code>: {_text(h['description'])}" for n, h in answer.get("headers", {}).items()
        )
        yield _row(f"<b>{status}</b>", kinds, _text(answer["description"]) + fields)
    yield "</table></details>"


def _body(name: str, schema: Document) -> Iterator[str]:
    yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code><span>'
    yield f"{_text(schema.get('description', '').split('. ')[0])}</span></summary>"
    yield f"<p>{_text(schema.get('description', ''))}</p><table>"
    needed = schema.get("required", ())
    for member, kind in schema.get("properties", {}).items():
        told = "" if member in needed else "optional"
        yield _row(f"<code>{escape(member)}</code>", _kind(kind), told, _text(kind.get("description", "")))
    yield "</table></details>"


def _kind(schema: Document) -> str:
    """A schema in a few words, with links to the bodies."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(one) for one in schema[several])
    if "allOf" in schema:
        return _kind(schema["allOf"][0])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = schema.get("type", "any value")
    named = " or ".join(kind) if isinstance(kind, list) else str(kind)
    return escape(f"{named} ({schema['format']})" if "format" in schema else named)


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
