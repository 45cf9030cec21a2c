"""``/downloads`` and ``/originals``: begin, watch, fetch and remove."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar, TypeVar
from urllib.parse import quote

import numpy as np
from pydantic import ValidationError
from tornado.web import HTTPError, StaticFileHandler

from dqm_app.accounts.audit import Event
from dqm_app.accounts.tokens import Scope
from dqm_app.api.handlers import ApiHandler, number_of
from dqm_app.api.problems import ProblemError
from dqm_app.api.questions import Question
from dqm_app.api.resources import NAME, NUMBER
from dqm_app.downloads.answers import BasketAnswer, BasketsAnswer, Chosen, OneBasketAnswer
from dqm_app.downloads.basket import ID, Basket
from dqm_app.downloads.building import file_name
from dqm_app.downloads.errors import BasketRefused, DownloadsUnusable
from dqm_app.downloads.parts import Downloads
from dqm_app.login.access import Access, Guarded
from dqm_app.process_parts import downloads_of
from dqm_db.content import Original, RunHeader
from dqm_db.reader import Snapshot

_MEDIA = {"tar": "application/gzip", "fits+zstd": "application/zstd"}
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_UNUSABLE = (
    "archives cannot be built just now: try again later, or tell the admin, to whom the log of the "
    "dashboard says why"
)
MOST_BODY = 200_000
"""Bytes of a request: some ten thousand runs, more than any basket should have."""

T = TypeVar("T")


class ForExperts(Guarded):
    """Who may take files away, and whose baskets are meant."""

    access: ClassVar[Access] = Access.EXPERT
    scope: ClassVar[Scope | None] = Scope.DOWNLOAD

    @property
    def downloads(self) -> Downloads:
        """The downloads of this process."""
        return downloads_of(self.server_context)

    @property
    def owner(self) -> str:
        """Whose baskets are meant."""
        return "" if self.visitor is None else self.visitor.name


class OfDownloads(ForExperts, ApiHandler):
    """What all addresses of downloads share that answer with JSON."""

    def set_default_headers(self) -> None:
        """How far a basket is, is of this moment."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    async def answers(self, *baskets: Basket) -> list[BasketAnswer]:
        """What is said of them."""
        downloads, root = self.downloads, self.application.prefix

        def look() -> list[BasketAnswer]:
            return [BasketAnswer.of(one, root, downloads.stuck(one)) for one in baskets]

        return await self.run(look)

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """What *work* returns, run in the thread of the downloads.

        Raises
        ------
        ProblemError
            503: the folder of baskets, or the queue, cannot be used.
        Exception
            Whatever else *work* raises.
        """
        try:
            return await self.downloads.run(work, *arguments)
        except (DownloadsUnusable, OSError) as error:
            self.gate.report(error)
            raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, _UNUSABLE) from error

    async def basket(self, basket_id: str) -> Basket:
        """The basket of that id; raises `ProblemError` 404 when it is nobody's, or another's."""
        found = await self.run(self.downloads.find, basket_id, self.owner)
        if found is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "this archive is not there any more")
        return found


class Baskets(OfDownloads):
    """All baskets of whoever calls."""

    async def get(self) -> None:
        """List them, the newest first."""
        self.question(Question)
        found = await self.run(self.downloads.of, self.owner)
        await self.answer(BasketsAnswer(baskets=await self.answers(*found)))

    async def post(self) -> None:
        """Begin one: answers 201, or 409 while another one is being built."""
        chosen = self._chosen()
        runs = self.camera(chosen.camera)
        numbers = np.unique(chosen.runs)
        known = runs.columns["run"]
        missing = np.setdiff1d(numbers, known)
        if len(missing):
            names = ", ".join(map(str, missing[:10]))
            raise ProblemError(HTTPStatus.NOT_FOUND, f"{chosen.camera} has no run {names}")
        size = int(runs.columns["size"][np.isin(known, numbers)].sum())
        begin = self.downloads.begin
        try:
            basket = await self.run(begin, self.owner, chosen.camera, numbers.tolist(), size)
        except BasketRefused as error:
            raise ProblemError(HTTPStatus.CONFLICT, str(error)) from error
        text = f"{basket.id}: {len(basket.runs)} runs of {basket.camera}"
        await self.remember(Event.BASKET, text)
        self.set_status(HTTPStatus.CREATED)
        self.set_header("Location", f"{self.application.prefix}/downloads/{basket.id}")
        await self.answer(BasketAnswer.of(basket, self.application.prefix))

    def _chosen(self) -> Chosen:
        if len(self.request.body) > MOST_BODY:
            raise ProblemError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "these are too many runs: choose fewer"
            )
        try:
            return Chosen.model_validate(json.loads(self.request.body))
        except (ValidationError, ValueError, RecursionError) as error:
            detail = 'the body is JSON as {"camera": "NectarCAMQM", "runs": [6310, 6311]}'
            raise ProblemError(HTTPStatus.BAD_REQUEST, detail) from error


class OneBasket(OfDownloads):
    """One basket."""

    async def get(self, basket_id: str) -> None:
        """How far it is, and of which runs."""
        basket = await self.basket(basket_id)
        (answer,) = await self.answers(basket)
        await self.answer(OneBasketAnswer(**dict(answer), numbers=list(basket.runs)))

    async def delete(self, basket_id: str) -> None:
        """Remove it, also while it is being built."""
        basket = await self.basket(basket_id)
        await self.run(self.downloads.shelf.remove, basket)
        self.set_status(HTTPStatus.NO_CONTENT)


class BasketFile(ForExperts, StaticFileHandler):
    """The archive of a basket: streamed, and resumed where it was interrupted (Range)."""

    is_page: ClassVar[bool] = True
    _basket: Basket | None = None

    def initialize(self) -> None:  # type: ignore[override]
        """The folder is known when the basket is."""
        super().initialize(path="")

    async def prepare(self) -> None:
        """Find the basket of whoever calls; 404 when it is another's, or not done."""
        await super().prepare()
        if self._finished:
            return
        shelf = self.downloads.shelf
        basket = await self.downloads.run(shelf.find, self.path_args[0], self.owner)
        if basket is None or not basket.archive.is_file():
            raise HTTPError(HTTPStatus.NOT_FOUND)
        self._basket = basket
        self.root = str(basket.folder)
        self.path_args = [basket.archive.name]
        headers, tag = self.request.headers, f'"{self._get_cached_version(str(basket.archive))}"'
        if headers.get("If-Range", tag) != tag and "Range" in headers:
            del headers["Range"]  # Tornado does not look; it would be the rest of another file
        if self.request.method == "GET":
            part = " in parts" if "Range" in headers else ""
            await self.remember(Event.DOWNLOAD, f"basket {basket.id}{part}")

    def get_content_type(self) -> str:
        """Of a tar file."""
        return "application/x-tar"

    def set_extra_headers(self, path: str) -> None:  # noqa: ARG002
        """Give it a name; nothing on the way may keep it, nor a browser take it for a page."""
        if self._basket is not None:
            self.set_header("Content-Disposition", as_attachment(self._basket.file_name))
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("X-Content-Type-Options", "nosniff")

    @classmethod
    def _get_cached_version(cls, abs_path: str) -> str | None:
        # Tornado reads the whole file for its digest, which takes seconds: size and time will do
        stat = Path(abs_path).stat()
        return f"{stat.st_size:x}-{stat.st_mtime_ns:x}"


class OriginalFile(OfDownloads):
    """The file that a run was read from."""

    async def get(self, camera: str, run: str) -> None:
        """All of it, or the part that is asked for (Range)."""
        self.question(Question)
        self.camera(camera)
        number = number_of(camera, run)

        def read(snapshot: Snapshot) -> tuple[RunHeader, Original, str]:
            original = snapshot.original(camera, number)
            digest = base64.b64encode(hashlib.sha256(original.data).digest()).decode()
            return snapshot.header(camera, number), original, digest

        async with self.turn:
            header, original, digest = await self.found(read)
        self._etag = f'"{header.provenance.results_sha256}-{original.media}"'
        self.set_header("Content-Type", _MEDIA.get(original.media, "application/octet-stream"))
        self.set_header("Content-Disposition", as_attachment(file_name(header, original.media)))
        self.set_header("Cache-Control", "private, no-cache")
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Repr-Digest", f"sha-256=:{digest}:")  # RFC 9530: of all of it
        self.set_etag_header()
        if self.check_etag_header():
            self.set_status(HTTPStatus.NOT_MODIFIED)
            self.finish()
            return
        start, end = self._part(len(original.data))
        part = "" if (start, end) == (0, len(original.data)) else " in parts"
        if self.request.method == "GET":
            await self.remember(Event.DOWNLOAD, f"{camera} run {number}{part}")
        self.finish(original.data[start:end])

    head = get

    def compute_etag(self) -> str | None:
        """That of the whole file, whichever part is answered."""
        return self._etag

    def _part(self, size: int) -> tuple[int, int]:
        """First byte, and the one after the last, of what is asked for; sets status and headers."""
        asked = self.request.headers.get("Range")
        unchanged = self.request.headers.get("If-Range", self._etag) == self._etag
        span = _RANGE.fullmatch(asked) if asked and unchanged else None
        if span is None or not (span[1] or span[2]):
            return 0, size  # what is not understood is ignored (RFC 9110, 14.2)
        if not span[1]:
            start, end = max(size - int(span[2]), 0), size
        else:
            start, end = int(span[1]), min(int(span[2]) + 1, size) if span[2] else size
        if start >= min(end, size):
            self.set_header("Content-Range", f"bytes */{size}")
            raise ProblemError(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"the file has {size} bytes"
            )
        self.set_status(HTTPStatus.PARTIAL_CONTENT)
        self.set_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        return start, end


def routes() -> list[tuple[str, type[Guarded]]]:
    """Pattern and handler of each address."""
    return [
        (r"/downloads", Baskets),
        (rf"/downloads/({ID.pattern})", OneBasket),
        (rf"/downloads/({ID.pattern})/file", BasketFile),
        (rf"/originals/{NAME}/{NUMBER}", OriginalFile),
    ]


def as_attachment(name: str) -> str:
    """``Content-Disposition`` of a file to be saved as *name* (RFC 6266)."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
