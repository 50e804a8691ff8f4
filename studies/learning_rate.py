"""Which strategy, when each has its own learning rate, at equal texts encoded?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Which strategy is best at equal encoded texts when each has the learning rate that suits it?",
    vary=(Dimension("train.lr", low=2e-5, high=3e-3, log=True),),
    strategies=("in_batch", "mined_hard"),
    # Strategies that encode more texts a step get fewer steps, and fewer steps want a higher rate.
    hold=("budget.texts=100000", "train.eval_every=0", "encoder.max_passage_tokens=64"),
    trials=6,
)
