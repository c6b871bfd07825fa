"""The routes of the data plane's HTTP port: OIP v2 REST, as Triton's and KServe's clients speak it."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Final, NamedTuple

import orjson

from changeover.access import Guard, Scope
from changeover.errors import CallerError, ChangeoverError, InvalidRequest, NotFound, TooLarge
from changeover.gateway import openapi
from changeover.gateway.admission import has_room
from changeover.gateway.answers import JSON, error_answer, json_answer
from changeover.gateway.catalogue import EXTENSIONS, METADATA, as_mistake, describe, target_of
from changeover.gateway.door.limits import SMALL_BODY
from changeover.gateway.door.request import HttpRequest
from changeover.gateway.extensions import Extensions
from changeover.gateway.http_asker import HttpAsker
from changeover.gateway.models import Models
from changeover.gateway.openapi import Asked
from changeover.gateway.pipeline import Pipeline
from changeover.gateway.repository import Repository
from changeover.gateway.repository_http import INDEX, LOAD, UNLOAD, RepositoryCalls
from changeover.loopback import check_local
from changeover.openapi.page import POLICY, page
from changeover.protocol.content_coding import MOST_UNPACKED

_SMALL = f"{{}} takes no body over {SMALL_BODY} bytes, and none whose length is not told"
_ROUTES = (
    "GET /v2, /v2/health/live, /v2/health/ready, /v2/models/M[/versions/V][/ready], POST …/infer, /v2/repository/index"
)
_READ: Final = ("GET", "HEAD")
_LARGE: Final = ("infer", LOAD)
"""What takes a body as large as the port takes any."""


class Endpoint(NamedTuple):
    """A row of this port's table: what is answered, and the scope it takes. There is no row without a scope.

    Attributes:
        posted: the scope that changes take, where a `GET` path takes `POST` too.
    """

    what: str
    scope: Scope
    method: str = "GET"
    posted: Scope | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        """All it takes."""
        reads = _READ if self.method == "GET" else ()
        return (*reads, "POST") if self.method == "POST" or self.posted is not None else reads


class Route(NamedTuple):
    """What a path means."""

    endpoint: Endpoint
    model: str = ""
    version: str | None = None
    region: str = ""


SERVER: Final = Endpoint("server", Scope.INFER)
FIXED: Final = {
    "/v2": SERVER,
    "/v2/": SERVER,
    "/v2/health/live": Endpoint("live", Scope.OPEN),
    "/v2/health/ready": Endpoint("ready", Scope.OPEN),
    "/v2/models": Endpoint("models", Scope.INFER),
    "/v2/models/stats": Endpoint("all_statistics", Scope.INFER),
    "/v2/trace/setting": Endpoint("trace", Scope.INFER, posted=Scope.ADMIN),
    "/v2/logging": Endpoint("logging", Scope.INFER, posted=Scope.ADMIN),
    "/v2/systemsharedmemory/status": Endpoint("region_status", Scope.INFER),
    "/v2/systemsharedmemory/unregister": Endpoint("region_unregister", Scope.INFER, "POST"),
    "/v2/cudasharedmemory/status": Endpoint("cuda_status", Scope.INFER),
    "/v2/cudasharedmemory/unregister": Endpoint("cuda_unregister", Scope.INFER, "POST"),
    "/v2/repository/index": Endpoint(INDEX, Scope.INFER, "POST"),
    "/openapi.json": Endpoint("description", Scope.OPEN),
    "/docs": Endpoint("docs", Scope.OPEN),
}
"""By path."""
OF_A_MODEL: Final = {
    "": Endpoint("model", Scope.INFER),
    "ready": Endpoint("model_ready", Scope.INFER),
    "stats": Endpoint("statistics", Scope.INFER),
    "config": Endpoint("config", Scope.INFER),
    "trace/setting": Endpoint("trace", Scope.INFER, posted=Scope.ADMIN),
    "infer": Endpoint("infer", Scope.INFER, "POST"),
    "generate": Endpoint("generate", Scope.INFER, "POST"),
    "generate_stream": Endpoint("generate_stream", Scope.INFER, "POST"),
}
"""By what follows `/v2/models/M` or `/v2/models/M/versions/V`."""
OF_A_REGION: Final = {
    f"{kind}sharedmemory/{what}": Endpoint(f"{name}_{what}", Scope.INFER, "GET" if what == "status" else "POST")
    for kind, name in (("system", "region"), ("cuda", "cuda"))
    for what in ("status", "register", "unregister")
}
"""By the kind of memory, and what follows `/v2/KIND/region/NAME`."""
OF_THE_REPOSITORY: Final = {
    "load": Endpoint(LOAD, Scope.ADMIN, "POST"),
    "unload": Endpoint(UNLOAD, Scope.ADMIN, "POST"),
}
"""By what follows `/v2/repository/models/M`."""
_MISTAKEN: Final = ("model_ready", "statistics", "trace")
"""What tells of no such model or version as of a mistake in the request."""
_HTML: Final = f"content-type: text/html; charset=utf-8\r\ncontent-security-policy: {POLICY}\r\n".encode()


def paths() -> list[tuple[str, Endpoint]]:
    """Every path with its row; a name in it is `{model}`, `{version}` or `{region}`."""
    found = [(path, row) for path, row in FIXED.items() if path != "/v2/"]
    for start in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        found += [(f"{start}/{rest}" if rest else start, row) for rest, row in OF_A_MODEL.items()]
    for rest, row in OF_A_REGION.items():
        kind, what = rest.split("/")
        found.append((f"/v2/{kind}/region/{{region}}/{what}", row))
    found += [(f"/v2/repository/models/{{model}}/{rest}", row) for rest, row in OF_THE_REPOSITORY.items()]
    return found


def asked() -> list[Asked]:
    """What may be asked: every path with every method, beside `HEAD`, which is asked as `GET` is."""
    return [
        Asked(path, method, row.what, scope_of(row, method))
        for path, row in paths()
        for method in row.methods
        if method != "HEAD"
    ]


@cache
def description() -> tuple[bytes, bytes]:
    """This port's table as OpenAPI and as a page; they say nothing of this server, so everybody may read them."""
    told = openapi.document(asked())
    return orjson.dumps(told), page(told).encode()


@lru_cache(1024)
def route(path: str) -> Route | None:
    """The route of a path, None for a path nobody knows."""
    fixed = FIXED.get(path)
    if fixed is not None:
        return Route(fixed)
    parts = path.split("/")
    if len(parts) == 6 and parts[3] == "region" and parts[1] == "v2" and parts[4]:
        of_a_region = OF_A_REGION.get(f"{parts[2]}/{parts[5]}")
        return Route(of_a_region, region=parts[4]) if of_a_region else None
    if len(parts) == 6 and parts[:4] == ["", "v2", "repository", "models"] and parts[4]:
        asked = OF_THE_REPOSITORY.get(parts[5])
        return Route(asked, parts[4]) if asked else None
    if len(parts) < 4 or parts[:3] != ["", "v2", "models"] or not parts[3]:
        return None
    rest = parts[4:]
    version = None
    if rest and rest[0] == "versions":
        if len(rest) < 2 or not rest[1]:
            return None
        version, rest = rest[1], rest[2:]
    endpoint = OF_A_MODEL.get("/".join(rest))
    return Route(endpoint, parts[3], version) if endpoint else None


def scope_of(endpoint: Endpoint, method: str) -> Scope:
    """The scope that a method of a row takes."""
    return endpoint.posted if endpoint.posted is not None and method == "POST" else endpoint.scope


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


class HttpApp:
    """Answers the door's requests. Health needs no room in any queue, so it is answered under overload.

    Args:
        pipeline: takes the inferences.
        models: what is served.
        extensions: answers what Triton has beyond the standard.
        repository: is asked what concerns the model repository.
        guard: lets each request pass or not, by the scope of its endpoint; None lets all pass.

    Attributes:
        body_limit: bytes that a packed body may have once it is unpacked; the door bounds what comes.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        models: Models,
        extensions: Extensions,
        repository: Repository,
        guard: Guard | None = None,
    ) -> None:
        self.body_limit = MOST_UNPACKED
        self._guard = guard
        self._pipeline = pipeline
        self._models = models
        self._extensions = sorted([*EXTENSIONS, *extensions.names, "model_repository"])
        self._handlers = {
            "server": self._server,
            "live": self._live,
            "ready": self._ready,
            "models": self._list,
            "model": self._model,
            "model_ready": self._model_ready,
            "generate": self._generate,
            "generate_stream": self._generate,
            "description": self._description,
            "docs": self._docs,
            **extensions.handlers,
            **RepositoryCalls(repository).handlers,
        }

    def admit(self, request: HttpRequest) -> None:
        """Answer what needs no look at the body: it is not taken in from callers who may not, and where none is due."""
        found = self._found(request)
        if found is None or found.endpoint.what in _LARGE:
            return
        length = request.headers.get(b"content-length")
        if length is None or int(length) > SMALL_BODY:
            error_answer(request, TooLarge(_SMALL.format(request.path), reason="unexpected_body"))

    def __call__(self, request: HttpRequest) -> None:
        """Take one request."""
        found = self._found(request)
        if found is None:
            pass  # it was told
        elif found.endpoint.what == "infer":
            asker = HttpAsker(request, self.body_limit)
            if b"content-encoding" in request.headers:
                self._unpack(request, asker, found)
            else:
                self._pipeline.infer(asker, found.model, found.version)
        else:
            try:
                self._handlers[found.endpoint.what](request, found)
            except ChangeoverError as error:
                error_answer(request, as_mistake(error) if found.endpoint.what in _MISTAKEN else error)

    def _unpack(self, request: HttpRequest, asker: HttpAsker, found: Route) -> None:
        """Unpack a body in pieces, between which others have their turn, before it is looked at; none that is shed."""
        model = self._models.by_name.get(found.model)
        if model is None or not has_room(model, asker.size) or asker.unpack():
            self._pipeline.infer(asker, found.model, found.version)
        else:
            request.later(lambda request: self._unpack(request, asker, found))

    def _found(self, request: HttpRequest) -> Route | None:
        """The route of a request that may take it; None when there is none, and the caller was told."""
        found = route(request.path)
        try:
            if found is None:
                raise NotFound(f"no such path: {request.path}; there is {_ROUTES}", reason="path_not_found")
            if self._guard is not None:
                scope = scope_of(found.endpoint, request.method)
                self._guard.check(scope, request.headers.get(b"authorization"), request.certified)
            elif request.method == "POST" and found.endpoint.what != "infer":
                check_local(*(_text(request.headers.get(name)) for name in (b"host", b"origin")))
        except CallerError as error:
            error_answer(request, error)
            return None
        if request.method in found.endpoint.methods:
            return found
        allowed = ", ".join(found.endpoint.methods).encode()
        body = b'{"error":"this path takes %s","reason":"method_not_allowed"}' % allowed
        request.respond(405, JSON + b"allow: " + allowed + b"\r\n", [body])
        return None

    def _description(self, request: HttpRequest, _: Route) -> None:
        request.respond(200, JSON, [description()[0]])

    def _docs(self, request: HttpRequest, _: Route) -> None:
        request.respond(200, _HTML, [description()[1]])

    def _server(self, request: HttpRequest, _: Route) -> None:
        json_answer(request, {**METADATA, "extensions": self._extensions})

    def _live(self, request: HttpRequest, _: Route) -> None:
        json_answer(request, {"live": True})

    def _ready(self, request: HttpRequest, _: Route) -> None:
        ready = self._models.ready
        json_answer(request, {"ready": ready}, 200 if ready else 503)

    def _list(self, request: HttpRequest, _: Route) -> None:
        json_answer(request, {"models": sorted(n for n, m in self._models.by_name.items() if not m.unloaded)})

    def _model_ready(self, request: HttpRequest, found: Route) -> None:
        ready = target_of(self._models, found.model, found.version).batcher.channel is not None
        json_answer(request, {"name": found.model, "ready": ready}, 200 if ready else 503)

    def _generate(self, _: HttpRequest, found: Route) -> None:
        describe(self._models, found.model, found.version)
        raise InvalidRequest("no model here generates: there are no decoupled ones; use infer", reason="no_generation")

    def _model(self, request: HttpRequest, found: Route) -> None:
        json_answer(request, describe(self._models, found.model, found.version))
