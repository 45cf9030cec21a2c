"""All baskets: makes them, finds them, keeps within the disk, forgets old ones."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dqm_app.downloads.basket import ID, Basket, State
from dqm_app.downloads.errors import BasketRefused, DownloadsUnusable
from dqm_app.downloads.facts import ShelfFacts
from dqm_app.downloads.settings import DownloadSettings
from dqm_db.status.words import duration
from dqm_db.status.words import size as in_words

LOST_SECONDS = 300.0
"""A basket of which nothing was heard for so long has lost its worker."""
OVERHEAD = 1.02
"""What an archive is larger than the files in it, at most; tar has 1 kB per file."""
_FREE_AT_LEAST = 500_000_000
"""Bytes of the disk that baskets leave to everybody else."""


class Shelf:
    """The folder of baskets; several processes may use it at once.

    Parameters
    ----------
    settings : DownloadSettings
    """

    def __init__(self, settings: DownloadSettings) -> None:
        self._settings = settings
        self.folder = settings.folder

    def make(self, owner: str, camera: str, runs: Sequence[int], size: int) -> Basket:
        """A new basket, which nobody builds yet.

        Parameters
        ----------
        owner
            Name of the user; empty where there are no accounts.
        camera, runs
            The runs in the order in which they will be in the archive.
        size
            Of their originals together, bytes.

        Raises
        ------
        BasketRefused
            *owner* has a basket that is being built, it is too large, or there is no room.
        DownloadsUnusable
        """
        if len(runs) > self._settings.basket_runs:
            raise BasketRefused(
                f"an archive has at most {self._settings.basket_runs:,} runs, not {len(runs):,}: "
                "choose fewer"
            )
        with self._locked():
            self._forget_old()
            self._give_up()
            found = list(self._all())
            for basket in found:
                if basket.owner == owner and not self._is_over(basket):
                    whose = "another archive of yours" if owner else "an archive for somebody"
                    raise BasketRefused(
                        f"{whose} is being built: wait until it is done, or cancel it"
                    )
            self._require_room(found, owner, size)
            now = time.time()
            basket = Basket(
                folder=self.folder / secrets.token_hex(16),
                owner=owner,
                camera=camera,
                runs=tuple(runs),
                size=size,
                created=now,
                ends=now + self._settings.downloads_hours * 3600,
            )
            try:
                basket.write()
            except OSError as error:
                raise self._unusable(error) from error
            return basket

    def find(self, basket_id: str, owner: str) -> Basket | None:
        """The basket of that id, if it is *owner*'s and can still be fetched."""
        basket = self.get(basket_id)
        if basket is None or basket.owner != owner or basket.ends <= time.time():
            return None
        return basket

    def get(self, basket_id: str) -> Basket | None:
        """The basket of that id, whoever's."""
        return None if ID.fullmatch(basket_id) is None else self._read(self.folder / basket_id)

    def of(self, owner: str) -> list[Basket]:
        """Those of *owner*, the newest first."""
        now = time.time()
        own = [one for one in self._all() if one.owner == owner and one.ends > now]
        return sorted(own, key=lambda one: -one.created)

    def remove(self, basket: Basket) -> None:
        """Forget a basket; a worker that builds it notices and stops."""
        with self._locked():
            _remove(basket.folder)

    def clear(self) -> None:
        """Forget what has ended."""
        with self._locked():
            self._forget_old()

    def give_up(self) -> None:
        """Fail what no worker takes; see ``DQM_DOWNLOADS_WAIT_MINUTES``."""
        with self._locked():
            self._give_up()

    def everybody(self) -> list[Basket]:
        """All there are, the newest first."""
        return sorted(self._all(), key=lambda one: -one.created)

    def facts(self) -> ShelfFacts:
        """How the shelf is."""
        found = [(basket, basket.progress()) for basket in self._all()]
        seen = [(progress.state, progress.at) for _, progress in found]
        taken = sum(_bytes(basket) for basket, _ in found)
        return ShelfFacts.of(seen, taken, self._settings.downloads_bytes)

    def before(self, basket: Basket) -> int:
        """How many unfinished baskets are older than *basket*."""
        return sum(one.created < basket.created for one in self.unfinished())

    def unfinished(self) -> list[Basket]:
        """Those that wait or are being built, the oldest first."""
        left = [basket for basket in self._all() if not basket.progress().state.is_over]
        return sorted(left, key=lambda basket: basket.created)

    # ---- inside --------------------------------------------------------------------------------

    def _all(self) -> Iterator[Basket]:
        try:
            folders = sorted(self.folder.iterdir())
        except FileNotFoundError:
            return
        for folder in folders:
            if ID.fullmatch(folder.name) is not None:
                basket = self._read(folder)
                if basket is not None:
                    yield basket

    @staticmethod
    def _read(folder: Path) -> Basket | None:
        try:
            return Basket.read(folder)
        except (OSError, ValueError):
            return None  # just being made or removed, or nothing of ours

    @staticmethod
    def _is_over(basket: Basket) -> bool:
        progress = basket.progress()
        return progress.state.is_over or (
            progress.state is State.BUILDING and time.time() - progress.at > LOST_SECONDS
        )

    def _require_room(self, found: Sequence[Basket], owner: str, size: int) -> None:
        needed = int(size * OVERHEAD) + 10_000
        most, share = self._settings.downloads_bytes, self._settings.downloads_user_bytes
        own = sum(_bytes(basket) for basket in found if basket.owner == owner)
        if owner and own + needed > share:  # where nobody has a name, all are one
            raise BasketRefused(
                f"your archives take {in_words(own)} of your {in_words(share)}, and this one needs "
                f"{in_words(needed)}: choose fewer runs, or remove archives that you have fetched"
            )
        taken = sum(_bytes(basket) for basket in found)
        if taken + needed > most:
            raise BasketRefused(
                f"the archives of all users take {in_words(taken)} of {in_words(most)}, and this "
                f"one needs {in_words(needed)}: choose fewer runs, remove archives that you have "
                "fetched, or try again later"
            )
        # what is being built will be written, too
        free = shutil.disk_usage(self.folder).free - sum(map(_to_be_written, found))
        if free - needed < _FREE_AT_LEAST:
            raise BasketRefused(
                f"the disk of the server is nearly full, {in_words(max(free, 0))} are left: choose "
                "fewer runs, or tell the admin"
            )

    def _give_up(self) -> None:
        """Fail what has waited for long while nothing was built: it would block its owner."""
        longest = self._settings.downloads_wait_minutes * 60
        idle = self.facts().idle_seconds()
        if idle <= longest:
            return
        text = f"no worker has taken it for {duration(idle)}: tell the admin, and try again later"
        for basket in self.unfinished():
            progress = basket.progress()
            if progress.state is State.WAITING and time.time() - progress.at > longest:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    basket.note(replace(progress, state=State.FAILED, text=text))

    def _forget_old(self) -> None:
        now = time.time()
        for basket in list(self._all()):
            if basket.ends <= now:
                _remove(basket.folder)
        for left in self.folder.glob("gone-*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _unusable(self, error: OSError) -> DownloadsUnusable:
        return DownloadsUnusable(
            f"the folder of baskets, {self.folder}, cannot be used ({error.strerror or error}): "
            "set DQM_DOWNLOADS_DIR"
        )


def _bytes(basket: Basket) -> int:
    """What a basket takes, or will take when it is done."""
    progress = basket.progress()
    if progress.state is State.DONE:
        return _on_disk(basket.archive)
    return 0 if progress.state is State.FAILED else int(basket.size * OVERHEAD)


def _to_be_written(basket: Basket) -> int:
    """Bytes that an unfinished basket has not taken yet."""
    if basket.progress().state.is_over:
        return 0
    return max(0, int(basket.size * OVERHEAD) - _on_disk(basket.part))


def _on_disk(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # not begun, just done, or removed meanwhile
        return 0


def _remove(folder: Path) -> None:
    # renamed first: what is half removed is no basket any more
    gone = folder.with_name(f"gone-{folder.name}")
    try:
        folder.replace(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)
