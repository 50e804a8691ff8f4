"""How many in-batch negatives, when the texts that are encoded are the same number?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Is a larger batch, with more negatives and fewer steps, worth it at equal encoded texts?",
    vary=(Dimension("train.batch_size", choices=(8, 32, 128)),),
    strategies=("mnr",),
    # The gradient cache encodes every text twice, so 12,800 are 100 steps of 32 pairs.
    hold=("budget.texts=12800", "train.micro_batch=64", "train.eval_every=0", "encoder.max_passage_tokens=64"),
    seeds=(1, 2, 3),
    protocol="grid",
)
