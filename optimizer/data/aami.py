"""MIT-BIH as the field uses it: beat classes, the two patient sets, which lead."""

from collections.abc import Mapping, Sequence

# ANSI/AAMI EC57:2012, table 3: annotation symbol -> class.
AAMI_CLASSES: Mapping[str, str] = {
    **dict.fromkeys("NLRej", "N"),
    **dict.fromkeys("AaJS", "S"),
    **dict.fromkeys("VE", "V"),
    **dict.fromkeys("F", "F"),
    **dict.fromkeys("/fQ", "Q"),
}
LABELS = ("N", "S", "V", "F", "Q")

# De Chazal et al., IEEE Trans. Biomed. Eng. 51(7), 2004: no patient is in both; the paced
# records 102, 104, 107 and 217 are in neither.
DS1 = (
    "101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122",
    "124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230",
)  # fmt: skip
DS2 = (
    "100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210",
    "212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234",
)  # fmt: skip
PACED = ("102", "104", "107", "217")
RECORDS = tuple(sorted(DS1 + DS2 + PACED))
RATE_HZ = 360.0
LEAD = "MLII"


def choose_lead(leads: Sequence[str]) -> int:
    """Return which lead of a record to read: MLII where it is, otherwise the first."""
    return leads.index(LEAD) if LEAD in leads else 0
