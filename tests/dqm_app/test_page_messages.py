"""What pages may say: nothing that Bokeh would have to unpack, make or look up."""

from __future__ import annotations

import json

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Range1d, Spacer
from hypothesis import given
from hypothesis import strategies as st

from dqm_app.bridge import Page, Request
from dqm_app.page_messages import PATCH, PULL, NotOfAPage, read_header, wanted_changes

BYTES = {"type": "bytes", "data": "H4sIAAAAAAAA/w=="}
MADE = {"type": "object", "name": "Range1d", "id": "new", "attributes": {"start": BYTES}}
ARRAY = {"type": "ndarray", "array": BYTES, "shape": [10**12], "dtype": "float64", "order": "big"}
ODD = [None, True, [], {}, BYTES, MADE, ARRAY, {"id": "p1"}, [BYTES], [[0]], 10**400, "[" * 99_000]


def filled() -> tuple[Document, dict[str, str]]:
    """A document, and the identities of its models."""
    document = Document()
    source = ColumnDataSource(data={"x": [1]})
    models = {
        "request": Request(name="request"),
        "page": Page(name="page"),
        "range": Range1d(start=0, end=1),
        "asked": Spacer(name="asked"),
        "source": source,
        "selection": source.selected,
    }
    for name, model in models.items():
        if name != "selection":
            document.add_root(model)
    return document, {name: model.id for name, model in models.items()}


DOCUMENT, IDS = filled()


def change(model: str, attr: object, new: object, **more: object) -> dict:
    """An event."""
    event = {"kind": "ModelChanged", "model": {"id": IDS.get(model, model)}, "attr": attr}
    return event | {"new": new} | more


def wanted(*events: object) -> list:
    """What is left of them."""
    return wanted_changes({"events": list(events)}, DOCUMENT)


GOOD = [
    change("request", "address", '{"seq": 1, "query": {"run": "3"}, "theme": "light"}'),
    change("request", "search", '{"seq": 1, "camera": null, "text": ""}'),
    change("request", "failures", '{"seq": 1, "camera": ""}'),
    change("request", "heartbeat", 7),
    change("range", "start", -1.5),
    change("range", "end", 10**20),
    change("range", "end", {"type": "number", "value": "+inf"}),
    change("selection", "indices", [1, 2, 1854]),
    change("asked", "tags", [{"type": "map", "entries": [["row", 3], ["number", 1]]}]),
]


@pytest.mark.parametrize("event", GOOD, ids=lambda event: event["attr"])
def test_what_pages_say_is_applied(event):
    assert wanted(event | {"hint": BYTES}) == [event]
    document, ids = filled()
    names = {identity: name for name, identity in IDS.items()}
    moved = event | {"model": {"id": ids[names[event["model"]["id"]]]}}
    document.apply_json_patch({"events": wanted_changes({"events": [moved]}, document)})


@pytest.mark.parametrize("event", GOOD, ids=lambda event: event["attr"])
@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_values_that_pages_never_send(event, value):
    if event["attr"] == "indices" and value == []:
        value = [{}]
    with pytest.raises(NotOfAPage):
        wanted(event | {"new": value})


@pytest.mark.parametrize(
    "text",
    [
        *('{"seq": 1}', '{"seq": 1, "query": []}', '{"seq": "1", "query": {}}', '{"query": {}}'),
        *("[]", "1", "{", '{"seq": 1e999, "query": {}}', '{"seq": true, "query": {}}'),
    ],
)
def test_addresses_that_are_none(text):
    with pytest.raises(NotOfAPage):
        wanted(change("request", "address", text))


@pytest.mark.parametrize(
    "event",
    [
        change("page", "state", BYTES),
        change("source", "data", {"x": ARRAY}),
        change("source", "selected", MADE),
        change("range", "inner_width", 300),
        change("request", "name", "page"),
        change("unknown", "address", BYTES),
        {"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": MADE},
    ],
    ids=lambda event: event.get("attr", event["kind"]),
)
def test_what_nobody_listens_to_is_left_out_unread(event):
    assert wanted(event, GOOD[0]) == [GOOD[0]]


@pytest.mark.parametrize(
    "event",
    [
        {"kind": "RootAdded", "model": MADE},
        {"kind": "TitleChanged", "title": BYTES},
        {"kind": "ColumnsStreamed", "model": {"id": IDS["source"]}, "data": {"x": ARRAY}},
        {"kind": "ColumnDataChanged", "model": {"id": IDS["source"]}, "data": {"x": ARRAY}},
        {"kind": "ModelChanged"},
        {"kind": ["ModelChanged"]},
        change("request", ["address"], ""),
        change("request", "address", "") | {"model": MADE | {"id": {}}},
        *(None, [], 3, "x"),
    ],
    ids=str,
)
def test_events_that_pages_never_send(event):
    with pytest.raises(NotOfAPage):
        wanted(GOOD[0], event)


@pytest.mark.parametrize("content", [None, [], {}, {"events": {}}, {"events": "x"}, 1], ids=str)
def test_contents_that_are_none(content):
    with pytest.raises(NotOfAPage):
        wanted_changes(content, DOCUMENT)


def test_headers():
    assert read_header(json.dumps({"msgid": "1", "msgtype": PATCH}), "{}") == PATCH
    assert read_header(json.dumps({"msgid": "1", "msgtype": PULL, "num_buffers": 0}), "{}") == PULL
    for kind in (
        "PUSH-DOC",
        "SERVER-INFO-REQ",
        "ACK",
        "OK",
        "ERROR",
        "PULL-DOC-REPLY",
        "",
        None,
        [],
    ):
        with pytest.raises(NotOfAPage):
            read_header(json.dumps({"msgtype": kind}), "{}")
    for header, metadata in (
        (json.dumps({"msgtype": PATCH, "num_buffers": 1}), "{}"),
        (json.dumps({"msgtype": PATCH}), " " * 1000),
        ("[]", "{}"),
        ("{}", "{}"),
    ):
        with pytest.raises(NotOfAPage):
            read_header(header, metadata)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "id", "kind", "model", "attr", "new", "events", "entries"])
            | st.text(max_size=4),
            inner | st.sampled_from(["ModelChanged", "map", "number", "bytes", *IDS.values()]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_whatever_comes_is_known_or_refused(value):
    for content in (value, {"events": value}, {"events": [value]}):
        try:
            found = wanted_changes(content, DOCUMENT)
        except NotOfAPage:
            continue
        assert all(set(change) == {"kind", "model", "attr", "new"} for change in found)


@given(st.sampled_from(GOOD), json_values)
def test_a_change_that_is_let_through_can_be_applied(event, value):
    try:
        changes = wanted(event | {"new": value})
    except NotOfAPage:
        return
    DOCUMENT.apply_json_patch({"events": changes})
