from references import cosines, own, softmax_loss, wrong


def reference(batch, strategy, q):
    c, s = cosines(batch, q), strategy.scale
    others = own(batch, q) if strategy.local else wrong(batch, q)
    return softmax_loss(s * c[int(batch.positive[q])], [s * c[j] for j in others])
