"""How hard should mined negatives be?"""

from bench.study.question import Question, knob

QUESTION = Question(
    asks="Which ranks of a search, and how far below the positive's score, make the best mined negatives?",
    vary=(knob("first"), knob("last"), knob("relative_margin")),
    strategies=("mined_hard",),
)
