"""How often should negatives be mined again?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="How often is it worth mining again with the model as it learns?",
    vary=(Dimension("strategy.refresh", choices=(10, 25, 50)),),
    strategies=("ance strategy.kind=ce strategy.n=7",),
    seeds=(1, 2, 3),
    protocol="grid",
)
