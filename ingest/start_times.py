"""Columns of START-TIMES: the start of the run is UTC, first and last event are unix_tai."""

RUN_START = "Run start time"
FIRST_EVENT = "First event"
LAST_EVENT = "Last event"
