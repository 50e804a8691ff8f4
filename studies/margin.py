"""How large a margin?"""

from studies.base import StudySpec, knob

STUDY = StudySpec(
    asks="Which margin does the loss want on this data, and is it better than the published one?",
    vary=(knob("margin"),),
    strategies=("in_batch",),
)
