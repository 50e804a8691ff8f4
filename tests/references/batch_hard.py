from references import cosines, far, wrong


def reference(batch, strategy, q):
    d = [far(c, strategy.distance) for c in cosines(batch, q)]
    farthest = max(d[j] for j in range(len(d)) if batch.relevant[q, j])
    return max(0.0, farthest - min(d[j] for j in wrong(batch, q)) + strategy.margin)
