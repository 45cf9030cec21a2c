"""Large tables are encoded in a process of its own, which goes when nobody needs it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gzip
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from http import HTTPStatus

import numpy as np
import pytest
from processes import eventually

from dqm_app.api import encoder
from dqm_app.api.encoder import Encoded, Encoder
from dqm_app.api.encoding import Format, encode
from dqm_app.api.problems import ProblemError
from dqm_app.api.tables import Column, Table
from dqm_app.service import Service
from dqm_app.settings import DashboardSettings
from dqm_db.settings import load


def table(rows: int, columns: int = 1) -> Table:
    names = [f"c{at}" for at in range(columns)]
    return Table("t", tuple(Column(name, np.arange(rows) / 7, "s") for name in names))


@contextlib.asynccontextmanager
async def opened(idle_seconds: float = 60.0) -> AsyncIterator[Encoder]:
    made = Encoder(idle_seconds)
    try:
        yield made
    finally:
        made.close()


def pid_of(made: Encoder) -> int:
    assert made._other is not None
    return made._other._process.pid


async def on_either_side(form: Format, rows: int) -> None:
    wanted = table(rows)
    async with opened() as made:
        found = await made.encode(wanted, form, compress=False)
        small = await made.encode(wanted, form, compress=True)
    assert found.data == encode(wanted, form) and not found.is_compressed
    assert small.is_compressed == (len(found.data) >= encoder.COMPRESS_FROM)
    data = gzip.decompress(small.data) if small.is_compressed else small.data
    assert data == found.data
    assert (small.digest == found.digest) == (not small.is_compressed)


@pytest.mark.parametrize("form", [*Format])
@pytest.mark.parametrize("rows", [1, encoder.FEW_VALUES + 1])
def test_it_encodes_here_and_there_alike(form: Format, rows: int) -> None:
    asyncio.run(on_either_side(form, rows))


def test_searches_do_not_wait_for_tables() -> None:
    """All of them are answered while one large table is still being made."""

    async def search_meanwhile() -> None:
        service = Service(load(DashboardSettings), lambda: pytest.fail("needs no database"))
        async with opened() as made:
            large = asyncio.create_task(made.encode(table(10_000, 50), Format.VOTABLE, False))
            for number in range(20):
                assert await service.compute(lambda number=number: number) == number
                small = await made.encode(table(50), Format.JSON, compress=False)
                assert small.data
            assert not large.done()
            assert len((await large).data) > 5_000_000
        service.close()

    asyncio.run(search_meanwhile())


def test_too_much_is_refused() -> None:
    async def ask() -> None:
        async with opened() as made:
            with pytest.raises(ProblemError) as refused:
                await made.encode(table(encoder.MOST_VALUES + 1), Format.JSON, False)
            assert refused.value.status_code == HTTPStatus.BAD_REQUEST
            assert "first, last" in refused.value.detail
            many = [
                asyncio.create_task(made.encode(table(2), Format.FITS, False))
                for _ in range(encoder.WAITING + 1)
            ]
            await asyncio.sleep(0)
            with pytest.raises(ProblemError) as busy:
                await made.encode(table(2), Format.FITS, False)
            assert busy.value.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert busy.value.retry_after
            # what is small enough needs no place among them
            assert (await made.encode(table(2), Format.JSON, False)).data
            assert len({one.digest for one in await asyncio.gather(*many)}) == 1

    asyncio.run(ask())


def test_a_process_that_was_killed_is_replaced() -> None:
    async def kill() -> None:
        async with opened() as made:
            first = await made.encode(table(2), Format.FITS, False)
            pid = pid_of(made)
            large = asyncio.create_task(made.encode(table(10_000, 50), Format.VOTABLE, False))
            await asyncio.sleep(0)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(ProblemError) as lost:
                await large
            assert lost.value.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert await made.encode(table(2), Format.FITS, False) == first
            assert pid_of(made) != pid

    asyncio.run(kill())


def test_a_process_that_hangs_is_replaced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a question that is larger than what fits into the pipe."""

    async def hang() -> None:
        async with opened() as made:
            first = await made.encode(table(2), Format.FITS, False)
            pid = pid_of(made)
            os.kill(pid, signal.SIGSTOP)
            with monkeypatch.context() as patched, pytest.raises(ProblemError) as lost:
                patched.setattr(encoder, "LONGEST_SECONDS", 0.2)
                await made.encode(table(10_000, 50), Format.VOTABLE, False)
            assert lost.value.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert lost.value.retry_after
            assert await made.encode(table(2), Format.FITS, False) == first
            assert pid_of(made) != pid

    asyncio.run(hang())
    assert "was lost" in caplog.text


def test_a_fault_is_told_and_the_process_goes_on() -> None:
    broken = Table("t", (Column("a", np.zeros(2)), Column("b", np.zeros(3))))

    async def ask() -> None:
        async with opened() as made:
            await made.encode(table(2), Format.FITS, False)
            pid = pid_of(made)
            with pytest.raises(RuntimeError, match="Inconsistent data column lengths"):
                await made.encode(broken, Format.FITS, False)
            assert await made.encode(table(2), Format.FITS, False)
            assert pid_of(made) == pid

    asyncio.run(ask())


def test_no_process_is_left() -> None:
    """Neither when nobody asks any more, nor when it is closed in the middle of a table."""

    def is_gone(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False

    async def idle() -> int:
        async with opened(idle_seconds=0.05) as made:
            await made.encode(table(2), Format.FITS, False)
            pid = pid_of(made)
            while made._other is not None:
                await asyncio.sleep(0.01)
            assert (await made.encode(table(2), Format.FITS, False)).data
            return pid

    async def closed() -> int:
        async with opened() as made:
            await made.encode(table(2), Format.FITS, False)
            pid = pid_of(made)
            large = asyncio.create_task(made.encode(table(10_000, 50), Format.VOTABLE, False))
            await asyncio.sleep(0)
        with pytest.raises((ProblemError, asyncio.CancelledError)):
            await large
        return pid

    for story in (idle, closed):
        pid = asyncio.run(story())
        eventually(lambda pid=pid: is_gone(pid), "it is gone")


def test_the_same_table_is_the_same_bytes() -> None:
    for form in Format:
        one, other = (Encoded.of(table(300, 3), form, compress=True) for _ in range(2))
        assert one == other


def test_a_service_that_may_not_be_nice_encodes_all_the_same(monkeypatch):
    def forbidden(_: int) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "nice", forbidden)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    ours, theirs = multiprocessing.Pipe()
    monkeypatch.setattr(sys, "argv", ["-c", str(os.dup(theirs.fileno()))])
    theirs.close()
    asked = table(3)
    ours.send((asked, Format.JSON, False))
    thread = threading.Thread(target=encoder.main)
    thread.start()
    found = ours.recv()
    ours.close()
    thread.join(10)
    assert found.data == encode(asked, Format.JSON)
