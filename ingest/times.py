"""unix_tai seconds, as results files hold them, and UTC."""

from __future__ import annotations

import math
import warnings

from astropy.time import Time
from astropy.utils import iers

_YEAR_9999 = 253_402_300_799.0


def tai_minus_utc(unix_tai: float) -> float | None:
    """Seconds to subtract from times near *unix_tai* to get unix UTC; 37 since 2017.

    Uses the leap seconds that come with astropy and never the network. None for times that cannot
    be converted (not finite, before 1972, after 9999). For the date of the time in UTC, so that
    it does not change within a leap second.
    """
    if not math.isfinite(unix_tai) or not 63_072_010 <= unix_tai <= _YEAR_9999:
        return None
    with warnings.catch_warnings(), iers.conf.set_temp("auto_download", False):
        warnings.simplefilter("ignore")  # "dubious year": later than the newest leap second known
        day = Time(unix_tai, format="unix_tai").utc.ymdhms
        # not `.unix`, which stretches days that have a leap second
        leap = iers.LeapSeconds.from_erfa()
    before = leap["year"] * 12 + leap["month"] <= day["year"] * 12 + day["month"]
    return float(leap["tai_utc"][before][-1])
