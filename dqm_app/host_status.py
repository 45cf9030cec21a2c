"""What ``dqm status`` says of the dashboard of this host besides; nothing where there is none."""

from __future__ import annotations

import os

from dqm_app.accounts.settings import AccountSettings
from dqm_app.downloads.facts import judge_baskets
from dqm_app.downloads.settings import DownloadSettings
from dqm_app.downloads.shelf import Shelf
from dqm_db.settings import load
from dqm_db.status.limits import Limits
from dqm_db.status.model import Item


def dashboard_items(limits: Limits) -> list[Item]:
    """How its accounts and baskets are.

    Whoever may not read their files cannot say anything of them: that is for their owner and root.

    Raises
    ------
    ConfigurationError
        A setting of the dashboard has no usable value.
    """
    return [*_of_accounts(limits), *_of_baskets(limits)]


def _of_accounts(limits: Limits) -> list[Item]:
    settings = load(AccountSettings)
    if settings.auth == "none" or not _is_there(settings):
        return []
    # it takes a moment, which commands on other hosts need not wait
    from dqm_app.accounts.accounts import Accounts
    from dqm_app.accounts.errors import AccountsUnavailable
    from dqm_app.accounts.facts import judge_accounts

    accounts = Accounts.open(settings)
    try:
        return judge_accounts(accounts.facts(), limits)
    except AccountsUnavailable as error:
        return judge_accounts(error, limits)
    finally:
        accounts.close()


def _of_baskets(limits: Limits) -> list[Item]:
    settings = load(DownloadSettings)
    if not os.access(settings.folder, os.R_OK | os.X_OK):
        return []
    return [judge_baskets(Shelf(settings).facts(), limits)]


def _is_there(settings: AccountSettings) -> bool:
    if not settings.accounts_url:
        return os.access(settings.default_file, os.R_OK)
    from dqm_app.accounts.opening import file_of

    file = file_of(settings.url)
    return file is None or os.access(file, os.R_OK)
