"""Which strategy, when each has been tuned with the same number of trials?"""

from studies.base import EVERY_KNOB, Dimension, StudySpec

STUDY = StudySpec(
    asks="Which strategy is best on this data when all are tuned with equal effort?",
    vary=(Dimension("train.lr", low=1e-5, high=3e-3, log=True), EVERY_KNOB),
    strategies=("in_batch", "mnr", "hardest_neg", "queue", "random_global", "mined_hard", "bm25_hard"),
    trials=16,
)
