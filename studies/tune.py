"""What are the best knobs of one strategy?"""

from bench.study.question import EVERY_KNOB, Question

QUESTION = Question(
    asks="Which knobs does this strategy want on this data, and are they better than its defaults?",
    vary=(EVERY_KNOB,),
    strategies=("mined_hard",),
)
