"""The OpenAPI document as it leaves the house: what APIFlask derives from the shapes, completed by what views declare.

A rule says for every operation who may call it and which problems it answers; only what no rule can know stands
beside a view, by `describe`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flask import Flask
from werkzeug.routing import Rule

from microsite.core.exceptions import DomainError

View = TypeVar("View", bound=Callable[..., Any])
Fragment = dict[str, Any]
BINARY: Fragment = {"type": "string", "format": "binary"}
RAW_BODY = {"application/octet-stream": BINARY}
FORM_OF_FILES = {
    "multipart/form-data": {
        "type": "object",
        "required": ["file"],
        "properties": {"file": {"type": "array", "items": BINARY, "minItems": 1}},
    }
}
"""Bodies of uploads, by media type."""

PROBLEM: Fragment = {
    "type": "object",
    "description": "A refusal (RFC 9457): `detail` is the sentence for people, `code` the word for programs.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {
            "type": "object",
            "description": "Sentences by the field that they are about",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
        "reference": {"type": "string", "description": "Under which a failure stands in the site's log"},
    },
}
STATUSES = {
    400: "The request cannot be understood: malformed JSON, a broken-off body, a proof against forgery that failed",
    401: "The credential is missing, wrong, or at its end",
    403: "The credential does not allow this",
    404: "Nothing of that name is here for this credential",
    409: "The present state does not allow this",
    410: "What was here is used up, has ended, or was withdrawn",
    412: "`If-Match` or `If-Unmodified-Since` does not hold",
    413: "The body is too large",
    414: "The address is too long",
    415: "This kind of body, or of file, is not accepted here",
    416: "That part of the file does not exist",
    422: "Some of the input is not valid; `errors` names the fields",
    429: "That was too often; `Retry-After` says when it may be tried again",
    500: "A failure on the side of the site; `reference` finds it in the log",
    503: "The site is busy, or something that it needs is down",
    507: "There is no room: the quota is used up, or the disk is full",
}
"""The problem answers, each declared once and referred to."""

TEXT: Fragment = {"schema": {"type": "string"}}
RETRY_AFTER = {
    "Retry-After": {"description": "Seconds", "required": True, "schema": {"type": "integer", "minimum": 1}}
}
CHALLENGE = {"WWW-Authenticate": {"description": "The scheme to use (RFC 6750)", "required": True, **TEXT}}
HEADERS_OF = {401: CHALLENGE, 429: RETRY_AFTER, 503: RETRY_AFTER}
PAGE: Fragment = {"text/html": TEXT}
"""For browsers: outside the API, where Accept does not prefer JSON."""
LINK = {
    "Link": {"description": 'The pages beside this one, `rel="next"` and `rel="prev"` (RFC 8288)', **TEXT}
}
OF_BYTES: Fragment = {
    "ETag": {"description": "The SHA-256 of the bytes, for `If-Range` and `If-None-Match`", "required": True, **TEXT},
    "Last-Modified": {"required": True, **TEXT},
    "Accept-Ranges": {"required": True, **TEXT},
}  # fmt: skip
OF_RANGE: Fragment = {"Content-Range": {"required": True, **TEXT}}
OF_FILE: Fragment = {"Content-Disposition": {"required": True, **TEXT}}
ANY_BYTES = {"application/octet-stream": {"schema": BINARY}, "*/*": {"schema": BINARY}}
FILE_ANSWERS: dict[int, Fragment] = {
    200: {"description": "The bytes", "content": ANY_BYTES, "headers": OF_BYTES | OF_FILE},
    206: {"description": "One range of them", "content": ANY_BYTES, "headers": OF_BYTES | OF_RANGE | OF_FILE},
    304: {"description": "What the client has is still right", "headers": {"ETag": OF_BYTES["ETag"]}},
}
FILE_HEADERS = ("Range", "If-Range", "If-None-Match", "If-Match")
DESCRIPTION = """\
Lists answer `items`, `next_cursor` and `prev_cursor`, and say the same in the `Link` header; a cursor is opaque and
belongs to its list. Times are RFC 3339 in UTC, sizes bytes, durations seconds, and every address is absolute. Unknown
fields and parameters are refused. Refusals are `application/problem+json`.

Call with `Authorization: Bearer` and an API key or an access token, or with HTTP Basic, the username and an API key as
the password. A browser session counts too; its writes need the header `X-CSRFToken`.

A link's own address, `/l/{token}`, answers JSON to `Accept: application/json`, and pages to browsers."""
SCHEMES: Fragment = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or an access token"},
    "basic": {"type": "http", "scheme": "basic", "description": "A username, and an API key as the password"},
}


@dataclass(frozen=True)
class Described:
    """What a view says of itself that no rule can know. Schemas stand in for their references."""

    refusals: tuple[type[DomainError], ...] = ()
    body: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool | None = None
    answers: Mapping[int, Fragment] = field(default_factory=dict)
    sends_file: bool = False
    tag: str = ""


def describe(*refusals: type[DomainError], **facts: Any) -> Callable[[View], View]:
    """Declare what the document says of a view beside its shapes: refusals of its own, bodies, answers.

    A view that is described is listed, also outside the API, where its blueprint has no tag and it names one.
    """

    def mark(view: View) -> View:
        view.described = Described(refusals, **facts)  # type: ignore[attr-defined]
        return view

    return mark


def json_answer(description: str, schema: Any) -> Fragment:
    """An answer in JSON of that shape."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def init_app(app: Any) -> None:
    """Complete the document whenever it is made."""
    app.servers = [{"url": app.config["BASE_URL"]}]
    app.contact = {"name": app.config["SITE_NAME"], "url": app.config["BASE_URL"]}
    app.license = {"name": "MIT", "identifier": "MIT"}
    app.description = DESCRIPTION
    app.config.update(
        AUTO_200_RESPONSE=False,
        AUTO_404_RESPONSE=False,
        AUTO_VALIDATION_ERROR_RESPONSE=False,
        SECURITY_SCHEMES=SCHEMES,
    )
    app.spec_processor(lambda document: _complete(app, document))


def _complete(app: Any, document: Fragment) -> Fragment:
    paths: Fragment = document["paths"]

    def resolve(schema: Any) -> Any:
        """Register the shapes that a description names. The library writes into what it is given."""
        return app._ma_plugin.resolver.resolve_schema_dict(deepcopy(schema))

    for rule in app.url_map.iter_rules():
        if rule.rule.endswith("/"):
            continue  # another spelling of an address that is listed
        view = app.view_functions[rule.endpoint]
        described: Described = getattr(view, "described", Described())
        path = re.sub(r"<(?:[^:<>]+:)?([^<>]+)>", r"{\1}", rule.rule)
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            if hasattr(view, "described"):
                paths.setdefault(path, {}).setdefault(method.lower(), _described_alone(app, rule, view))
            operation = paths.get(path, {}).get(method.lower())
            if operation is not None:
                _Operation(app, rule, view, described, operation).complete(resolve)
    components = document["components"] = app._ma_plugin.spec.components.to_dict()
    components["schemas"]["Problem"] = PROBLEM
    components["responses"] = {
        name: _problem(int(name[-3:]), page=name.startswith("Page")) for name in sorted(_names_of(paths))
    }
    return _modern(document)  # type: ignore[no-any-return]


def _described_alone(app: Any, rule: Rule, view: Any) -> Fragment:
    """The operation of a view that has neither an input nor an output shape."""
    summary, _, rest = (view.__doc__ or "").partition("\n")
    tag = view.described.tag or app.blueprints[rule.endpoint.rpartition(".")[0]].tag["name"]
    operation: Fragment = {"tags": [tag], "summary": summary, "parameters": [], "responses": {}}
    return operation | ({"description": inspect.cleandoc(rest)} if rest.strip() else {})


def _names_of(paths: Fragment) -> set[str]:
    """The problem answers that operations refer to."""
    operations = [operation for path in paths.values() for operation in path.values()]
    answers = [answer for operation in operations for answer in operation["responses"].values()]
    return {answer["$ref"].rpartition("/")[2] for answer in answers if "$ref" in answer}


def _problem(status: int, *, page: bool) -> Fragment:
    content: Fragment = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if page:
        content |= PAGE
    headers = {"headers": HEADERS_OF[status]} if status in HEADERS_OF else {}
    return {"description": STATUSES[status], "content": content, **headers}


class _Operation:
    """One method of one path, completed by the rules of the house."""

    def __init__(self, app: Flask, rule: Rule, view: Any, described: Described, operation: Fragment) -> None:
        self.app, self.rule, self.view = app, rule, view
        self.described, self.operation = described, operation

    def complete(self, resolve: Callable[[Any], Any]) -> None:
        operation, public = self.operation, self.view.access.public
        operation["operationId"] = self.rule.endpoint.removeprefix("api.").replace(".", "_")
        operation["security"] = [] if public else [{scheme: []} for scheme in SCHEMES]
        operation["parameters"] = [*self._path_parameters(), *self._other_parameters()]
        self._bodies(resolve)
        answers = dict(FILE_ANSWERS) if self.described.sends_file else {}
        for status, answer in {**answers, **self.described.answers}.items():
            operation["responses"][str(status)] = _resolved(answer, resolve)
        if self._is_list():
            operation["responses"]["200"]["headers"] = LINK
        for status in sorted(self._problems()):
            kind = "Problem" if self._is_api() else "PageOrProblem"
            operation["responses"][str(status)] = {"$ref": f"#/components/responses/{kind}{status}"}

    def _path_parameters(self) -> Iterator[Fragment]:
        for name in re.findall(r"<(?:[^:<>]+:)?([^<>]+)>", self.rule.rule):
            # a name may hold slashes, an id never does
            pattern = {} if self._is_name(name) else {"pattern": "^[^/]+$"}
            schema = {"type": "string", "minLength": 1, **pattern}
            yield {"in": "path", "name": name, "required": True, "schema": schema}

    def _is_api(self) -> bool:
        return self.rule.rule.startswith("/api/")

    def _is_name(self, argument: str) -> bool:
        return f"<rest:{argument}>" in self.rule.rule

    def _other_parameters(self) -> Iterator[Fragment]:
        for parameter in self.operation["parameters"]:
            if parameter["in"] == "path":
                continue
            schema = parameter["schema"]
            if schema.get("default", "") is None:  # a query cannot say null; it leaves the parameter out
                schema = {key: value for key, value in schema.items() if key not in ("default", "nullable")}
                if isinstance(schema.get("type"), list):
                    schema["type"] = next(name for name in schema["type"] if name != "null")
            yield parameter | {"schema": schema}
        if self.described.sends_file:
            for name in FILE_HEADERS:
                yield {"in": "header", "name": name, "required": False, **TEXT}

    def _bodies(self, resolve: Callable[[Any], Any]) -> None:
        if self.described.body:
            content = {kind: {"schema": resolve(schema)} for kind, schema in self.described.body.items()}
            self.operation["requestBody"] = {"content": content}
        if "requestBody" in self.operation:
            self.operation["requestBody"]["required"] = self._needs_body()

    def _needs_body(self) -> bool:
        if self.described.body_required is not None:
            return self.described.body_required
        shape = getattr(self.view, "_spec", {}).get("body")
        return shape is None or any(one.required for one in shape.fields.values())

    def _is_list(self) -> bool:
        return any(parameter["name"] == "cursor" for parameter in self.operation["parameters"])

    def _problems(self) -> set[int]:
        """Statuses by rule, and those of the refusals that the view names."""
        found = {400, 414, 500, 503} | {refusal.status for refusal in self.described.refusals}
        access = self.view.access
        if not access.public:
            found.add(401)
        if access.permission:
            found.add(403)
        if any(not self._is_name(name) for name in self.rule.arguments) and not access.public:
            found.add(404)
        if self._is_api():
            found.add(422)  # unknown parameters are refused everywhere
        if "requestBody" in self.operation:
            found |= {413, 415}
        if getattr(self.view, "takes_uploads", False):
            found.add(507)
        if self.described.sends_file:
            found |= {412, 416}
        return found


def _resolved(answer: Fragment, resolve: Callable[[Any], Any]) -> Fragment:
    content = {
        kind: media | {"schema": resolve(media["schema"])}
        for kind, media in answer.get("content", {}).items()
    }
    return answer | ({"content": content} if content else {})


def _modern(node: Any) -> Any:
    """The same in the words of OpenAPI 3.1: null is a type, and patterns are those of ECMA-262."""
    if isinstance(node, list):
        return [_modern(child) for child in node]
    if not isinstance(node, dict):
        return node
    node = {key: _modern(child) for key, child in node.items()}
    if node.get("nullable") is True and "type" in node:
        del node["nullable"]
        kinds = node["type"] if isinstance(node["type"], list) else [node["type"]]
        node["type"] = list(dict.fromkeys([*kinds, "null"]))
    if isinstance(node.get("pattern"), str):
        node["pattern"] = re.sub(r"^\\A", "^", re.sub(r"\\Z$", "$", node["pattern"]))
    return node
