"""The facts of the run header strip, as JSON; ``static/header.js`` puts them into words."""

from __future__ import annotations

from typing import Any

from dqm_app.plots.numbers import moment
from dqm_db.content import RunHeader


def facts(header: RunHeader) -> dict[str, Any]:
    """What the strip above all views shows of a run.

    Times are Unix seconds in UTC, sizes bytes; ``None`` where the file does not say, or says what
    is no time.
    """
    times, events, origin = header.times, header.events, header.provenance
    modules = header.absent_modules
    return {
        "camera": header.camera,
        "run": header.run,
        "start": moment(times.run_start),
        "first_event": moment(times.first_event),
        "last_event": moment(times.last_event),
        "events": {
            "total": events.total,
            "physical": events.physical,
            "pedestal": events.pedestal,
            "other": events.other,
            "wrong_time": events.wrong_time,
        },
        "absent_modules": modules.tolist(),
        "absent_pixels": len(header.absent_pixels),
        "bad_pixels": header.bad_pixels,
        "source": origin.source,
        "source_size": origin.source_size,
        "results_name": origin.results_name,
        "results_size": origin.results_size,
        "sha256": origin.results_sha256,
        "ingested_at": origin.ingested_at,
        "parser_version": origin.parser_version,
        "notes": list(header.notes),
    }
