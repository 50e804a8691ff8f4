"""What of mining matters: the number of negatives, the first rank, the threshold, or the scale?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Which of these settings of mining changes recall on this data: the number of negatives, the first rank, the "
    "threshold below the positive's score, the scale?",
    vary=(
        Dimension("strategy.n", choices=(1, 4)),
        Dimension("strategy.first", choices=(0, 30)),
        Dimension("strategy.relative_margin", choices=(None, 0.05)),
        Dimension("strategy.scale", choices=(20.0, 50.0)),
    ),
    strategies=("mined_hard",),
    seeds=(1, 2),
    protocol="grid",
)
