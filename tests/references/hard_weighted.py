import math

from references import cosines, wrong


def reference(batch, strategy, q):
    s, b = strategy.scale, strategy.concentration
    c = cosines(batch, q)
    positive = math.exp(s * c[int(batch.positive[q])])
    hardness = {j: math.exp(b * s * c[j]) for j in wrong(batch, q)}
    mean = sum(hardness.values()) / len(hardness)
    return -math.log(positive / (positive + sum(h / mean * math.exp(s * c[j]) for j, h in hardness.items())))
