import math

from references import cosines, own, wrong


def reference(batch, strategy, q):
    c = cosines(batch, q)
    positive = math.exp(strategy.scale * c[int(batch.positive[q])])
    others = own(batch, q) if strategy.local else wrong(batch, q)
    likely = positive / (positive + sum(math.exp(strategy.scale * c[j]) for j in others))
    return (1 - likely) ** strategy.exponent * -math.log(likely)
