"""What is said and asked of baskets; the OpenAPI document describes these models."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from dqm_app.api.questions import Run
from dqm_app.downloads.basket import Basket, State


class Chosen(BaseModel):
    """The body of a request for a basket."""

    model_config = ConfigDict(extra="forbid")

    camera: str = Field(max_length=100, description="Name of the camera.")
    runs: list[Run] = Field(min_length=1, description="Run numbers, each of which must be stored.")


class BasketAnswer(BaseModel):
    """A basket, and how far it is."""

    id: str = Field(description="In its address, `/downloads/ID`.")
    camera: str = Field(description="Name of the camera.")
    runs: int = Field(description="How many runs were chosen.")
    first: int = Field(description="The lowest of their numbers.")
    last: int = Field(description="The highest of their numbers.")
    state: State = Field(description="How far it is; done: its file can be fetched.")
    runs_done: int = Field(description="Runs that are in the archive by now.")
    bytes: int = Field(description="Bytes of the original files together.")
    bytes_done: int = Field(description="Bytes of those that are in the archive by now.")
    text: str = Field(description="Why it failed, why nothing happens, or what it lacks.")
    created: float = Field(description="When it was asked for, Unix time (UTC), in seconds.")
    ends: float = Field(description="When it is removed, Unix time (UTC), in seconds.")
    file: str | None = Field(description="Path of the archive; null until it is done.")
    name: str = Field(description="Under which the archive is saved.")

    @classmethod
    def of(cls, basket: Basket, root: str, stuck: str = "") -> BasketAnswer:
        """How far *basket* is now, or why it is *stuck*; its file is below the address *root*."""
        progress = basket.progress()
        done = progress.state is State.DONE
        return cls(
            id=basket.id,
            camera=basket.camera,
            runs=len(basket.runs),
            first=min(basket.runs),
            last=max(basket.runs),
            state=progress.state,
            runs_done=progress.runs,
            bytes=progress.of_bytes,
            bytes_done=progress.bytes,
            text=stuck or progress.text,
            created=basket.created,
            ends=basket.ends,
            file=f"{root}/downloads/{basket.id}/file" if done else None,
            name=basket.file_name,
        )


class OneBasketAnswer(BasketAnswer):
    """A basket, how far it is, and all that was chosen."""

    numbers: list[int] = Field(description="Of the runs that were chosen: to choose them again.")


class BasketsAnswer(BaseModel):
    """All baskets of whoever asks."""

    baskets: list[BasketAnswer] = Field(description="The newest first.")
