"""All settings of a server, read and checked before it opens anything that others can see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dqm_app.downloads.queue import check_queue
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.login.opening import LoginOfServer
from dqm_app.settings import DashboardSettings
from dqm_db.settings import DatabaseSettings, load
from dqm_db.status.collecting import Servers


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """What the processes of one server share.

    Attributes
    ----------
    database : DatabaseSettings
    dashboard : DashboardSettings
    servers : Servers
        All servers of the database.
    login : LoginOfServer
    downloads : DownloadSettings
    """

    database: DatabaseSettings
    dashboard: DashboardSettings
    servers: Servers
    login: LoginOfServer
    downloads: DownloadSettings

    @classmethod
    def read(cls) -> Self:
        """Those of the environment; accounts are reached, and brought up to date.

        Raises
        ------
        ConfigurationError
            One has no usable value, or nobody said who may use the server.
        AccountsUnavailable, NewerAccounts
        """
        database = DashboardSettings.database()
        dashboard, downloads = load(DashboardSettings), load(DownloadSettings)
        check_queue(downloads)
        return cls(
            database,
            dashboard,
            Servers.of(database, dashboard),
            LoginOfServer.of_settings(),
            downloads,
        )
