"""How large a margin?"""

from bench.study.question import Question, knob

QUESTION = Question(
    asks="Which margin does the loss want on this data, and is it better than the documented one?",
    vary=(knob("margin"),),
    strategies=("in_batch",),
)
