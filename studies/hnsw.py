"""What does an HNSW index lose, and for how much time, by which engine?"""

from studies.base import Dimension, StudySpec

STUDY = StudySpec(
    asks="How much recall does each HNSW engine lose at which M and ef, and how much search time does it save, with an "
    "encoder that is not trained (budget.steps=100 trains it first)?",
    vary=(
        Dimension("index.engine", choices=("hnswlib", "faiss", "usearch")),
        Dimension("index.m", choices=(8, 32, 100)),
        Dimension("index.ef", choices=(50, 100, 400)),
    ),
    strategies=("mnr",),
    hold=("train.max_steps=0", "eval.untrained=false", "encoder.max_passage_tokens=64"),
    seeds=(1, 2, 3),
    protocol="grid",
    differs=("evaluation",),
)
