from references import cosines, own, softmax_loss, wrong


def reference(batch, strategy, q):
    s, c = strategy.scale, cosines(batch, q)
    mined = own(batch, q) if strategy.n else []
    weight = {j: strategy.own if j in mined else strategy.batch for j in wrong(batch, q)}
    return softmax_loss(s * c[int(batch.positive[q])], [s * c[j] + weight[j] * c[j] for j in weight])
