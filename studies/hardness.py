"""How hard should mined negatives be?"""

from studies.base import StudySpec, knob

STUDY = StudySpec(
    asks="Which ranks of a search, and how far below the positive's score, make the best mined negatives?",
    vary=(knob("first"), knob("last"), knob("relative_margin")),
    strategies=("mined_hard",),
)
