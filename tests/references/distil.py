import math

from references import cosines, own, softmax_loss, wrong


def reference(batch, strategy, q):
    c, p, s = cosines(batch, q), int(batch.positive[q]), strategy.scale
    told = batch.teacher[q].tolist()
    compared = wrong(batch, q) if strategy.over == "batch" else own(batch, q)
    compared = [j for j in compared if not math.isnan(told[j]) and not math.isnan(told[p])]
    if strategy.kind == "kl":
        group = [p, *compared]
        teacher = {j: math.exp(strategy.teacher_scale * told[j]) if compared else 1.0 for j in group}
        student = {j: math.exp(s * c[j]) for j in group}
        loss = -sum(teacher[j] / sum(teacher.values()) * math.log(student[j] / sum(student.values())) for j in group)
    else:
        errors = [(s * (c[p] - c[j]) - strategy.teacher_scale * (told[p] - told[j])) ** 2 for j in compared]
        loss = sum(errors) / len(errors) if errors else 0.0
    contrast = softmax_loss(s * c[p], [s * c[j] for j in wrong(batch, q)])
    return loss + strategy.contrast * contrast
