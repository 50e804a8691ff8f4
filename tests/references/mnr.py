from references import cosines, dot, softmax_loss, wrong


def reference(batch, strategy, q):
    s, c, p = strategy.scale, cosines(batch, q), int(batch.positive[q])
    mine = batch.candidates[p]
    strangers = [
        i
        for i in range(len(batch.queries))
        if not batch.relevant[q, int(batch.positive[i])] and not batch.relevant[i, p]
    ]
    terms = {
        "q2p": [s * c[j] for j in wrong(batch, q)],
        "p2q": [s * dot(batch.queries[i], mine) for i in strangers],
        "q2q": [s * dot(batch.queries[q], batch.queries[i]) for i in strangers],
        "p2p": [s * dot(mine, batch.candidates[j]) for j in wrong(batch, q)],
    }
    if strategy.symmetric:
        return (softmax_loss(s * c[p], terms["q2p"]) + softmax_loss(s * c[p], terms["p2q"])) / 2
    terms["p2q"].append(s * c[p])
    return softmax_loss(s * c[p], [t for name in strategy.directions.split("+") for t in terms[name]])
