from references import cosines, own, softmax_loss, wrong


def reference(batch, strategy, q):
    c, s, mine = cosines(batch, q), strategy.scale, own(batch, q)
    terms = [s * c[j] + (strategy.weight if j in mine else 0.0) for j in wrong(batch, q)]
    return softmax_loss(s * c[int(batch.positive[q])], terms)
