"""Which pooling?"""

from bench.study.question import Dimension, Question

QUESTION = Question(
    asks="Which pooling makes the best embedding once it is trained?",
    vary=(Dimension("encoder.pooling", choices=("mean", "cls", "first_last_mean")),),
    strategies=("in_batch",),
    seeds=(1, 2, 3),
    protocol="grid",
    differs=("encoder",),
)
