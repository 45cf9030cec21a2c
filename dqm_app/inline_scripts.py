"""The scripts that stand in the page itself, and the headers by which browsers run no others.

What an attacker smuggles into the page does not run, since browsers are told what our own scripts
are: files of this server, and inline ones with these SHA-256. BokehJS compiles text to code for
models of its own that we do not use (``CustomJS`` and its kin), so nothing needs ``unsafe-eval``;
its style sheets are ``<style>`` elements that change, which only ``unsafe-inline`` permits. Styles
cannot send anything away: all that is loaded comes from this server.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Mapping
from importlib import resources

from dqm_app.assets import addresses


@functools.cache
def first_paint() -> str:
    """The script that runs before anything is painted."""
    return resources.files("dqm_app").joinpath("data/first_paint.js").read_text("utf-8")


@functools.cache
def import_map(assets: str) -> str:
    """The version of each script below the path *assets* that others get when they import it."""
    files = addresses("js").items()
    imports = {f"{assets}/{name}": f"{assets}/{file}" for name, file in files}
    return json.dumps({"imports": imports}, separators=(",", ":"))


@functools.cache
def content_security_policy(assets: str) -> str:
    """``Content-Security-Policy`` of the page whose scripts are below the path *assets*."""
    own = " ".join(_source(script) for script in (first_paint(), import_map(assets)))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' {own}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


@functools.cache
def form_page_policy() -> str:
    """``Content-Security-Policy`` of pages with forms, which have no script but the first one."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_source(first_paint())}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data:",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


def page_headers(policy: str) -> Mapping[str, str]:
    """What browsers, and proxies on the way, are told of a page of one user; with this *policy*."""
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


def _source(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
