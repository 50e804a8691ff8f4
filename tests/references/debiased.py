import math

from references import cosines, wrong


def reference(batch, strategy, q):
    s, t = strategy.scale, strategy.prior
    c = cosines(batch, q)
    positive = math.exp(s * c[int(batch.positive[q])])
    negatives = [math.exp(s * c[j]) for j in wrong(batch, q)]
    mean = sum(negatives) / len(negatives)
    corrected = max((mean - t * positive) / (1 - t), math.exp(-s))
    return -math.log(positive / (positive + len(negatives) * corrected))
