"""How many random negatives: in the pool of a query (an article on FlagEmbedding has 10 and 50), and at a step?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Is a pool of 50 random negatives a query better than one of 10, and are 7 a step better than 1?",
    vary=(Dimension("strategy.pool", choices=(10, 50)), Dimension("strategy.group", choices=(2, 8))),
    strategies=("random_global",),
    seeds=(1, 2, 3),
    protocol="grid",
)
