import pytest
from astropy.units import Unit

from dqm_db.checks.known import known_checks
from dqm_db.quantities import known_quantities
from dqm_db.units import known_units, standard_unit


def test_all_units_of_quantities_and_checks_are_known():
    infos = known_quantities().values()
    words = {info.unit for info in infos} | {check.unit for check in known_checks().values()}
    words |= {column.unit for info in infos for column in info.columns.values()}
    assert words - {""} <= set(known_units())


@pytest.mark.parametrize("unit", sorted(set(known_units().values()) - {""}))
def test_they_are_units_of_astropy(unit):
    assert Unit(unit, parse_strict="raise").to_string() == unit


def test_words_of_others_have_none():
    assert (standard_unit("ADC counts"), standard_unit(""), standard_unit("x")) == ("adu", "", "")
