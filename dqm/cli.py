"""The ``dqm`` command and its subcommands, each imported only when it is called."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import click

SUBCOMMANDS: dict[str, tuple[str, str]] = {
    # name: (module:command, one line of help shown without importing the module)
    "ingest": ("ingest.ingest_commands:ingest", "Read results files and store their runs."),
    "runs": ("ingest.commands:runs", "List the stored runs."),
    "get": ("ingest.commands:get", "Take away a run's original file or one of its quantities."),
    "rm": ("ingest.commands:rm", "Delete a run."),
    "release": ("ingest.commands:release", "Let the next pull try failed files again."),
    "reparse": ("ingest.ingest_commands:reparse", "Read stored runs again from their originals."),
    "import-legacy": (
        "ingest.maintenance_commands:import_legacy",
        "Store the runs of a database of nectarchain's own tools.",
    ),
    "rebuild-trends": (
        "ingest.maintenance_commands:rebuild_trends",
        "Compute catalogue, trends and verdicts again from the stored runs.",
    ),
    "recheck": (
        "ingest.recheck_commands:recheck",
        "Judge stored runs again, after a change of thresholds.",
    ),
    "pack": (
        "ingest.packing_commands:pack",
        "Drop what was replaced or deleted from the files of all servers.",
    ),
    "backup": ("backup.commands:backup", "Back up a volume, check backups, restore them."),
    "primary": ("dqm_db.replication.commands:primary", "Serve the primary database."),
    "replica": ("dqm_db.replication.commands:replica", "Serve a read-only copy of a primary."),
    "promote": (
        "dqm_db.replication.role_commands:promote",
        "Make the replica on this host the primary.",
    ),
    "demote": (
        "dqm_db.replication.role_commands:demote",
        "Let the server on this host follow another one.",
    ),
    "resync": (
        "dqm_db.replication.role_commands:resync",
        "Let a replica begin anew, its old files set aside.",
    ),
    "status": ("dqm.status:status", "Say how the whole system is."),
    "verify": (
        "dqm_db.verification.commands:verify",
        "Prove that primary and replicas hold the same.",
    ),
    "certs": (
        "dqm_db.certificate_commands:certs",
        "Make the certificates with which hosts recognise each other.",
    ),
    "cloud-init": (
        "dqm.cloud_init.commands:cloud_init",
        "Write the user-data with which machines install themselves.",
    ),
    "repeat": ("dqm.repeat:repeat", "Call a command again and again."),
    "healthcheck": (
        "dqm.healthcheck:healthcheck",
        "Say whether what is served here answers.",
    ),
    "serve": ("dqm_app.commands:serve", "Serve the dashboard."),
    "worker": ("dqm_app.downloads.commands:worker", "Build baskets of runs for the dashboard."),
    "baskets": (
        "dqm_app.downloads.commands:baskets",
        "List and remove the baskets of runs of all users.",
    ),
    "user": ("dqm_app.accounts.commands:user", "Say who may use the dashboard."),
    "simulate": ("dqm.simulation.commands:simulate", "Write results files of simulated runs."),
    "demo": ("dqm.demo.commands:demo", "Run everything on this machine with simulated runs."),
}


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order in which they are shown."""
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import and return one subcommand."""
        if cmd_name not in SUBCOMMANDS:
            return None
        module, _, attribute = SUBCOMMANDS[cmd_name][0].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """List the subcommands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in SUBCOMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nectarcam-dqm", prog_name="dqm")
@click.pass_context
def dqm(context: click.Context) -> None:
    """Data-quality monitoring of NectarCAM: from results files to plots in the browser."""
    if context.invoked_subcommand == "healthcheck":  # every few seconds: it loads no settings
        return
    from dqm.variables import unknown_variables

    for warning in unknown_variables(os.environ):
        click.echo(f"dqm: warning: {warning}", err=True)


def terminate(number: int, _frame: FrameType | None) -> NoReturn:
    """End on a signal as after an error, so that temporary folders are removed on the way."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs `dqm` and turns this system's errors into one line and an exit code."""
    from dqm_db.errors import DQMError

    signal.signal(signal.SIGTERM, terminate)  # servers and long commands set their own
    # ZEO logs a traceback for each error that it also raises, and Python prints what nobody takes.
    # Servers, which set logging up, still get it.
    logging.getLogger("ZEO").addHandler(logging.NullHandler())
    try:
        dqm.main(args=arguments, prog_name="dqm")
    except DQMError as error:
        click.echo(f"dqm: {error}", err=True)
        sys.exit(error.exit_code)
