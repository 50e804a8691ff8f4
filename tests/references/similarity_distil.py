from references import dot


def texts(batch):
    return [*batch.left, *batch.right] if hasattr(batch, "left") else [*batch.queries, *batch.candidates]


def reference(batch, strategy, q):
    u, v = texts(batch), texts(batch.guide)
    errors = [(dot(u[q], u[j]) - dot(v[q], v[j])) ** 2 for j in range(len(u))]
    return strategy.weight * sum(errors) / len(errors)
