"""Who asks much waits; others do not."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest

from dqm_app.api.problems import ProblemError
from dqm_app.api.turns import OF_ONE, WAITING, WAITING_OF_ONE, Turns


class Questions:
    """Each is worked on until it is told to end."""

    def __init__(self, readers: int = 3) -> None:
        self.turns = Turns(readers)
        self.worked_on: list[str] = []
        self.may_end = asyncio.Event()

    async def ask(self, who: str) -> None:
        async with self.turns.turn(who):
            self.worked_on.append(who)
            await self.may_end.wait()

    async def asked(self, *names: str) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.ask(name)) for name in names]
        for _ in range(5):
            await asyncio.sleep(0)
        return tasks


def test_one_user_leaves_places_to_others() -> None:
    async def story() -> None:
        questions = Questions()
        tasks = await questions.asked(*["anna"] * 6, "ben")
        assert questions.worked_on == ["anna"] * OF_ONE + ["ben"]
        questions.may_end.set()
        await asyncio.gather(*tasks)
        assert questions.worked_on == ["anna"] * 2 + ["ben"] + ["anna"] * 4

    asyncio.run(story())


def test_who_asks_too_much_is_told_to_wait() -> None:
    async def story() -> None:
        questions = Questions()
        tasks = await questions.asked(*["anna"] * (OF_ONE + WAITING_OF_ONE))
        with pytest.raises(ProblemError) as refused:
            await questions.ask("anna")
        assert refused.value.status_code == HTTPStatus.TOO_MANY_REQUESTS
        assert refused.value.retry_after
        names = [f"user {at}" for at in range(WAITING - len(tasks))]
        tasks += await questions.asked(*names)
        with pytest.raises(ProblemError) as busy:
            await questions.ask("carl")
        assert busy.value.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        questions.may_end.set()
        await asyncio.gather(*tasks)
        await questions.ask("anna")
        assert sorted(questions.worked_on) == sorted(
            ["anna"] * (OF_ONE + WAITING_OF_ONE + 1) + names
        )

    asyncio.run(story())


def test_who_gives_up_gives_his_place_back() -> None:
    async def story() -> None:
        questions = Questions()
        tasks = await questions.asked(*["anna"] * (OF_ONE + 1), "ben")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await questions.asked("anna")
        assert questions.worked_on == ["anna"] * OF_ONE + ["ben", "anna"]
        assert questions.turns._own.keys() == {"anna"}
        questions.may_end.set()

    asyncio.run(story())


def test_whose_table_is_being_written_keeps_nobody_from_reading() -> None:
    async def story() -> None:
        questions = Questions(readers=1)
        await questions.asked(*["anna"] * OF_ONE, *["carl"] * OF_ONE)
        assert len(questions.worked_on) == 2 * OF_ONE  # and none of them reads any more
        async with asyncio.timeout(10), questions.turns.turn("ben"), questions.turns.reading:
            assert questions.turns.reading.locked()
        questions.may_end.set()

    asyncio.run(story())
