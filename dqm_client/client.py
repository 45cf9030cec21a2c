"""The dashboard from a notebook: tables of astropy, and files."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from astropy.table import MaskedColumn, Table, vstack

from dqm_client.baskets import Order
from dqm_client.connection import Connection
from dqm_client.files import PartialFile

T = TypeVar("T")
API = "/api/v1"
PAGE = 1000
PART = 25
"""Columns asked for at once: of 38,000 runs, as many values as one answer may have."""


class Client:
    """One dashboard.

    Parameters
    ----------
    url : str
        ``https://HOST[:PORT][/PREFIX]``
    token : str, optional
        From the page of your account; by default what ``DQM_TOKEN`` says.
    timeout : float
        Seconds without an answer.
    context : ssl.SSLContext, optional
        For a certificate of a private CA: ``ssl.create_default_context(cafile="ca.pem")``.

    Notes
    -----
    All methods raise `ApiError` when the dashboard refuses or does not answer. Times are Unix
    seconds in UTC: ``Time(runs["start"], format="unix")``. Those of events, in quantities, are TAI
    as they are stored: ``Time(events["Timestamps"], format="unix_tai")``. ``meta["time_scale"]`` of
    their columns says so, ``meta["tai_minus_utc"]`` of the table is the difference in seconds.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 60.0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        given = os.environ.get("DQM_TOKEN") if token is None else token
        self._connection = Connection(url, given, timeout, context)

    @property
    def url(self) -> str:
        """Of the dashboard."""
        return self._connection.url

    def cameras(self) -> list[str]:
        """Names of the cameras of which there are runs."""
        return [one["name"] for one in self._connection.get(f"{API}/cameras")["cameras"]]

    def runs(
        self,
        camera: str,
        *,
        first: int | None = None,
        last: int | None = None,
        after: datetime | str | None = None,
        before: datetime | str | None = None,
        verdict: str | Sequence[str] | None = None,
        min_events: int | None = None,
        newest_first: bool = True,
        limit: int | None = None,
    ) -> Table:
        """One row per run; all that match, or the first *limit* of them.

        Parameters
        ----------
        camera
            Its name, see `cameras`.
        first, last
            Run numbers.
        after, before
            When they started: a datetime, or text as in ISO 8601; UTC when nothing is said.
        verdict
            Any of ok, info, warning, bad, unknown, none.
        min_events
            Runs with at least so many events.
        newest_first
            By run number; False: the oldest first.
        limit
            Rows at most; None: all. With 0, a table without rows, which has the columns.

        Raises
        ------
        ValueError
            *limit* is negative.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit is {limit}: give the rows at most, or None for all")
        pages: list[Table] = []
        left = limit
        for page in self.run_pages(
            camera,
            first=first,
            last=last,
            after=after,
            before=before,
            verdict=verdict,
            min_events=min_events,
            newest_first=newest_first,
            rows=PAGE if limit is None else min(max(limit, 1), PAGE),
        ):
            pages.append(page if left is None else page[:left])
            left = None if left is None else left - len(pages[-1])
            if left == 0:
                break
        found = pages[0] if len(pages) == 1 else vstack(pages, metadata_conflicts="silent")
        # of the last page alone
        found.meta.pop("next_cursor")
        return found

    def run_pages(
        self,
        camera: str,
        *,
        first: int | None = None,
        last: int | None = None,
        after: datetime | str | None = None,
        before: datetime | str | None = None,
        verdict: str | Sequence[str] | None = None,
        min_events: int | None = None,
        newest_first: bool = True,
        rows: int = PAGE,
    ) -> Iterator[Table]:
        """The same, page by page, each asked for when it is its turn; at least one.

        Runs that are stored or deleted meanwhile neither repeat nor hide another one. A page has
        *rows* at most, 1 to 1000; all else is as of `runs`.
        """
        query = {
            "first": first,
            "last": last,
            "after": _iso(after),
            "before": _iso(before),
            "verdict": [verdict] if isinstance(verdict, str) else verdict,
            "min_events": min_events,
            "newest_first": str(newest_first).lower(),
            "limit": rows,
        }
        address = f"{API}/cameras/{_quoted(camera)}/runs"
        cursor: int | None = None
        while True:
            found = self._connection.get(address, query | {"cursor": cursor})
            yield _table(found)
            cursor = found["meta"]["next_cursor"]
            if cursor is None:
                return

    def run(self, camera: str, run: int) -> dict[str, Any]:
        """Times, events, origin of a run, and which quantities it has."""
        return self._connection.get(f"{API}{_of_run(camera, run)}")

    def verdict(self, camera: str, run: int) -> dict[str, Any]:
        """What the checks say of a run, with value and limits of each."""
        return self._connection.get(f"{API}{_of_run(camera, run)}/verdict")

    def statistics(self, camera: str, run: int) -> Table:
        """All statistics of a run: quantity, statistic, value, unit."""
        return self._table(f"{_of_run(camera, run)}/statistics")

    def quantity(self, camera: str, run: int, quantity: str) -> Table:
        """A quantity of a run exactly as it is stored, e.g. one row per pixel."""
        return self._table(f"{_of_run(camera, run)}/quantities/{_quoted(quantity)}")

    def trend_names(self, camera: str) -> Table:
        """Of what there are trends: quantity, statistic, unit."""
        return self._table(f"/cameras/{_quoted(camera)}/trends/names")

    def trends(
        self, camera: str, *columns: str, first: int | None = None, last: int | None = None
    ) -> Table:
        """Statistics over all runs, a column for each ``QUANTITY.STATISTIC``.

        Raises
        ------
        ValueError
            No statistics are given.
        """
        wanted = list(dict.fromkeys(columns))
        if not wanted:
            raise ValueError("no statistics are given: see trend_names")
        path = f"/cameras/{_quoted(camera)}/trends"
        return _beside(
            self._table(path, column=some, first=first, last=last) for some in _parts(wanted)
        )

    def pixels(
        self,
        camera: str,
        quantity: str,
        pixels: Iterable[int],
        *,
        first: int | None = None,
        last: int | None = None,
    ) -> Table:
        """A quantity of some or all pixels over all runs, a column for each, by their ids.

        Raises
        ------
        ValueError
            No pixels are given.
        """
        wanted = sorted({int(pixel) for pixel in pixels})
        if not wanted:
            raise ValueError("no pixels are given")
        path = f"/cameras/{_quoted(camera)}/pixels/{_quoted(quantity)}"
        return _beside(
            self._table(path, pixel=some, first=first, last=last) for some in _parts(wanted)
        )

    def original(self, camera: str, run: int, file: str | Path) -> Path:
        """Save the file that a run was read from; needs a token with the scope download.

        One that was interrupted is continued; raises `FileExistsError`.
        """
        file = _not_there(file)
        partial = PartialFile(self._connection, f"/originals/{_quoted(camera)}/{int(run)}", file)
        partial.fetch()
        partial.keep_as(file)
        return file

    def basket(
        self,
        camera: str,
        runs: Iterable[int],
        file: str | Path,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Path:
        """Save the files of many runs as one tar archive; needs the scope download.

        Called again after whatever went wrong, with the same runs and file, it goes on with the
        same basket, where it stopped. Each run's file is checked against its SHA-256 at the end,
        when the basket is removed from the dashboard. One of the same runs that is being built
        already is taken, and stays there: whoever began it may want it, too.

        Parameters
        ----------
        camera, runs
            Which.
        file
            Where to.
        progress
            Called with ``"building"`` or ``"fetching"``, bytes done, and bytes in all.

        Raises
        ------
        ApiError
            409: a basket of other runs of yours is being built, or there is no room.
        FileExistsError
        ValueError
            There are no runs.
        """
        wanted = [int(run) for run in runs]
        if not wanted:
            raise ValueError("no runs are given")
        file = _not_there(file)
        return Order(self._connection, camera, wanted, file).fetch(progress)

    def baskets(self) -> list[dict[str, Any]]:
        """Your baskets that are on the dashboard, the newest first; needs the scope download."""
        return self._connection.get("/downloads")["baskets"]

    def remove_basket(self, basket_id: str) -> None:
        """Remove one of them, also while it is being built."""
        self._connection.delete(f"/downloads/{_quoted(basket_id)}")

    def _table(self, path: str, **query: Any) -> Table:
        return _table(self._connection.get(f"{API}{path}", query))


_IS_UNKNOWN = np.frompyfunc(lambda value: value is None, 1, 1)


def _table(found: dict[str, Any]) -> Table:
    """The table in an answer; what is not known is masked, or NaN among decimal numbers."""
    columns = []
    for column in found["columns"]:
        values = found["data"][column["name"]]
        dtype = np.dtype(column["dtype"])
        if dtype.kind == "f":
            array, mask = np.array(values, dtype), None  # None is NaN for numpy
        else:
            cells = np.array(values, object)
            unknown = _IS_UNKNOWN(cells).astype(bool)
            mask = unknown if unknown.any() else None
            # texts as long as the longest; texts too when there are none
            kind = str if dtype.kind == "U" else dtype
            array = np.where(unknown, dtype.type(0), cells).astype(kind)
        columns.append(
            MaskedColumn(
                array,
                name=column["name"],
                unit=column["unit"] or None,
                description=column["description"] or None,
                mask=mask,
                meta={"time_scale": column["time_scale"]} if column["time_scale"] else None,
            )
        )
    return Table(columns, meta=found["meta"])


def _parts(columns: list[T]) -> Iterator[list[T]]:
    return (columns[at : at + PART] for at in range(0, len(columns), PART))


def _beside(tables: Iterable[Table]) -> Table:
    """Tables with a row per run, as one; without runs that came or went between two answers."""
    parts = list(tables)
    runs = functools.reduce(np.intersect1d, [np.asarray(part["run"]) for part in parts])
    found, *others = (part[np.isin(np.asarray(part["run"]), runs)] for part in parts)
    for other in others:
        other.remove_column("run")
        found.add_columns(list(other.itercols()))
    return found


def _iso(moment: datetime | str | None) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else moment


def _of_run(camera: str, run: int) -> str:
    """Address below `API`."""
    return f"/cameras/{_quoted(camera)}/runs/{int(run)}"


def _quoted(name: str) -> str:
    return quote(str(name), safe="")


def _not_there(file: str | Path) -> Path:
    if Path(file).exists():
        raise FileExistsError(f"{file} exists")
    return Path(file)
