"""In-batch negatives in batches of neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.batches import Batches, Clustered, Grouped
from strategies.losses import cross_entropy


@register("clustered")
@dataclass(frozen=True)
class ClusteredBatches(Strategy):
    """Cross-entropy of the positive against the other passages of a batch whose pairs are of one cluster.

    ``L_i = -log( exp(s c_ip) / sum_j exp(s c_ij) )``, as :class:`strategies.mnr.MultipleNegativesRanking`. Before
    training, spherical k-means puts the vectors of the pairs' queries, or of their passages, into ``clusters``. With
    ``by=data`` the clusters are groups that the data set has, such as sources or topics: a column of train, which
    ``"data.columns='group:COLUMN'"`` names. In each
    epoch the pairs are sorted by cluster, with the clusters and the pairs of each in random order, and cut into
    batches, which come in random order. So negatives are passages of the same topic and nothing is mined. More
    clusters make harder batches until they are smaller than a batch.

    Source: Merrick 2024, "Embedding And Clustering Your Data Can Improve Contrastive Pretraining". Contextual Document
    Embeddings (Morris and Rush 2024) also masks likely false negatives in such batches: ``strategy=guided
    strategy.clusters=10``.

    Published with: 10 clusters of queries or of passages by a trained encoder; about 2 % higher nDCG@10.
    """

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="sentence-transformers MNR scale")
    clusters: int = knob(10, low=2, high=100, log=True, least=2, source="Merrick 2024: k = 10")
    of: str = knob("queries", choices=("queries", "passages"), source="Merrick 2024 has both")
    by: str = knob("start", source="an encoder's name, or data; Merrick takes a trained one")

    @property
    def batches(self) -> Batches:
        return Grouped() if self.by == "data" else Clustered(self.clusters, self.by, self.of)

    def loss(self, batch: Batch) -> Loss:
        return Loss(cross_entropy(batch, self.scale))
