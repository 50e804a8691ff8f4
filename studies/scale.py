"""How sharp a softmax?"""

from studies.base import StudySpec, knob

STUDY = StudySpec(
    asks="Which scale (one over the temperature) does the softmax want on this data?",
    vary=(knob("scale"),),
    strategies=("mnr", "mined_hard"),
)
