"""Which pooling and which post-processing, of an encoder that is not trained?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Which pooling, raw or whitened, orders pairs of sentences best, with an encoder that is not trained?",
    vary=(
        Dimension("encoder.pooling", choices=("cls", "pooler_linear", "mean", "first_last_mean")),
        Dimension("encoder.post", choices=("none", "whitening", "whitening-256")),
    ),
    strategies=("mnr",),
    # As RoFormer-Sim's tables (P1 to P4): whitening is fitted on all texts of each task, those of test included.
    hold=("train.max_steps=0", "eval.untrained=false", "encoder.post_on=task"),
    protocol="grid",
    differs=("encoder",),
)
