"""Which pooling?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Which pooling makes the best embedding once it is trained?",
    vary=(Dimension("encoder.pooling", choices=("mean", "cls", "first_last_mean")),),
    strategies=("in_batch",),
    seeds=(1, 2, 3),
    protocol="grid",
    differs=("encoder",),
)
