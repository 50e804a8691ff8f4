"""How sharp a softmax?"""

from bench.study.question import Question, knob

QUESTION = Question(
    asks="Which scale (one over the temperature) does the softmax want on this data?",
    vary=(knob("scale"),),
    strategies=("mnr", "mined_hard"),
)
