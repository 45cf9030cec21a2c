"""One browser page: takes its requests, loads what they ask for, keeps its views up to date."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import replace
from typing import Any, TypeVar

from bokeh.document import Document
from bokeh.models import Column

from dqm_app.address import Address, Place, ViewKeys, resolve
from dqm_app.bridge import Page, Request
from dqm_app.catalogues import CameraRuns
from dqm_app.freshness import Freshness
from dqm_app.newest import NewestOnly
from dqm_app.page_state import blank, choices, described
from dqm_app.pages import PageReader, Shown, Wish, another_quantity
from dqm_app.plots.pixels import PixelSource
from dqm_app.pulls import listing
from dqm_app.service import Service
from dqm_app.theme import themes
from dqm_app.views import VIEWS
from dqm_app.views.base import Ask, NothingRead, View, ViewContext
from dqm_app.views.system import SystemView
from dqm_db.errors import DatabaseUnavailable, DQMError, RunNotFound
from dqm_db.reader import Snapshot

log = logging.getLogger(__name__)

T = TypeVar("T")
SEARCH_ROWS = 200
_SEE_LOG = "The log of the dashboard says why; the other views still work."


class Session:
    """Everything that the server keeps for one open page.

    Parameters
    ----------
    document : Document
        Gets two models and one empty container per view, nothing else: a page request and its
        websocket may reach different processes, so this must cost next to nothing.
    service : Service
    """

    def __init__(self, document: Document, service: Service) -> None:
        self._document = document
        self._service = service
        self._request = Request(name="request")
        self._page = Page(name="page")
        self._containers = {
            name: Column(name=f"container-{name}", sizing_mode="stretch_both") for name in VIEWS
        }
        self._views: dict[str, View] = {}
        self._drawn: dict[str, Hashable] = {}
        self._theme = themes()["light"]
        self._pixels = PixelSource()
        self._wish: Wish | None = None
        self._shown: Shown | None = None
        self._front: str | None = None
        self._reader = PageReader(service)
        self._pages = NewestOnly(self._serve_page)
        self._searches = NewestOnly(self._serve_search)
        self._failures = NewestOnly(self._serve_failures)
        self._statuses = NewestOnly(self._serve_status)
        self._systems = NewestOnly(self._serve_system)
        self._fresh: Freshness | None = None
        self._fetches: dict[str, NewestOnly[Callable[[], Awaitable[None]]]] = {}

        for root in (self._request, self._page, *self._containers.values()):
            document.add_root(root)
        self._request.on_change("address", lambda _attr, _old, new: self._asked(new))
        self._request.on_change("search", lambda _attr, _old, new: self._searches.ask(new))
        self._request.on_change("failures", lambda _attr, _old, new: self._failures.ask(new))
        self._request.on_change(
            "heartbeat", lambda _attr, _old, new: self._page.update(heartbeat=new)
        )
        context = document.session_context
        self._name = "" if context is None else context.id
        if context is not None:
            service.subscribe(self._name, self)

    # ---- from the browser (the document is locked) ---------------------------------------------

    def _asked(self, text: str) -> None:
        if not self._page.health:
            self._service.page_opened(self._name)
            self._send_status()
        self._wish = Wish.parse(text)
        self._pages.ask(self._wish)

    # ---- from the service (the document is not locked) -----------------------------------------

    def database_changed(self) -> None:
        """Follow the database: its health, new runs, a replaced run, or a run that had failed."""
        if self._wish is not None:
            self._pages.ask(self._wish)

    def status_changed(self) -> None:
        """Say how the database and the puller are, also while a read for the page hangs."""
        if self._wish is not None:
            self._statuses.ask(None)

    def system_changed(self) -> bool:
        """Say how the system is, if that is what the page shows."""
        shown = self._front == SystemView.name
        if shown:
            self._systems.ask(None)
        return shown

    def close(self) -> None:
        """Stop what is being done for the page: it is gone."""
        for requests in (
            self._pages,
            self._searches,
            self._failures,
            self._statuses,
            self._systems,
        ):
            requests.cancel()
        for fetches in self._fetches.values():
            fetches.cancel()

    # ---- pages ---------------------------------------------------------------------------------

    async def _serve_page(self, wish: Wish) -> None:
        """Load what *wish* asks for and show it, unless a newer wish has arrived meanwhile."""
        await self._service.started()
        address, misread = Address.parse(wish.query)
        keys = {name: ViewKeys(view.title, view.options) for name, view in VIEWS.items()}
        place, unknown = resolve(address, self._service.catalogues, keys, opened=wish.opened)
        deleted = self._deleted(address)
        if deleted is not None:
            place, unknown = deleted, ()
        notes = tuple(dict.fromkeys((*wish.notes, *misread, *unknown)))
        if place is None:
            await self._locked(lambda: self._show_without_run(wish, address.view, notes))
            return
        try:
            shown, data = await self._load(place)
        except DQMError as error:
            failure = f"{_words(place)} could not be read: {_reason(error)}."
        except Exception:
            log.exception("%s run %d, view %s", place.camera, place.run, place.view)
            failure = f"{_words(place)} failed. {_SEE_LOG}"
        else:
            if not self._pages.overtaken:
                await self._locked(lambda: self._show(wish, shown, data, notes))
            return
        if not self._pages.overtaken:
            await self._locked(lambda: self._answer(wish, failure, failed=True))

    def _deleted(self, address: Address) -> Place | None:
        """Where to stay when the run that the page shows and asks for is not stored any more."""
        shown = self._shown
        if shown is None or address.follow or address.run != shown.place.run:
            return None
        place = shown.place
        runs = self._service.catalogues.get(place.camera)
        if address.camera != place.camera or (runs is not None and place.run in runs):
            return None
        view = address.view if address.view is not None and address.view in VIEWS else place.view
        options = tuple(pair for pair in address.options if pair[0] in VIEWS[view].options)
        return replace(place, view=view, quantity=address.quantity, options=options, follows=False)

    async def _load(self, place: Place) -> tuple[Shown, Any]:
        runs = self._service.catalogues.get(place.camera)
        deleted = runs is None or place.run not in runs
        if runs is not None and not deleted:
            identity = runs.identity(place.run)
        elif self._shown is not None:  # see `_deleted`
            identity = self._shown.identity
            if replace(place, follows=False) == replace(self._shown.place, follows=False):
                return replace(self._shown, place=place, deleted=True), None
        else:
            raise RunNotFound(f"{place.camera} has no run {place.run}")
        known = runs if runs is not None else CameraRuns.none(place.camera)
        ask = Ask(place.run, place.quantity, known, dict(place.options))
        shown, data = await self._reader.read(place, identity, ask)
        before = self._shown
        if shown.header is None and before is not None and before.run == shown.run:
            shown = replace(shown, header=before.header, quantities=before.quantities)
        return replace(shown, deleted=deleted), data

    def _show_without_run(self, wish: Wish, view: str | None, notes: tuple[str, ...]) -> None:
        """There is no run at all; a view that needs none is shown all the same."""
        needs_none = view is not None and view in VIEWS and not VIEWS[view].of_database
        self._bring_to_front(view if needs_none else None)
        if self._front is not None:
            self._restyle(wish.theme)
            self._update(self._front, NothingRead())
        self._answer(wish, " ".join(notes))

    def _show(self, wish: Wish, shown: Shown, data: Any, notes: tuple[str, ...]) -> None:
        asked = wish.query.get("quantity", "").strip()
        if shown.unavailable is None and asked and shown.place.quantity not in (None, asked):
            notes = (*notes, another_quantity(asked, shown))
        self._shown = shown
        self._bring_to_front(shown.place.view)
        query = shown.place.address().pairs()
        self._wish = replace(wish, query=query, opened=False, notes=notes)
        if shown.deleted:
            notes = (
                *notes,
                f"Run {shown.place.run} of {shown.place.camera} has been deleted from the "
                "database; what was loaded before is shown.",
            )
        warning = " ".join(notes)
        failure = None
        try:
            self._restyle(wish.theme)
            if shown.unavailable is None:
                self._update_view(shown, data)
        except Exception:
            log.exception("view %s of %s", shown.place.view, shown.key)
            failure = f"{_words(shown.place)} could not be drawn. {_SEE_LOG}"
        self._answer(wish, failure or warning, failed=failure is not None)

    def _bring_to_front(self, view: str | None) -> None:
        if view == SystemView.name and self._front != view:
            self._service.system.hasten()  # what was collected a while ago is shown meanwhile
        self._front = view

    def _update_view(self, shown: Shown, data: Any) -> None:
        name = shown.place.view
        view = self._views.get(name)
        if view is not None and self._drawn.get(name) == shown.key:
            view.locate(shown.place.run)
            return
        self._update(name, data).locate(shown.place.run)
        self._drawn[name] = shown.key

    def _update(self, name: str, data: Any) -> View:
        """Let the view *name* show *data*; it is built when it is wanted first."""
        view = self._views.get(name)
        if view is not None:
            # not in models.freeze(): that walks all models at its end, 5 ms per 60 of them, and an
            # update adds none
            view.update(data)
            return view
        service = self._service
        context = ViewContext(
            self._theme,
            self._pixels,
            self._fetch,
            service.run_list,
            lambda: service.system_page.text,
        )
        view = VIEWS[name](context)
        view.update(data)
        self._views[name] = view
        # its data go along when the figures are sent for the first time
        self._containers[name].children = [view.root]
        return view

    def _restyle(self, theme: str) -> None:
        if self._theme.name != theme:
            self._theme = themes()[theme]
            for view in self._views.values():
                view.restyle(self._theme)

    def _answer(self, wish: Wish, message: str, *, failed: bool = False) -> None:
        """Tell the page what is shown now; *message* says what was asked for and could not be."""
        self._send_status()
        cameras = self._service.catalogues
        state = blank(wish, cameras, message, failed=failed)
        if self._shown is not None:
            state |= described(self._shown, cameras, failed=failed)
            self._page.update(quantities=json.dumps(choices(self._shown)))
        elif self._front is not None:
            state |= {"view": self._front}
        self._page.update(state=json.dumps(state))

    def _send_status(self) -> None:
        health, fresh = self._service.health, self._service.freshness
        text = json.dumps({"state": health.state, "since": health.since, "text": health.text})
        self._page.update(health=text)
        if fresh != self._fresh:  # compared here, since what is sent has the time of sending
            self._fresh = fresh
            sign = fresh.sign(self._service.settings.pull_stale, time.time())
            self._page.update(freshness=json.dumps(sign))

    async def _serve_status(self, _nothing: None) -> None:
        await self._locked(self._send_status)

    async def _serve_system(self, _nothing: None) -> None:
        def refresh() -> None:
            if self._front == SystemView.name:
                self._update(SystemView.name, NothingRead())

        await self._locked(refresh)

    # ---- searches ------------------------------------------------------------------------------

    async def _serve_search(self, text: str) -> None:
        wanted = json.loads(text)
        runs = self._service.catalogues.get(str(wanted["camera"]))
        answer = {"seq": int(wanted["seq"]), "rows": [], "matching": 0, "total": 0}
        if runs is not None:
            words = str(wanted["text"])[:100]
            found = await self._service.compute(lambda: runs.search(words, SEARCH_ROWS))
            answer |= {"rows": found.rows, "matching": found.matching, "total": found.total}
        if not self._searches.overtaken:
            await self._locked(lambda: self._page.update(runs=json.dumps(answer)))

    # ---- files that could not be stored --------------------------------------------------------

    async def _serve_failures(self, text: str) -> None:
        wanted = json.loads(text)
        camera = str(wanted["camera"])
        answer: dict[str, Any]
        try:
            answer = await self._service.run(lambda snap: listing(snap, camera, time.time()))
        except DQMError as error:
            answer = {"error": f"This could not be read: {_reason(error)}."}
        answer["seq"] = int(wanted["seq"])
        if not self._failures.overtaken:
            await self._locked(lambda: self._page.update(failures=json.dumps(answer)))

    # ---- views that ask for more ---------------------------------------------------------------

    def _fetch(self, loader: Callable[[Snapshot], T], then: Callable[[T], None], key: str) -> None:
        """Read more for a view, off the event loop; of several with one *key* the newest wins.

        *then* gets the result while the document is locked; it is not called when the page shows
        something else by then.
        """
        asked_in = self._shown

        async def work() -> None:
            try:
                value = await self._service.run(loader)
            except DQMError as error:
                text = f"More data for this view could not be read: {_reason(error)}."
                await self._locked(lambda: self._complain(text))
                return
            if self._shown is asked_in and not self._fetches[key].overtaken:
                await self._locked(lambda: then(value))

        if key not in self._fetches:
            self._fetches[key] = NewestOnly(_call)
        self._fetches[key].ask(work)

    def _complain(self, text: str) -> None:
        if self._wish is not None:
            self._answer(self._wish, text, failed=True)

    async def _locked(self, change: Callable[[], Any]) -> None:
        """Run *change* while the document is locked; not at all when the page is gone."""
        context = self._document.session_context
        if context is None:
            return

        async def locked(_document: Document) -> None:
            change()

        await context.with_locked_document(locked)


async def _call(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def _reason(error: DQMError) -> str:
    """The end of a sentence; what is wrong with the database the page says at length."""
    if isinstance(error, DatabaseUnavailable):
        return "the database does not answer"
    return str(error).removesuffix(".")


def _words(place: Place) -> str:
    return f"“{VIEWS[place.view].title}” of run {place.run}"
