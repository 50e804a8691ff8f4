"""From words to configurations: the override grammar, every setting's way, and errors that say what would fit."""

from __future__ import annotations

import json
import shlex
from dataclasses import fields
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.overrides import command_line, expand, rebuild, resolve, sources
from bench.config.run import RunConfig
from bench.errors import UserError
from bench.record.identity import flat
from strategies import registered


def value(config: RunConfig, key: str) -> Any:
    """What ``config`` holds under a dotted key."""
    found: Any = config
    for name in key.split("."):
        found = getattr(found, name)
    return found


SETTINGS = {
    "data": ("some/dir", "data.name", "some/dir"),
    "data.path": ("x/y", "data.path", "x/y"),
    "data.max_train": ("100", "data.max_train", 100),
    "data.max_corpus": ("200", "data.max_corpus", 200),
    "encoder": ("scratch", "encoder.name", "scratch"),
    "encoder.pooling": ("cls", "encoder.pooling", "cls"),
    "encoder.output_dim": ("256", "encoder.output_dim", 256),
    "encoder.layers": ("[0,1]", "encoder.layers", (0, 1)),
    "encoder.max_query_tokens": ("32", "encoder.max_query_tokens", 32),
    "encoder.max_passage_tokens": ("96", "encoder.max_passage_tokens", 96),
    "encoder.query_prefix": ("'query: '", "encoder.query_prefix", "query: "),
    "encoder.passage_prefix": ("'a, b=c'", "encoder.passage_prefix", "a, b=c"),
    "train.batch_size": ("64", "train.batch_size", 64),
    "train.micro_batch": ("16", "train.micro_batch", 16),
    "train.epochs": ("3", "train.epochs", 3),
    "train.max_steps": ("0", "train.max_steps", 0),
    "train.lr": ("1e-4", "train.lr", 1e-4),
    "train.weight_decay": ("0", "train.weight_decay", 0.0),
    "train.warmup": ("100", "train.warmup", 100.0),
    "train.clip": ("0.5", "train.clip", 0.5),
    "train.precision": ("fp32", "train.precision", "fp32"),
    "train.recompute": ("true", "train.recompute", True),
    "train.save_every": ("50", "train.save_every", 50),
    "train.eval_every": ("0", "train.eval_every", 0),
    "train.patience": ("3", "train.patience", 3),
    "train.init_from": ("in_batch-x-s0-00c0ffee", "train.init_from", "in_batch-x-s0-00c0ffee"),
    "index.engine": ("faiss", "index.engine", "faiss"),
    "index.m": ("16", "index.m", 16),
    "index.ef_construction": ("50", "index.ef_construction", 50),
    "index.ef": ("80", "index.ef", 80),
    "index.threads": ("1", "index.threads", 1),
    "index.build_threads": ("2", "index.build_threads", 2),
    "eval.ks": ("[1,5]", "eval.ks", (1, 5)),
    "eval.split": ("dev", "eval.split", "dev"),
    "seed": ("7", "seed", 7),
    "device": ("cpu", "device", "cpu"),
    "runs_dir": ("elsewhere/runs", "runs_dir", "elsewhere/runs"),
    "track": ("none", "track", "none"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_arrives(name: str) -> None:
    word, key, expected = SETTINGS[name]
    got = value(resolve([f"{name}={word}"]), key)
    assert got == expected
    assert type(got) is type(expected)


def test_without_overrides_all_is_default() -> None:
    config = resolve([])
    assert config.strategy.name == "in_batch"
    for part in ("data", "encoder", "train", "mining", "index", "eval"):
        assert value(config, part) == type(value(config, part))()


@pytest.mark.parametrize("name", registered())
def test_a_strategy_is_a_choice_and_brings_its_knobs(name: str) -> None:
    strategy = registered()[name]
    assert resolve([f"strategy={name}"]).strategy == strategy()
    defaults = {"name": name, **{k.name: k.default for k in strategy.knobs()}}
    for knob in strategy.knobs():
        other = knob.choices[-1] if knob.choices else knob.high or (3 if knob.least is not None else "other")
        got = resolve([f"strategy.{knob.name}={other}", f"strategy={name}"])
        told = {key.removeprefix("strategy."): value for key, value in flat(got.tree()) if key.startswith("strategy.")}
        assert told == {**defaults, knob.name: other}


# Sweeps


def test_a_sweep_varies_its_last_word_fastest() -> None:
    runs = list(expand(["strategy=in_batch,mnr", "train.lr=1e-3", "seed=1,2,3"]))
    assert runs == [
        (f"strategy={s}", "train.lr=0.001", f"seed={n}") for s, n in product(["in_batch", "mnr"], [1, 2, 3])
    ]


@pytest.mark.parametrize("word", ["eval.ks=[1,5]", "encoder.layers=[0,1]", "encoder.query_prefix='a,b'", "data='a,b'"])
def test_a_comma_in_brackets_or_quotes_is_no_sweep(word: str) -> None:
    assert len(list(expand([word]))) == 1


def test_lists_and_quoted_values_can_be_swept() -> None:
    runs = list(expand(["eval.ks=[1,5],[1,10]", "encoder.query_prefix='q: ','ask: '"]))
    got = [(c.eval.ks, c.encoder.query_prefix) for c in map(resolve, runs)]
    assert got == list(product([(1, 5), (1, 10)], ["q: ", "ask: "]))


@pytest.mark.parametrize("word", ["seed=range(1,4)", "train.lr=interval(0,1)"])
def test_other_sweeps_are_refused(word: str) -> None:
    with pytest.raises(UserError, match="only comma sweeps"):
        list(expand([word]))


@pytest.mark.parametrize("key", ["data", "encoder"])
@pytest.mark.parametrize(
    "path",
    ["plain", "./here", "../up/there", "/abs/dir.v1-2_x", "owner/all-MiniLM-L6-v2", "hf:owner/name", "with space", "1"],
)
def test_a_bare_group_takes_a_path_or_an_id(key: str, path: str) -> None:
    assert value(resolve([f"{key}={path}"]), f"{key}.name") == path
    assert value(resolve([f"{key}='{path}'"]), f"{key}.name") == path


# Texts


@pytest.mark.parametrize(
    "given_",
    [
        "Represent this sentence, for searching: ",
        ' leading: (and = more) {x} [y] "z" it\'s ~ * $HOME ${x} \\ #',
        "Instruct: find it\nQuery: ",
        "query:question,positive:answer",
        "'tis, the season",
        "glob(*)",
        "",
    ],
)
def test_a_text_is_taken_whole(given_: str) -> None:
    words = [f"encoder.query_prefix={given_}", f"data.path={given_}"]
    (once,) = expand(words)
    assert resolve(once).encoder.query_prefix == resolve(once).data.path == given_
    assert resolve(shlex.split(command_line(once))[2:]) == resolve(words)


def test_every_text_in_quotes_is_a_sweep_and_null_is_none() -> None:
    runs = [resolve(run) for run in expand(["encoder.query_prefix='a, b: ', \"it's\"", "data.path=null"])]
    assert [run.encoder.query_prefix for run in runs] == ["a, b: ", "it's"]
    assert [run.data.path for run in runs] == [None, None]
    assert resolve(["data.path='null'"]).data.path == "null"


@pytest.mark.parametrize("path", ["2024_01", "007", "1e3", "true", "~/x", "a(b)", "a = b", "${x}"])
def test_a_name_is_no_number_and_needs_no_quotes(path: str) -> None:
    assert resolve([f"data={path}"]).data.name == path


# Errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.lrr=1"], r"no setting 'train\.lrr'; did you mean 'train\.lr'"),
        (["lr=1"], r"no setting 'lr'.*train\.lr$"),
        (["train.learning_rate=1"], r"no setting 'train\.learning_rate'; did you mean 'train\.lr'\?"),
        (["stratgy=mnr"], r"no setting 'stratgy'; did you mean 'strategy'"),
        (["batchsize=64"], r"no setting 'batchsize'; did you mean 'train\.batch_size'"),
        (["hydra.verbose=true"], r"no setting 'hydra\.verbose'; known: budget, data, device"),
        (["train=quick"], "no setting 'train'"),
        (["strategy=hard_neg"], "strategy=hard_neg is not registered; did you mean 'hardest_neg'"),
        (
            ["strategy=mnr", "strategy.scal=1"],
            r"strategy mnr has no knob 'strategy\.scal'; did you mean 'strategy\.scale'",
        ),
        (["strategy=hardest_neg", "strategy.scale=1"], r"hardest_neg has no knob 'strategy\.scale'"),
        (["strategy.margn=1"], r"has no knob 'strategy\.margn'; did you mean 'strategy\.margin'"),
        (["seed=1,"], r"^'seed=1,' ends with a comma; write a list without spaces, such as seed=1,2$"),
        (["train.lr=abc"], r"^train\.lr=abc is not a number$"),
        (["train.lr=nan"], "not a finite number"),
        (["strategy.scale=inf"], "not a finite number"),
        (["strategy.margin=wide"], r"^strategy\.margin=wide is not a number$"),
        (["train.batch_size=1.5"], r"^train\.batch_size=1\.5 is not a whole number$"),
        (["train.max_steps=few"], r"^train\.max_steps=few is not a whole number or null$"),
        (["train.recompute=maybe"], "not true or false"),
        (["eval.ks=5"], r"^eval\.ks=5 is not a list of whole numbers, such as \[1,5\]$"),
        (["eval.ks=[1,a]"], r"^eval\.ks=\[1,a\] is not a list of whole numbers"),
        (["eval.ks=[]"], "empty"),
        (["eval.ks=[5,1]"], "must rise"),
        (["eval.ks=[1,100]"], r"eval\.retrieve=50"),
        (["index.ef=10"], r"index\.ef=10 is smaller than the 50 passages"),
        (["index.engine=hnsw"], r"index\.engine='hnsw' is not one of .*hnswlib"),
        (["seed=null"], r"^seed=null is not a whole number$"),
        (["seed=-1"], "at least 0"),
        (["seed=99999999999999999999"], "must be below"),
        (["strategy.scale=0"], "must be above 0"),
        (["strategy.name=mnr"], "strategy=NAME"),
        (["strategy=mined_hard", "strategy.n=0"], "must be"),
        (["strategy=mined_hard", "strategy.last=12"], "leave 2 ranks"),
        (["strategy=mnr", "strategy.symmetric=true", "strategy.directions=q2p+p2p"], "leave strategy.directions"),
        (["strategy=random_global", "strategy.group=1", "strategy.local=true"], "leaves no negative"),
        (["strategy=debiased", "strategy.prior=1"], "probability"),
        (["strategy=ance", "strategy.last=1", "strategy.n=2"], "too few"),
        (["stages=simcse,simcse_ibn"], "a chain itself"),
        (["stages=simcse,hard"], "strategy=hard in simcse[+]hard is not registered"),
        (["strategy=simcse_ibn", "train.stage_steps=[5]"], "has 1 stages, but simcse_ibn has 2"),
        (["train.batch_size=0"], "at least 1"),
        (["train.clip=-1"], "at least 0"),
        (["strategy=simbert", "strategy.noise=1.5"], "strategy.noise=1.5 must be at most 1"),
        (["train.precision=fp8"], "not one of auto, bf16"),
        (["encoder.pooling=sum"], "not one of cls"),
        (["encoder.pooling=cls+pooler"], "joined by"),
        (["track=maybe"], "not one of auto"),
        (["strategy=hardest_neg", "strategy.positive=best"], "not one of own, row_max"),
        (["seed=1", "seed=2"], "given twice"),
        (["data=a", "data.name=b"], r"data\.name is given twice"),
        (["stages=mnr,in_batch", "strategy=mnr"], r"stages=A,B is another way to write strategy=A\+B"),
        (["strategy=in_batch+"], r"strategy=in_batch\+ has an empty name"),
        (["strategy"], "not an override"),
        (["+seed=1"], "adding and deleting"),
        (["~seed=1"], "adding and deleting"),
        (["eval.ks=[1"], "put quotes"),
        (["data=a,"], "empty name"),
        (["data="], "empty name"),
        (["data=a\0b"], "not valid UTF-8"),
        (["data=a\udc80b"], "not valid UTF-8"),
        (["data=a\nb"], "control character"),
        (["runs_dir=null"], "not a text"),
        (["train.lr=${seed}"], "references"),
        (["strategy.margin='${seed}'"], "references"),
        (["seed=glob(*)"], "only comma sweeps"),
        (["seed=choice(1,2)"], "only comma sweeps"),
        (["seed=sort(2,1)"], "only comma sweeps"),
        (["seed=shuffle(1,2)"], "only comma sweeps"),
        (["seed=int(1)"], "only comma sweeps"),
        (["seed@train=1"], "adding and deleting"),
        (["++seed=1"], "adding and deleting"),
        (["="], "no setting ''"),
        (["=="], "cannot be parsed"),
        ([""], "not an override"),
        (["sëed=1"], "cannot be parsed"),
        ([f"seed={'9' * 5000}"], r"^'seed=9+\.\.\. \(5,005 characters\)' cannot be parsed"),
        ([f"eval.ks={'[' * 5000}"], "cannot be parsed"),
        ([f"train.lr=1{'0' * 400}"], r"^train\.lr=10+\.\.\. \(401 characters\) is not a number$"),
        (
            [f"train.batch_size=1{'0' * 400}"],
            r"^train\.batch_size=10+\.\.\. \(401 characters\) must be at most 2,147",
        ),
        (["seed=1e3"], "not a whole number"),
        (["train.max_steps=1e9"], "not a whole number"),
        (["train.lr=1e400"], "not a finite number"),
        (["budget.seconds=1e308"], r"^budget\.seconds=1e\+308 must be at most 1,000,000,000,000$"),
        (["index.m=1000000000"], "at most 10,000"),
        (["index.ef=1099511627776"], "at most 1,000,000"),
        (["index.threads=100000"], "at most 1,024"),
        (["eval.ks=[1,4611686018427387904]", "eval.retrieve=4611686018427387904", "index.engine=exact"], "at most"),
        (["encoder.output_dim=1000000000000"], "at most 65,536"),
        (["encoder.max_query_tokens=1099511627776"], "at most 2,147,483,647"),
        (["encoder.layers=[1099511627776]"], "at most 2,147,483,647"),
        (["mining.memory_mb=1152921504606846976"], "at most 2,147,483,647"),
        (["strategy=queue", "strategy.size=1099511627776"], "at most 2,147,483,647"),
    ],
    ids=str,
)
def test_bad_words_are_told_with_what_would_fit(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        for run in expand(words):
            resolve(run)
    assert "\n" not in str(told.value)


# Records and sources


OVERRIDES = st.fixed_dictionaries(
    {},
    optional={
        "strategy": st.sampled_from(sorted(registered())),
        "data": st.sampled_from(["docstrings", "'a b/c'", "/x.y/z-1"]),
        "data.max_train": st.integers(1, 10**6),
        "encoder.layers": st.lists(st.integers(0, 11), min_size=1).map(lambda v: str(v).replace(" ", "")),
        "encoder.pooling": st.sampled_from(["cls", "mean", "null"]),
        "eval.ks": st.lists(st.integers(1, 50), min_size=1, unique=True).map(lambda v: str(sorted(v)).replace(" ", "")),
        "train.lr": st.floats(0, 1),
        "train.warmup": st.one_of(st.integers(0, 1000), st.floats(0, 1)),
        "train.max_steps": st.one_of(st.just("null"), st.integers(0, 10**6)),
        "train.recompute": st.booleans(),
        "seed": st.integers(0, 2**31),
    },
)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(OVERRIDES)
def test_a_recorded_tree_gives_the_same_configuration(words: dict[str, Any]) -> None:
    config = resolve([f"{key}={word}" for key, word in words.items()])
    again = rebuild(json.loads(json.dumps(config.tree())))
    assert again.tree() == config.tree()
    assert type(again.strategy) is type(config.strategy)
    assert [type(v) for _, v in flat(again.tree())] == [type(v) for _, v in flat(config.tree())]


def test_a_setting_that_came_after_a_recorded_tree_has_its_default() -> None:
    tree = resolve(["train.lr=1e-4"]).tree()
    del tree["train"]["clip"], tree["mining"], tree["index"]["engine"]
    assert rebuild(tree).tree() == resolve(["train.lr=1e-4"]).tree()


def test_exact_search_has_no_ef_to_be_too_small() -> None:
    assert resolve(["index.engine=exact", "index.ef=10"]).index.ef == 10


def test_a_tree_with_a_setting_of_another_version_is_refused() -> None:
    tree = resolve([]).tree()
    tree["train"]["clip_norm"] = tree["train"]["clip"]
    with pytest.raises(UserError, match=r"another version.*train\.clip_norm"):
        rebuild(tree)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.lr", "fast", "train.lr=fast is not a number"),
        ("train.epochs", True, "train.epochs=True is not a whole number"),
        ("train", 5, "unknown settings: train"),
        ("eval.ks", [1, "5"], "is not a list of whole numbers"),
        ("strategy.name", "nobody", "strategy=nobody is not registered"),
        ("strategy.scale", -1, "must be above 0"),
        ("train.batch_size", 2**40, "must be at most"),
    ],
)
def test_a_tree_of_other_values_is_refused_by_key(key: str, value: Any, message: str) -> None:
    tree = resolve([]).tree()
    group, _, name = key.rpartition(".")
    (tree[group] if group else tree)[name] = value
    with pytest.raises(UserError, match=message):
        rebuild(tree)


PARTS = ("strategy", "data", "encoder", "train", "budget", "mining", "index", "eval")


def test_sources_say_what_is_from_the_command_line() -> None:
    words = ["data=x", "strategy.margin=0.1", "seed=3"]
    rows = {key: (got, origin) for key, got, origin in sources(resolve(words), words)}
    config = resolve(words)
    leaves = sum(len(fields(value(config, part))) for part in PARTS)
    assert len(rows) == leaves + 1 + 7  # the strategy's name; seed, device, threads, devices, runs_dir, track, keep
    given = {key for key, (_, origin) in rows.items() if origin == "command line"}
    assert given == {"data.name", "strategy.margin", "seed"}
    assert rows["data.name"][0] == "x"
    assert rows["strategy.scale"][1].startswith("default (PaddleNLP")
    assert rows["strategy.name"] == ("in_batch", "default")
