"""What are the best knobs of one strategy?"""

from studies.base import EVERY_KNOB, StudySpec

STUDY = StudySpec(
    asks="Which knobs does this strategy want on this data, and are they better than its defaults?",
    vary=(EVERY_KNOB,),
    strategies=("mined_hard",),
)
