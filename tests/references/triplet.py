from references import cosines, far, own


def reference(batch, strategy, q):
    d = [far(c, strategy.distance) for c in cosines(batch, q)]
    terms = [max(0.0, d[int(batch.positive[q])] - d[j] + strategy.margin) for j in own(batch, q)]
    return sum(terms) / len(terms) if terms else 0.0
