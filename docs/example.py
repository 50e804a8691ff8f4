"""What docs/api.md explains, as a script: ``python docs/example.py [KEY=VALUE...]`` with settings of every run."""

import sys

from bench import api

# Two strategies, two seeds each. A finished run is skipped, so that the script can be run again and again.
settings = {"data": "docstrings", "data.max_train": 2000, "train.max_steps": 30, "track": "none", "runs_dir": "runs"}
settings |= dict(word.split("=", 1) for word in sys.argv[1:])
words = [f"{key}={value}" for key, value in settings.items()]
for strategy in ("in_batch", "hardest_neg"):
    for seed in (1, 2):
        outcome = api.run([*words, f"strategy={strategy}", f"seed={seed}"])

# The records as a table: one row a run.
runs_dir = outcome.path.parent
records = api.load_records(runs_dir)
print(records.groupby("strategy")[["recall@1", "exact/recall@1", "cost/train_s"]].mean())

# Is the difference significant? `best` is None where nobody is significantly better than all others.
comparison = api.compare(runs_dir, metric="recall@1")
for row in comparison.rows:
    interval = row.metrics[comparison.metric]
    print(f"{row.group.label}: {interval.mean:.2f} percent over {interval.n} seeds, letters {row.letters or 'none'}")
print("best:", "nobody" if comparison.best is None else comparison.rows[comparison.best].group.label)

# What the last run has learnt, as vectors: the most similar passage of each query.
passages = ["Read a file and return its text.", "Compute the mean of an array.", "Open a connection to a server."]
queries = ["mean of numbers", "connect to a host"]
scores = api.embed(queries, outcome.path, role="query") @ api.embed(passages, outcome.path, role="passage").T
for query, best in zip(queries, scores.argmax(axis=1), strict=True):
    print(f"{query}: {passages[best]}")
