"""Properties of the command line's words, over generated ones: each gives a configuration or a one-line error."""

from __future__ import annotations

import shlex
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.config.overrides import command_line, expand, rebuild, resolve
from bench.config.words import written
from bench.errors import UserError
from bench.record.identity import flat

KEYS = [key for key, _ in flat(resolve([]).tree()) if key != "strategy.name"]
TEXTS = ["encoder.query_prefix", "encoder.passage_prefix", "data.path", "runs_dir"]
NAMES = ["data", "encoder", "train.init_from", "mining.judge", "eval.split"]

letters = st.characters(codec="utf-8", exclude_characters="\0")
text = st.text(letters, max_size=40)
special = st.text(st.sampled_from(list(" ,:='\"\\()[]{}$~*+@!`#\n\tabc0")), max_size=12)
name = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.sampled_from(" ,'\\\"$"), min_size=1)
number = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats().map(str),
    st.integers(1, 6000).map(lambda digits: "9" * digits),
    st.sampled_from(["-0", "-0.0", "1e400", "0x10", "1_0", "null", "true", "inf", "[1,5]", "[]", "[[1]]", "{a:1}"]),
)
odd = st.sampled_from(
    ["glob(*)", "range(1,3)", "choice(1,2)", "sort(2,1)", "shuffle(1,2)", "${seed}", "${oc.env:HOME}", "a" * 300]
)
key = st.one_of(
    st.sampled_from(KEYS + NAMES), special, st.sampled_from(["~seed", "+seed", "seed@x", "strategy", "stages"])
)
word = st.one_of(st.builds("{}={}".format, key, st.one_of(text, special, number, odd)), text, st.text(max_size=5))


def sure(what: str) -> bool:
    """Whether ``what`` has letters that a name cannot have only at its ends, where they are cut away."""
    return what == what.strip() and bool(what)


@settings(max_examples=700, deadline=None, derandomize=True)
@given(st.lists(word, max_size=3))
def test_any_words_give_configurations_or_an_error_of_one_line(words: list[str]) -> None:
    try:
        runs = list(expand(words))
        configs = [resolve(run) for run in runs]
    except UserError as error:
        assert "\n" not in str(error)
        return
    for run, config in zip(runs, configs, strict=True):
        assert next(expand(run)) == run
        assert resolve(run) == config and rebuild(config.tree()).tree() == config.tree()


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(TEXTS), text | special), min_size=1, unique_by=lambda pair: pair[0]))
def test_any_text_is_taken_whole_or_in_quotes_and_its_command_repeats_it(pairs: list[tuple[str, str]]) -> None:
    given_ = {key: value for key, value in pairs if value.strip() or key != "runs_dir"}
    words = [f"{key}={written(value)}" for key, value in given_.items()]
    config = resolve(words)
    told = dict(flat(config.tree()))
    assert {key: told[key] for key in given_} == given_
    plain = {key: value for key, value in given_.items() if not set(value) & set("'\"") and value != "null"}
    assert dict(flat(resolve([f"{key}={value}" for key, value in plain.items()]).tree())).items() >= plain.items()
    pasted = shlex.split(command_line(words))[2:]
    assert resolve([*pasted, *(word for word in words if word.startswith("runs_dir="))]) == config


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.sampled_from(NAMES), st.lists(name.filter(sure), min_size=1, max_size=3), min_size=1))
def test_any_names_are_swept_at_their_commas(names: dict[str, list[str]]) -> None:
    runs = list(expand([f"{key}={','.join(map(written, values))}" for key, values in names.items()]))
    full = {key: {"data": "data.name", "encoder": "encoder.name"}.get(key, key) for key in names}
    got = [dict(flat(resolve(run).tree())) for run in runs]
    expected = [dict(zip(full.values(), values, strict=True)) for values in product(*names.values())]
    assert [{key: of[key] for key in full.values()} for of in got] == expected
