"""Is a stage of unsupervised SimCSE worth its half of the budget?"""

from studies.base import StudySpec

STUDY = StudySpec(
    asks="Is SimCSE on the corpus and then in-batch negatives better than in-batch negatives all along?",
    vary=(),
    strategies=("in_batch", "simcse_ibn strategy.simcse.texts=corpus"),
    seeds=(1, 2, 3),
    protocol="grid",
)
