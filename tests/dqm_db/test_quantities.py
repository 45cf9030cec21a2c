from dqm_db.content import Kind
from dqm_db.quantities import TimeScale, describe, known_quantities

GAINS = ("HIGH", "LOW")


def test_every_family_is_expanded_to_all_combinations():
    names = list(known_quantities())
    assert len(names) == len(set(names)) == 73
    for gain in GAINS:
        for events in ("IMAGE", "PED"):
            for stat in ("AVERAGE", "MEDIAN", "STD", "RMS"):
                assert f"CHARGE-INTEGRATION-{events}-ALL-{stat}-{gain}-GAIN" in names
                assert f"PED-INTEGRATION-{events}-ALL-{stat}-{gain}-GAIN" in names


def test_class_and_gain_are_known():
    info = describe("CHARGE-INTEGRATION-IMAGE-ALL-MEDIAN-LOW-GAIN")
    assert (info.event_class, info.gain, info.kind) == ("PHY", "LOW", Kind.PIXEL_MAP)
    assert info.title == "Charge median, non-pedestal events, low gain"
    assert info.pixel_order == "present"


def test_derived_quantities_name_a_known_source():
    derived = [info for info in known_quantities().values() if info.derived_from]
    assert len(derived) == 8
    for info in derived:
        source = describe(info.derived_from)
        assert source.kind is Kind.PIXEL_MAP
        assert (source.gain, source.event_class) == (info.gain, info.event_class)


def test_every_title_is_unique_and_without_left_over_placeholders():
    titles = [info.title for info in known_quantities().values()]
    assert len(titles) == len(set(titles))
    assert not [title for title in titles if "{" in title]


def test_columns_differ_from_their_quantity_where_the_file_says_so():
    start = describe("START-TIMES")
    assert start.column("Run start time").time_scale is TimeScale.UTC
    assert start.column("Last event").time_scale is TimeScale.TAI
    assert start.column("Something else").time_scale is None
    wrong = describe("TRIGGER-EVENTS-WRONG")
    assert wrong.column("Timestamps").time_scale is TimeScale.TAI
    timeline = describe("CAMERA-BADPIXTIMELINE-PED-HIGH-GAIN")
    assert timeline.column("of_class").title == "Whether the event is one of the pedestal events"
    assert (timeline.column("of_class").unit, timeline.column("x").unit) == ("", timeline.unit)


def test_an_unknown_name_is_described_as_generic():
    info = describe("SOMETHING-NEW")
    assert (info.kind, info.title) == (Kind.GENERIC, "SOMETHING-NEW")
