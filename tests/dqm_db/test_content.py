import pytest

from dqm_db.content import EventCounts


@pytest.mark.parametrize(
    ("counts", "physics", "pedestals"),
    [
        (EventCounts(298, 254, 24, 20, 1), 276, 24),  # run 6001 has 300 events
        (EventCounts(19996, 16972, 2001, 1023, 3), 17999, 2001),  # run 7001 has 20,000
        (EventCounts(198, 186, 0, 12, 1), 200, 0),
        (EventCounts(49, 0, 49, 0, 0), 0, 50),
        (EventCounts(0, 0, 0, 0, 0), 0, 0),
        (EventCounts(), None, None),
        (EventCounts(pedestal=5), None, 5),
    ],
)
def test_events_of_a_class(counts, physics, pedestals):
    assert counts.of_class("PHY") == physics
    assert counts.of_class("PED") == pedestals
    assert counts.of_class("ANY") is None
