from references import cosines, softmax_loss, wrong


def reference(batch, strategy, q):
    c, s = cosines(batch, q), strategy.scale
    return softmax_loss(s * (c[int(batch.positive[q])] - strategy.margin), [s * c[j] for j in wrong(batch, q)])
