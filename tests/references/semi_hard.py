from references import cosines, far, wrong


def reference(batch, strategy, q):
    d = [far(c, strategy.distance) for c in cosines(batch, q)]
    positive = d[int(batch.positive[q])]
    negatives = sorted(d[j] for j in wrong(batch, q))
    beyond = [n for n in negatives if n > positive]
    return max(0.0, positive - (beyond[0] if beyond else negatives[-1]) + strategy.margin)
