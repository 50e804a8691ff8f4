from references import cosines, dot, softmax_loss, wrong


def reference(batch, strategy, q):
    s, c, p = strategy.scale, cosines(batch, q), int(batch.positive[q])
    guide = batch.guide
    seen = dot(guide.queries[q], guide.candidates[p])
    threshold = seen - strategy.margin * (abs(seen) if strategy.margin_kind == "relative" else 1.0)
    terms = [s * c[j] for j in wrong(batch, q) if dot(guide.queries[q], guide.candidates[j]) <= threshold]
    if strategy.contrast_queries:
        terms += [
            s * dot(batch.queries[q], batch.queries[i])
            for i in range(len(batch.queries))
            if not batch.relevant[q, int(batch.positive[i])]
            and not batch.relevant[i, p]
            and dot(guide.queries[q], guide.queries[i]) <= threshold
        ]
    if strategy.contrast_passages:
        terms += [
            s * dot(batch.candidates[p], batch.candidates[j])
            for j in wrong(batch, q)
            if dot(guide.candidates[p], guide.candidates[j]) <= threshold
        ]
    return softmax_loss(s * c[p], terms)
