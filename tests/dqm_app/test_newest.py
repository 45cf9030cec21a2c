"""Of a burst of wishes only the newest is carried out."""

from __future__ import annotations

import asyncio

from dqm_app.newest import NewestOnly


def test_of_a_burst_the_first_and_the_last_run():
    async def burst() -> list[int]:
        done = []
        gate = asyncio.Event()

        async def work(value: int) -> None:
            await gate.wait()
            done.append(value)

        newest = NewestOnly(work)
        for value in range(30):
            newest.ask(value)
            if value == 0:
                await asyncio.sleep(0)  # the first one is on its way
        assert newest.overtaken
        gate.set()
        await asyncio.sleep(0.01)
        newest.ask(99)
        await asyncio.sleep(0.01)
        assert not newest.overtaken
        return done

    assert asyncio.run(burst()) == [0, 29, 99]


def test_a_failure_is_logged_and_does_not_stop_the_next(caplog):
    async def two() -> list[int]:
        done = []

        async def work(value: int) -> None:
            if value == 1:
                raise ValueError("no")
            done.append(value)

        newest = NewestOnly(work)
        newest.ask(1)
        await asyncio.sleep(0.01)
        newest.ask(2)
        await asyncio.sleep(0.01)
        return done

    assert asyncio.run(two()) == [2]
    assert "no" in caplog.text


def test_cancel_forgets_what_runs_and_what_waits():
    async def cancelled() -> list[int]:
        done = []

        async def work(value: int) -> None:
            await asyncio.sleep(0.01)
            done.append(value)

        newest = NewestOnly(work)
        newest.ask(1)
        await asyncio.sleep(0)
        newest.ask(2)
        newest.cancel()
        await asyncio.sleep(0.05)
        return done

    assert asyncio.run(cancelled()) == []
