from references import cosines, own, softmax_loss, wrong


def reference(batch, strategy, q):
    c = cosines(batch, q)
    positive = c[int(batch.positive[q])]
    if strategy.kind == "ce":
        return softmax_loss(strategy.scale * positive, [strategy.scale * c[j] for j in wrong(batch, q)])
    if strategy.kind == "pair":
        return softmax_loss(strategy.scale * positive, [strategy.scale * c[j] for j in own(batch, q)])
    terms = [max(0.0, c[j] - positive + strategy.margin) for j in own(batch, q)]
    return sum(terms) / len(terms) if terms else 0.0
