"""Does it help to train on generated queries as well?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="Does it help retrieval to train on 1 or 3 generated queries for each query as well, at equal encoded texts?",
    # The file with the queries (bench generate --out) is given by data.generated=FILE. Generating is not in the cost.
    vary=(Dimension("data.generated_per_query", choices=(0, 1, 3)),),
    strategies=("in_batch",),
    hold=("budget.texts=25600", "train.eval_every=0"),
    seeds=(1, 2, 3),
    protocol="grid",
    differs=("data",),
)
