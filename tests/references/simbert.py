from references import cosines, softmax_loss, wrong


def reference(batch, strategy, q):
    c, s = cosines(batch, q), strategy.scale
    contrast = softmax_loss(s * c[int(batch.positive[q])], [s * c[j] for j in wrong(batch, q)])
    return strategy.contrast * contrast + strategy.generation * float(batch.generation[q])
