"""``dqm status``: the servers, and the dashboard of this host, if there is one."""

from __future__ import annotations

from dqm_app.host_status import dashboard_items
from dqm_db.status.commands import status_command

status = status_command(dashboard_items)
