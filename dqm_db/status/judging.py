"""What is fine, a warning or critical: pure functions of what was found and of the limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dqm_db.errors import DatabaseUnavailable, DQMError
from dqm_db.ingestion import Pull
from dqm_db.operations import Operation, OperationName
from dqm_db.status.limits import Limits, OperationLimits
from dqm_db.status.model import (
    REPLICA,
    DatabaseFacts,
    Item,
    Level,
    OwnCertificate,
    ServerStatus,
    SystemStatus,
)
from dqm_db.status.server_rules import (
    by_limits,
    judge_own_certificate,
    judge_servers,
    worst_first,
)
from dqm_db.status.words import duration

PARTLY = 1
"""Exit code of a pull of which some files could not be stored."""
STOPPED = (130, 143)


def judge(
    servers: Sequence[ServerStatus],
    facts: DatabaseFacts | None,
    facts_error: DQMError | None,
    limits: Limits,
    now: float,
    own: OwnCertificate | None = None,
    more: Iterable[Item] = (),
) -> SystemStatus:
    """The status of the system.

    Parameters
    ----------
    servers
        As `dqm_db.status.collecting.ask_servers` found them.
    facts, facts_error
        What the database says, or None and why it cannot be read.
    limits
        From when on something is wrong.
    now
        When all that was found, unix seconds.
    own
        With what this host asks; None: without TLS.
    more
        What others have judged.
    """
    items = [*judge_servers(servers, limits, now), *more]
    if own is not None:
        items += judge_own_certificate(own, limits, now)
    if facts is None:
        text = f"It cannot be read: {_with_advice(facts_error, servers)}."
        items.append(Item(Level.CRITICAL, "database", "Database", text))
    else:
        items.append(Item(Level.OK, "database", "Database", "It can be read."))
        items += [_pull(facts.pull, limits, now), _quarantine(facts)]
        items += _operations(servers, facts, limits, now)
    said = "" if facts_error is None else str(facts_error)
    return SystemStatus(now, tuple(servers), facts, said, worst_first(items))


def _with_advice(error: DQMError | None, servers: Sequence[ServerStatus]) -> str:
    """Why the database cannot be read, and what to do."""
    why = "no server answers" if error is None else _without_stop(str(error))
    if error is not None and not isinstance(error, DatabaseUnavailable):
        return why  # one that is damaged, newer or foreign says itself what to do
    if not servers:
        advice = "see whether DQM_DB_URL is right, and this host reaches what it names"
    elif any(server.answer is not None for server in servers):
        advice = "see what is said of the server that is read here, and its log"
    else:
        advice = "start a server, or see whether this host reaches them"
    return f"{why}; {advice}"


def _pull(pull: Pull | None, limits: Limits, now: float) -> Item:
    key, title = "pull", "Last pull"
    if pull is None:
        return Item(Level.OK, key, title, "There was none: runs are stored by hand.")
    age = max(0.0, now - pull.finished)
    level = by_limits(age, limits.pull_warning, limits.pull_critical)
    said = f" on {pull.host}" if pull.host else ""
    if level is not Level.OK:
        text = f"It ended {duration(age)} ago{said}: see whether its timer or cron job runs."
    elif pull.exit_code in (0, *STOPPED) and not pull.error:
        text = f"It ended {duration(age)} ago{said}."
    else:
        level = Level.WARNING
        why = f": {_without_stop(pull.error)}" if pull.error else ""
        how = "could not store some files" if pull.exit_code in (0, PARTLY) else "failed"
        text = f"It {how} {duration(age)} ago{said} (exit code {pull.exit_code}){why}."
    return Item(level, key, title, text, value=age, unit="s")


def _quarantine(facts: DatabaseFacts) -> Item:
    key, title, count = "quarantine", "Quarantine", facts.quarantined
    if not count:
        return Item(Level.OK, key, title, "No file waits for a person.", value=0)
    files = "1 file waits" if count == 1 else f"{count} files wait"
    text = f"{files} for a person: dqm ingest --list-quarantine says why, dqm release tries again."
    return Item(Level.WARNING, key, title, text, value=count)


def _operations(
    servers: Sequence[ServerStatus], facts: DatabaseFacts, limits: Limits, now: float
) -> Iterator[Item]:
    for name, limit in limits.operations.items():
        operation = facts.operations.get(name)
        if operation is not None:
            yield _operation(operation, limit, now)
        elif _applies(name, servers, facts):
            advice = "" if limit.never is Level.OK else f": {limit.advice}"
            yield Item(limit.never, str(name), limit.title, f"None is known{advice}.")


def _applies(name: OperationName, servers: Sequence[ServerStatus], facts: DatabaseFacts) -> bool:
    """Whether an operation that there never was is missed."""
    if name is OperationName.BACKUP_VERIFICATION:  # without a backup that is said already
        return OperationName.BACKUP in facts.operations
    if name is OperationName.VERIFICATION:
        return any(server.role == REPLICA for server in servers)
    return True


def _operation(operation: Operation, limit: OperationLimits, now: float) -> Item:
    age = max(0.0, now - operation.finished)
    said = f" ({_without_stop(operation.text)})" if operation.text else ""
    where = f" on {operation.host}" if operation.host else ""
    if not operation.ok:
        level = limit.failed
        text = f"It failed {duration(age)} ago{where}{said}: {limit.advice}."
    else:
        never = float("inf")
        level = by_limits(
            age,
            never if limit.warning is None else limit.warning,
            never if limit.critical is None else limit.critical,
        )
        advice = "" if level is Level.OK else f": {limit.advice}"
        text = f"It ended well {duration(age)} ago{where}{said}{advice}."
    return Item(level, str(operation.name), limit.title, text, value=age, unit="s")


def _without_stop(text: str) -> str:
    return text.strip().rstrip(".")
