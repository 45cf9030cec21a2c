"""Hands baskets to whoever builds them: huey's queue, in a file or in Redis.

The queue only carries ids of baskets. What is lost with it is found on the shelf again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from huey import Huey, RedisHuey, SqliteHuey
from huey.exceptions import HueyException
from huey.serializer import Serializer, SignedSerializer

from dqm_app.downloads.basket import Basket
from dqm_app.downloads.errors import DownloadsUnusable
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.settings import SHORTEST_KEY
from dqm_db.errors import ConfigurationError
from dqm_db.settings import secret

log = logging.getLogger(__name__)

NAME = "nectarcam-dqm"
TASK = "build_basket"
SILENT_SECONDS = 5.0
"""How long Redis may say nothing before it counts as gone, unless its URL says so itself."""


def _elsewhere(_basket_id: str) -> None:
    raise RuntimeError("baskets are built by workers")


class BasketQueue:
    """The queue of the settings.

    Parameters
    ----------
    settings : DownloadSettings
    build : callable
        Builds the basket of an id; only a worker has one.

    Raises
    ------
    DownloadsUnusable
        The folder of the file cannot be used; Redis is not asked yet.
    ConfigurationError
        As `check_queue`.
    """

    def __init__(
        self, settings: DownloadSettings, build: Callable[[str], None] = _elsewhere
    ) -> None:
        self._huey = _open(settings)
        self._where = (
            "DQM_DOWNLOADS_QUEUE" if settings.downloads_queue else f"the disk of {settings.folder}"
        )

        def build_basket(basket_id: str) -> None:
            build(basket_id)

        self._task = self._huey.task(name=TASK)(build_basket)

    def put(self, basket: Basket) -> None:
        """Let some worker build *basket*.

        Raises
        ------
        DownloadsUnusable
            The queue does not answer.
        """
        try:
            self._task(basket.id)
        except Exception as error:  # SQLite's, or whatever the client of Redis raises
            raise self._unusable(error) from error

    def is_empty(self) -> bool:
        """Whether nobody waits."""
        return not self._huey.pending_count()

    def work(self) -> bool:
        """Build the next basket; whether there was one.

        Raises
        ------
        DownloadsUnusable
            The queue does not answer.
        """
        try:
            task = self._huey.dequeue()
        except (HueyException, ValueError) as error:
            log.warning("something in the queue of baskets is none of ours: %s", error)
            return True
        except Exception as error:
            raise self._unusable(error) from error
        if task is None:
            return False
        self._huey.execute(task)
        return True

    def _unusable(self, error: Exception) -> DownloadsUnusable:
        return DownloadsUnusable(
            f"the queue of baskets does not answer ({error}): see {self._where}"
        )


def check_queue(settings: DownloadSettings) -> None:
    """See whether the settings are those of a queue, before anything of it is opened.

    Raises
    ------
    ConfigurationError
        Redis is given by a URL that is none, without its client, or without a BOKEH_SECRET_KEY
        that is long enough.
    """
    if settings.downloads_queue:
        _in_redis(settings.downloads_queue)


def _open(settings: DownloadSettings) -> Huey:
    if settings.downloads_queue:
        return _in_redis(settings.downloads_queue)
    folder = settings.folder
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadsUnusable(
            f"{folder} cannot be made ({error.strerror}): set DQM_DOWNLOADS_DIR"
        ) from error
    return SqliteHuey(NAME, filename=str(folder / "queue.sqlite"), results=False, fsync=True)


def _in_redis(url: str) -> Huey:
    try:
        from redis import ConnectionPool
    except ImportError as error:
        raise ConfigurationError(
            "DQM_DOWNLOADS_QUEUE asks for Redis, whose client is not installed: "
            "nectarcam-dqm[redis] has it"
        ) from error
    try:
        pool = ConnectionPool.from_url(
            url, socket_timeout=SILENT_SECONDS, socket_connect_timeout=SILENT_SECONDS
        )
    except ValueError as error:  # whose text may have a part of the password
        raise ConfigurationError(
            "DQM_DOWNLOADS_QUEUE cannot be used: write it as redis://:PASSWORD@HOST:6379/0, with "
            "signs such as / and @ in the password percent-encoded"
        ) from error
    return RedisHuey(NAME, connection_pool=pool, results=False, serializer=_signed())


def _signed() -> Serializer:
    """Messages are pickles: from a server that others may write to, only what we have signed."""
    key = secret("BOKEH_SECRET_KEY")
    if key is None:
        raise ConfigurationError(
            "BOKEH_SECRET_KEY is not set: what goes through DQM_DOWNLOADS_QUEUE is signed with it; "
            "give dashboards and workers the same"
        )
    if len(key) < SHORTEST_KEY:
        raise ConfigurationError(
            f"BOKEH_SECRET_KEY has {len(key)} characters: whoever reads DQM_DOWNLOADS_QUEUE could "
            f"find it out, and let workers run anything; take {SHORTEST_KEY} or more"
        )
    return SignedSerializer(secret=key, salt="nectarcam-dqm queue")
