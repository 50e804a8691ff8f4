import math

from references import dot


def reference(batch, strategy, q):
    c = [dot(u, v) for u, v in zip(batch.left, batch.right, strict=True)]
    y = batch.label.tolist()
    terms = {
        (i, j): math.exp(strategy.scale * (c[i] - c[j])) for i in range(len(y)) for j in range(len(y)) if y[i] < y[j]
    }
    if not terms:
        return 0.0
    whole = math.log(1 + sum(terms.values()))
    mine = sum(term for pair, term in terms.items() if q in pair) / 2
    return len(y) * whole * mine / sum(terms.values())
