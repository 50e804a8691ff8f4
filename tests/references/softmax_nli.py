from references import softmax_loss


def reference(batch, strategy, q):
    u, v, label = batch.left_raw[q].tolist(), batch.right_raw[q].tolist(), int(batch.label[q])
    features = [*u, *v, *(abs(a - b) for a, b in zip(u, v, strict=True))]
    features += [a * b for a, b in zip(u, v, strict=True)] if strategy.product else []
    logits = [
        bias + sum(w * x for w, x in zip(weights, features, strict=True))
        for weights, bias in zip(batch.head.weight.tolist(), batch.head.bias.tolist(), strict=True)
    ]
    return softmax_loss(logits[label], [logit for place, logit in enumerate(logits) if place != label])
