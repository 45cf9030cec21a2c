"""One class per address of the programming interface."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, urlencode

from pydantic import BaseModel, ValidationError

from dqm_app.accounts.errors import AccountsUnavailable
from dqm_app.accounts.tokens import Scope
from dqm_app.api import reading
from dqm_app.api.accepting import accepts_gzip
from dqm_app.api.answers import Problem
from dqm_app.api.encoder import is_small
from dqm_app.api.encoding import Format, dump
from dqm_app.api.openapi import document
from dqm_app.api.parts import Api
from dqm_app.api.problems import ProblemError
from dqm_app.api.questions import (
    HistoryQuestion,
    Question,
    RunsQuestion,
    TableQuestion,
    TrendQuestion,
)
from dqm_app.api.resources import BASE, RESOURCES
from dqm_app.api.tables import Table
from dqm_app.catalogues import CameraRuns
from dqm_app.login.access import Access, Guarded, StrangeHost
from dqm_app.login.rendering import UNREACHABLE
from dqm_app.process_parts import api_of, service_of
from dqm_app.service import Service
from dqm_db.content import LARGEST_RUN
from dqm_db.errors import DatabaseUnavailable, RunNotFound
from dqm_db.reader import Snapshot

Q = TypeVar("Q", bound=Question)
T = TypeVar("T")
_LOG_IN = "log in, or show a token: Authorization: Bearer dqm_…"
_ENDED = "this token is none, or has ended: the page of your account makes another one"


class ApiHandler(Guarded):
    """What all addresses share: who may ask, how is answered, how errors look."""

    access: ClassVar[Access] = Access.VIEWER
    scope: ClassVar[Scope | None] = Scope.READ
    _etag: str | None = None

    @property
    def service(self) -> Service:
        """The service of this process."""
        return service_of(self.server_context)

    @property
    def api(self) -> Api:
        """What this interface has in this process."""
        return api_of(self.server_context)

    @property
    def turn(self) -> AbstractAsyncContextManager[None]:
        """Wait for it before much is read or written; raises `ProblemError` 429 or 503."""
        name = "" if self.visitor is None else self.visitor.name
        return self.api.turns.turn(name or f"from {self.client.address}")

    async def prepare(self) -> None:
        """Wait until it is known whether the database answers, just after the start."""
        await super().prepare()
        await self.service.started()

    def set_default_headers(self) -> None:
        """Answers are for whoever asked, who asks each time whether they still hold."""
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Vary", "Accept, Accept-Encoding, Authorization, Cookie")

    def question(self, model: type[Q]) -> Q:
        """What is asked; raises `ProblemError` 400."""
        fields = model.model_fields
        given: dict[str, Any] = {}
        for name in self.request.query_arguments:
            values = self.get_query_arguments(name)
            many = name in fields and getattr(fields[name].annotation, "__origin__", None) is list
            if not many and len(values) > 1:
                raise ProblemError(HTTPStatus.BAD_REQUEST, f"{name}: given {len(values)} times")
            given[name] = values if many else values[0]
        try:
            return model.model_validate(given)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
                for fault in error.errors(include_url=False, include_input=False)
            )
            raise ProblemError(HTTPStatus.BAD_REQUEST, faults) from error

    def camera(self, name: str) -> CameraRuns:
        """The runs of a camera; raises `ProblemError` 404 or 503."""
        if self.service.last_transaction is None:
            text = self.service.health.text or "the database does not answer"
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, text)
        found = self.service.catalogues.get(name)
        if found is None:
            known = ", ".join(sorted(self.service.catalogues)) or "none"
            raise ProblemError(HTTPStatus.NOT_FOUND, f"there is no camera {name!r}; known: {known}")
        return found

    async def answer(self, model: BaseModel) -> None:
        """Answer with *model* as JSON."""
        self.set_header("Content-Type", Format.JSON.media)
        self.finish(dump(model.model_dump(mode="json")))

    async def answer_table(self, table: Table, form: Format) -> None:
        """Answer with *table*."""
        self.set_header("Content-Type", form.media)
        if form is not Format.JSON:
            name = f"{table.name}.{form.suffix}"
            self.set_header("Content-Disposition", f'attachment; filename="{name}"')
        compress = accepts_gzip(self.request.headers.get("Accept-Encoding", ""))
        found = await self.api.encoder.encode(table, form, compress)
        if found.is_compressed:
            self.set_header("Content-Encoding", "gzip")
        self._etag = f'"{found.digest}"'
        self.finish(found.data)

    def compute_etag(self) -> str | None:
        """That of a table is known; that of a short answer is made of it."""
        return self._etag or super().compute_etag()

    async def found(self, loader: Callable[[Snapshot], T]) -> T:
        """What *loader* reads, when it is its turn."""
        async with self.api.turns.reading:
            return await self.service.run(loader)

    async def read(self, loader: Callable[[Snapshot], BaseModel]) -> None:
        """Answer with what *loader* reads, as JSON."""
        async with self.turn:
            found = await self.found(loader)
        await self.answer(found)

    async def read_table(self, loader: Callable[[Snapshot], Table], form: Format) -> None:
        """Answer with the table that *loader* reads."""
        async with self.turn:
            await self.answer_table(await self.found(loader), form)

    async def options(self, *_path: str) -> None:
        """What may be asked; nothing that lets pages of other sites ask."""
        self.set_status(HTTPStatus.NO_CONTENT)
        self.set_header("Allow", self.methods)

    def form(self, asked: TableQuestion) -> Format:
        """The format of the answer; raises `ProblemError` 406."""
        form = asked.format or Format.accepted(self.request.headers.get("Accept", ""))
        if form is None:
            known = ", ".join(known.media for known in Format)
            raise ProblemError(HTTPStatus.NOT_ACCEPTABLE, f"there are {known}")
        return form

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Say what went wrong as RFC 9457 has it."""
        _, error, _ = kwargs.get("exc_info", (None, None, None))
        detail = ""
        if isinstance(error, ProblemError):
            detail = error.detail
            if error.retry_after is not None:
                self.set_header("Retry-After", str(error.retry_after))
        elif isinstance(error, RunNotFound):
            status_code, detail = HTTPStatus.NOT_FOUND, str(error)
        elif isinstance(error, DatabaseUnavailable):
            status_code, detail = HTTPStatus.SERVICE_UNAVAILABLE, str(error)
        elif isinstance(error, AccountsUnavailable):
            self.set_unreachable()
            detail = UNREACHABLE
        elif status_code == HTTPStatus.UNAUTHORIZED:
            detail = _ENDED if "Authorization" in self.request.headers else _LOG_IN
        elif isinstance(error, StrangeHost):
            detail = "DQM_ALLOWED_ORIGINS has not the name by which this server was called"
        elif status_code == HTTPStatus.FORBIDDEN:
            detail = "this needs another role, or a token with another scope"
        elif status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            detail = f"this address answers {self.methods}"
        elif status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
            detail = "the log of the dashboard says why"
        self.challenge(status_code)
        status = HTTPStatus(status_code)
        self.set_status(status)
        self.set_header("Content-Type", "application/problem+json")
        problem = Problem(title=status.phrase, status=status, detail=detail)
        self.finish(dump(problem.model_dump()))

    def log_exception(self, *information: Any) -> None:
        """Log no traceback of what is an answer."""
        if not isinstance(information[1], (RunNotFound, DatabaseUnavailable)):
            super().log_exception(*information)


class Cameras(ApiHandler):
    """All cameras."""

    async def get(self) -> None:
        """From memory."""
        self.question(Question)
        await self.answer(reading.cameras(self.service.catalogues))

    head = get


class Runs(ApiHandler):
    """Runs that match."""

    async def get(self, camera: str) -> None:
        """From memory."""
        asked = self.question(RunsQuestion)
        form = self.form(asked)
        table = reading.runs(self.camera(camera), asked)
        cursor = table.meta[reading.NEXT_CURSOR]
        if cursor is not None:
            self.set_header("Link", f'<{self._address_with(cursor)}>; rel="next"')
        # from memory: what is quickly written, too, needs no turn
        turn = contextlib.nullcontext() if is_small(table, form) else self.turn
        async with turn:
            await self.answer_table(table, form)

    head = get

    def _address_with(self, cursor: int) -> str:
        """Of the next page (RFC 8288): what was asked for, from another run on."""
        query = [(k, v) for k, v in parse_qsl(self.request.query) if k != "cursor"]
        query.append(("cursor", str(cursor)))
        return f"{self.request.path}?{urlencode(query)}"


class Run(ApiHandler):
    """A run."""

    async def get(self, camera: str, run: str) -> None:
        """Read it."""
        self.question(Question)
        self.camera(camera)
        number = number_of(camera, run)
        await self.read(lambda at: reading.run(at, camera, number))

    head = get


class Verdict(ApiHandler):
    """What the checks say."""

    async def get(self, camera: str, run: str) -> None:
        """Read it."""
        self.question(Question)
        self.camera(camera)
        number = number_of(camera, run)
        await self.read(lambda at: reading.verdict(at, camera, number))

    head = get


class Statistics(ApiHandler):
    """Statistics of a run."""

    async def get(self, camera: str, run: str) -> None:
        """Read them."""
        form = self.form(self.question(TableQuestion))
        self.camera(camera)
        number = number_of(camera, run)
        await self.read_table(lambda at: reading.statistics(at, camera, number), form)

    head = get


class Quantity(ApiHandler):
    """A quantity of a run."""

    async def get(self, camera: str, run: str, quantity: str) -> None:
        """Read it."""
        form = self.form(self.question(TableQuestion))
        self.camera(camera)
        number = number_of(camera, run)
        await self.read_table(lambda at: reading.quantity(at, camera, number, quantity), form)

    head = get


class TrendNames(ApiHandler):
    """Of what there are trends."""

    async def get(self, camera: str) -> None:
        """Read them."""
        form = self.form(self.question(TableQuestion))
        self.camera(camera)
        await self.read_table(lambda at: reading.trend_names(at, camera), form)

    head = get


class Trends(ApiHandler):
    """Statistics over all runs."""

    async def get(self, camera: str) -> None:
        """Read them."""
        asked = self.question(TrendQuestion)
        form = self.form(asked)
        self.camera(camera)
        await self.read_table(lambda at: reading.trends(at, camera, asked), form)

    head = get


class History(ApiHandler):
    """Pixels over all runs."""

    async def get(self, camera: str, quantity: str) -> None:
        """Read them."""
        asked = self.question(HistoryQuestion)
        form = self.form(asked)
        self.camera(camera)
        await self.read_table(lambda at: reading.history(at, camera, quantity, asked), form)

    head = get


class OpenApi(ApiHandler):
    """Describes all of this for programs."""

    async def get(self) -> None:
        """From memory."""
        self.set_header("Content-Type", Format.JSON.media)
        self.finish(dump(document(self.application.prefix)))

    head = get


class NoSuchAddress(ApiHandler):
    """Whatever else is asked for below the base."""

    async def get(self) -> None:
        """Say so."""
        raise ProblemError(HTTPStatus.NOT_FOUND, f"see {BASE}/openapi.json for what there is")

    head = get


def number_of(camera: str, run: str) -> int:
    """The run number in an address; raises `ProblemError` 404 when there can be no such run."""
    number = int(run)
    if number > LARGEST_RUN:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"{camera} has no run {number}")
    return number


def routes() -> list[tuple[str, type[ApiHandler]]]:
    """Pattern and handler of each address."""
    answering = {
        kind.__name__: kind
        for kind in (Cameras, Runs, Run, Verdict, Statistics, Quantity, TrendNames, Trends, History)
    }
    return [
        (rf"{BASE}/openapi\.json", OpenApi),
        *((resource.pattern, answering[resource.name]) for resource in RESOURCES),
        (rf"{BASE}(?:/.*)?", NoSuchAddress),
    ]
