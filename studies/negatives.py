"""How many random negatives: in the pool of a query, and in its group at a step?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Are 50 random negatives a query better than 10 (the documents' neg50 and neg10), and 7 a step better than 1?",
    vary=(Dimension("strategy.pool", choices=(10, 50)), Dimension("strategy.group", choices=(2, 8))),
    strategies=("random_global",),
    seeds=(1, 2, 3),
    protocol="grid",
)
