"""How often should negatives be mined again?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Is it worth mining again with the model as it learns, and how often?",
    vary=(Dimension("strategy.refresh", choices=(25, 50, 100)),),
    strategies=("ance strategy.kind=ce strategy.n=7",),
    seeds=(1, 2, 3),
    protocol="grid",
)
