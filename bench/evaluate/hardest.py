"""The hardest queries of an evaluation as text: the query, its labelled passages, and what was retrieved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from bench.data import DataSet

LONGEST = 400  # characters of a text that are kept
WANTED, INSTEAD = 2, 3  # passages that are kept as text


def hardest_queries(data: DataSet, split: str, ranks: pd.DataFrame, count: int) -> list[dict[str, Any]]:
    """The ``count`` queries whose first relevant passage ranks lowest, by exact search; worst first.

    ``ranks`` are the items of :func:`bench.evaluate.retrieval.evaluate` for that split. Of queries for which none was
    retrieved, those whose best passage scores highest come first: there the model was confident and wrong.
    Each has ``row`` (in ``ranks``), ``query``, ``rank`` (or None), ``relevant`` (texts) and ``retrieved`` (texts with
    ``score``).
    """
    far = ranks["exact/rank"].fillna(np.iinfo(np.int64).max).to_numpy(dtype=np.int64)
    scores = np.array([row[0] for row in ranks["exact/scores"]])
    worst = np.lexsort((-scores, -far))[:count]
    relevant = data.splits[split].relevant
    return [
        {
            "row": int(row),
            "query": data.queries[ranks["query"][row]][:LONGEST],
            "rank": None if pd.isna(ranks["exact/rank"][row]) else int(ranks["exact/rank"][row]),
            "relevant": [data.passages[p][:LONGEST] for p in relevant[row][:WANTED]],
            "retrieved": [
                {"text": data.passages[p][:LONGEST], "score": float(score)}
                for p, score in zip(
                    ranks["exact/passages"][row][:INSTEAD], ranks["exact/scores"][row][:INSTEAD], strict=True
                )
            ],
        }
        for row in worst
    ]
