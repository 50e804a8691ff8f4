from references import cosines, dot, softmax_loss, wrong


def reference(batch, strategy, q):
    s, c, p = strategy.scale, cosines(batch, q), int(batch.positive[q])
    kept = [j for j in wrong(batch, q) if not c[j] > c[p] + strategy.margin]
    terms = [s * c[j] for j in kept]
    if strategy.contrast_queries:
        for i in range(len(batch.queries)):
            alike = dot(batch.queries[q], batch.queries[i])
            answers_other = batch.relevant[q, int(batch.positive[i])] or batch.relevant[i, p]
            if not answers_other and not alike > c[p] + strategy.margin:
                terms.append(s * alike)
    if strategy.contrast_passages:
        terms += [s * dot(batch.candidates[p], batch.candidates[j]) for j in kept]
    return softmax_loss(s * c[p], terms)
