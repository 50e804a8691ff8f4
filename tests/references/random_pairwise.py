from references import cosines, own


def reference(batch, strategy, q):
    c = cosines(batch, q)
    terms = [max(0.0, c[j] - c[int(batch.positive[q])] + strategy.margin) for j in own(batch, q)]
    return sum(terms) / len(terms) if terms else 0.0
