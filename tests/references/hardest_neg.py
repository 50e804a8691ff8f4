from references import cosines, wrong


def reference(batch, strategy, q):
    c = cosines(batch, q)
    hardest, positive = max(c[j] for j in wrong(batch, q)), c[int(batch.positive[q])]
    if strategy.positive == "row_max":
        positive = max(positive, hardest)
    return max(0.0, hardest - positive + strategy.margin)
