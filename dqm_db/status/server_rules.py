"""What is fine, a warning or critical about the servers: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dqm_db.server_answers import ServerAnswer
from dqm_db.status.limits import Limits
from dqm_db.status.model import PRIMARY, REPLICA, Item, Level, OwnCertificate, ServerStatus
from dqm_db.status.words import duration, size, utc

SAME_EVERYWHERE = ("nectarcam-dqm", "ZODB", "ZEO", "zc.zrs")
"""Releases that should be the same on all servers."""

WAITING = "waiting"
"""What a demoted server does until its successor is promoted, in place of what it says itself."""

_RENEW_AUTHORITY = "renew it where it is made, with dqm certs ca --renew"


def judge_servers(servers: Sequence[ServerStatus], limits: Limits, now: float) -> Iterator[Item]:
    """Everything about the servers; *now* is when they were asked, unix seconds."""
    if not servers:
        yield Item(Level.OK, "servers", "Servers", "There are none: the database is read without.")
        return
    yield _primary(servers)
    yield from _epochs(servers)
    yield from _versions(servers)
    is_led = any(server.role == PRIMARY for server in servers)
    for server in servers:
        if server.answer is None:
            # What speaks, but no ZEO or no TLS that fits, says itself what to do.
            is_silent = server.error.startswith("It ")
            advice = "; see whether its host and its service run" if is_silent else ""
            yield Item(
                Level.CRITICAL,
                "server-answers",
                "Server",
                f"{server.error}{advice}.",
                server.address,
            )
            continue
        yield Item(Level.OK, "server-answers", "Server", "It answers.", server.address)
        yield from _one(server, server.answer, is_led, limits, now)


def _one(
    server: ServerStatus, answer: ServerAnswer, is_led: bool, limits: Limits, now: float
) -> Iterator[Item]:
    if server.role == REPLICA:
        yield _lag(server, limits)
        yield from _following(server.address, answer, is_led)
    elif server.role == PRIMARY and answer.fence_state == "demoted":
        yield Item(
            Level.CRITICAL,
            "fence",
            "Role",
            "It was demoted and accepts no writes: promote a replica with dqm promote.",
            server.address,
        )
    elif server.role == PRIMARY and answer.asks == 0 and (answer.epoch or 0) > 0:
        # roles have changed before, and a former primary may come back
        yield Item(
            Level.WARNING,
            "fence",
            "Role",
            "It knows of no other server, so that it would not hear of another primary: set "
            "DQM_SERVERS, the same on all hosts, and restart it.",
            server.address,
        )
    yield from _disk(server.address, answer, limits)
    yield from _aside(server.address, answer, limits)
    yield from _certificate(server.address, answer, limits, now)
    yield from _clock(server.address, answer, limits, now)


def _primary(servers: Sequence[ServerStatus]) -> Item:
    title = "Primary"
    primaries = [server.address for server in servers if server.role == PRIMARY]
    if len(primaries) == 1:
        return Item(Level.OK, "primary", title, f"It is {primaries[0]}.", value=primaries[0])
    if primaries:
        both = " and ".join(primaries)
        text = (
            f"{both} all say that they are the primary: stop the one that should not be, "
            "and let it follow the other with dqm demote, or dqm resync."
        )
        return Item(Level.CRITICAL, "primary", title, text, value=both)
    silent = [server.address for server in servers if server.answer is None]
    untold = [server.address for server in servers if server.answer and server.role is None]
    if untold:
        text = f"{', '.join(untold)} does not tell its role: name the primary with DQM_PRIMARY_ZEO."
        return Item(Level.UNKNOWN, "primary", title, text)
    if silent:
        text = (
            f"No server that answers is the primary, and {', '.join(silent)} does not answer: "
            "nothing can be stored. Start it, or promote a replica with dqm promote."
        )
    else:
        text = (
            "None of the servers is the primary: nothing can be stored. Name all servers with "
            "DQM_SERVERS, or promote a replica with dqm promote."
        )
    return Item(Level.CRITICAL, "primary", title, text)


def _epochs(servers: Sequence[ServerStatus]) -> Iterator[Item]:
    told = [
        (server, server.answer.epoch)
        for server in servers
        if server.answer is not None and server.answer.epoch is not None
    ]
    if not told:
        return
    epochs = {epoch for _, epoch in told}
    newest = max(epochs)
    if len(epochs) == 1:
        yield Item(Level.OK, "epoch", "Epoch", f"All servers are in epoch {newest}.", value=newest)
        return
    for server, epoch in told:
        if epoch == newest:
            continue
        if server.role == PRIMARY:
            level = Level.CRITICAL
            text = (
                f"A former primary, of epoch {epoch} where there is {newest}: what is written to "
                "it is lost. Let it follow today's with dqm demote on its host, and if it is "
                "refused then, begin anew with dqm resync."
            )
        else:
            level = Level.WARNING
            text = (
                f"In epoch {epoch} where there is {newest}: it has not got the change of the "
                "primary yet. If that lasts, let it follow the new one with dqm demote on its host."
            )
        yield Item(level, "epoch", "Epoch", text, server.address, epoch)


def _versions(servers: Sequence[ServerStatus]) -> Iterator[Item]:
    telling = [server.answer for server in servers if server.answer and server.answer.versions]
    if len(telling) < 2:
        return
    differing = []
    for name in SAME_EVERYWHERE:
        found = sorted({answer.versions[name] for answer in telling if name in answer.versions})
        if len(found) > 1:
            differing.append(f"{name} ({', '.join(found)})")
    if differing:
        text = (
            f"Servers run different releases of {', '.join(differing)}: "
            "install the same on all, replicas first."
        )
        yield Item(Level.WARNING, "versions", "Releases", text, value=", ".join(differing))
    else:
        yield Item(Level.OK, "versions", "Releases", "All servers run the same.")


def _lag(server: ServerStatus, limits: Limits) -> Item:
    key, title, lag = "replica-lag", "Lag", server.lag_seconds
    if lag is None:
        text = "Not known: there is no primary to compare it with."
        return Item(Level.UNKNOWN, key, title, text, server.address)
    if lag == 0:
        return Item(Level.OK, key, title, "It has all of the primary.", server.address, 0.0, "s")
    lacking = "" if server.lag_bytes is None else f", and lacks {size(server.lag_bytes)}"
    text = f"Its last transaction is {duration(lag)} old{lacking}"
    level = by_limits(lag, limits.lag_warning, limits.lag_critical)
    advice = "." if level is Level.OK else ": see whether it can reach whom it follows."
    return Item(level, key, title, f"{text}{advice}", server.address, lag, "s")


def _following(address: str, answer: ServerAnswer, is_led: bool) -> Iterator[Item]:
    key, title = "following", "Follows"
    if answer.following is None:
        return
    source, value = answer.source or "its source", answer.following
    why = f" ({answer.reason})" if answer.reason else ""
    if answer.following == "connected":
        level, text = Level.OK, f"It follows {source}."
    elif answer.fence_state == "demoted" and not is_led:
        # It refuses whom it follows, or is refused, until that one is promoted: nothing diverged.
        level, value = Level.WARNING, WAITING
        text = f"It was demoted and waits for dqm promote on {source}{why}."
    elif answer.following == "refused":
        level = Level.CRITICAL
        text = f"{source} refuses it{why}: it has diverged; run dqm resync on its host."
    else:
        level = Level.WARNING
        heard = "" if answer.heard is None else f", heard last at {utc(answer.heard)} UTC"
        text = (
            f"It does not reach {source}{why}{heard}: "
            "see whether that server and the network are up."
        )
    yield Item(level, key, title, text, address, value)


def _disk(address: str, answer: ServerAnswer, limits: Limits) -> Iterator[Item]:
    if answer.disk_free is None or not answer.disk_total:
        return
    free = min(1.0, answer.disk_free / answer.disk_total)
    level = by_limits(-free, -limits.disk_warning, -limits.disk_critical)
    advice = "" if level is Level.OK else ": make space, remove what was set aside, or run dqm pack"
    text = f"{size(answer.disk_free)} of {size(answer.disk_total)} ({free:.0%}) are free{advice}."
    yield Item(level, "disk", "Disk", text, address, free, "fraction")


def _aside(address: str, answer: ServerAnswer, limits: Limits) -> Iterator[Item]:
    if not answer.aside_bytes:
        return
    part = answer.aside_bytes / answer.disk_total if answer.disk_total else 0.0
    level = Level.WARNING if part >= limits.aside_warning else Level.OK
    text = (
        f"{size(answer.aside_bytes)} are in files that were set aside: "
        "remove them when nothing in them is needed."
    )
    yield Item(level, "aside", "Set aside", text, address, answer.aside_bytes, "bytes")


def _certificate(address: str, answer: ServerAnswer, limits: Limits, now: float) -> Iterator[Item]:
    end, authority_end = answer.certificate_expires, answer.authority_expires
    if end is not None:
        advice = f"{_first(end, authority_end)}make a new one with dqm certs, and restart."
        level, text, left = _validity("It", end, advice, limits, now)
        yield Item(level, "certificate", "Certificate", text, address, left, "s")
    if authority_end is not None:
        advice = f"{_RENEW_AUTHORITY}, copy ca.pem to its host and all others, and restart."
        level, text, left = _validity("The CA that it has", authority_end, advice, limits, now)
        yield Item(level, "authority", "Certificate of the CA", text, address, left, "s")


def judge_own_certificate(own: OwnCertificate, limits: Limits, now: float) -> Iterator[Item]:
    """Those of the host that asks: without them, its pulls and pages reach no server any more."""
    name = f"{own.path} of {own.host}, which asks,"
    advice = (
        f"{_first(own.expires, own.authority_expires)}renew it with dqm certs host --renew where "
        f"the CA is, copy it to {own.host}, and restart what uses it there."
    )
    level, text, left = _validity(name, own.expires, advice, limits, now)
    yield Item(level, "own-certificate", "Certificate of this host", text, value=left, unit="s")
    name = f"The CA in {own.authority_path} of {own.host}, which asks,"
    advice = (
        f"{_RENEW_AUTHORITY}, copy ca.pem to {own.host} and all other hosts, and restart what uses "
        "it there."
    )
    level, text, left = _validity(name, own.authority_expires, advice, limits, now)
    yield Item(level, "own-authority", "CA of this host", text, value=left, unit="s")


def _first(end: float, authority_end: float | None) -> str:
    """What to do before a certificate is renewed: none lasts longer than the CA."""
    return "" if authority_end is None or end < authority_end else "renew the CA first, then "


def _validity(
    name: str, expires: float, advice: str, limits: Limits, now: float
) -> tuple[Level, str, float]:
    """Level and text of a certificate, and for how many seconds it is valid."""
    left = expires - now
    level = by_limits(-left, -limits.certificate_warning, -limits.certificate_critical)
    if left <= 0:
        text = f"{name} has ended at {utc(expires)} UTC: {advice}"
    elif level is Level.OK:
        text = f"{name} is valid for {duration(left)}."
    else:
        text = f"{name} ends in {duration(left)}, at {utc(expires)} UTC: {advice}"
    return level, text, left


def _clock(address: str, answer: ServerAnswer, limits: Limits, now: float) -> Iterator[Item]:
    if answer.now is None:
        return
    off = answer.now - now
    if abs(off) <= limits.clock_warning:
        return
    text = (
        f"Its clock is {duration(abs(off))} {'ahead' if off > 0 else 'behind'}: "
        "see to its time service; times and ages are wrong by as much."
    )
    yield Item(Level.WARNING, "clock", "Clock", text, address, off, "s")


def by_limits(value: float, warning: float, critical: float) -> Level:
    """The level of *value*, which is bad when it is above a limit."""
    if value > critical:
        return Level.CRITICAL
    return Level.WARNING if value > warning else Level.OK


def worst_first(items: Iterable[Item]) -> tuple[Item, ...]:
    """*items* by their level, otherwise as they come."""
    order = list(Level)
    return tuple(sorted(items, key=lambda item: -order.index(item.level)))
