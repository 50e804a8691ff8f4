"""Where the time goes: the share of each kind of operation in the training and in the encoding of ``peer.py``.

    python benchmarks/operations.py --encoder ../shared/models/zh_e5_small_4l --data ../shared/data/classical_modern \
        --pairs 1600 --threads 2

torch's profiler watches all threads. A share is the time that the threads are within operations of a kind, without
those that they call, of the time of all threads: seconds passed times ``--threads``. What is left is Python, waiting,
and the profiler itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter

from peer import SKIPPED, Work, encode_ours, train_ours, work_parser
from torch._C._profiler import _ExperimentalConfig
from torch.profiler import ProfilerActivity, profile

from bench import cores

KINDS = {
    "matrix products of linear layers": r"aten::(mm|addmm|mkldnn_linear.*|_addmm_activation)$",
    "matrix products of attention": r"aten::(bmm|baddbmm)$",
    "softmax": r"aten::_?softmax.*",
    "GELU": r"aten::gelu.*",
    "layer norm": r"aten::(native_)?layer_norm.*",
    "copies, and other number formats": r"aten::(copy_|_to_copy|clone|contiguous|cat|_cat)$",
    "gathering and scattering rows": r"aten::(index.*|_index.*|gather.*|scatter.*|embedding.*)",
    "the optimiser": r"aten::_(foreach|fused).*|aten::(lerp|sqrt|addcdiv|addcmul).*",
    "other operations": r".*",
}


def of_all_threads() -> profile:
    """A profiler that watches the threads that are started while it runs, too."""
    return profile(activities=[ProfilerActivity.CPU], experimental_config=_ExperimentalConfig(profile_all_threads=True))


def shares(found: profile, seconds: float, threads: int) -> Mapping[str, float]:
    """Percent of the threads' time by kind of operation."""
    taken = dict.fromkeys(KINDS, 0.0)
    for event in found.key_averages():
        kind = next(kind for kind, form in KINDS.items() if re.match(form, event.key))
        taken[kind] += event.self_cpu_time_total / 1e6
    return {kind: 100 * of / seconds / threads for kind, of in taken.items()}


def main() -> None:
    parser = work_parser(__doc__)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    Path(args.scratch).mkdir(parents=True, exist_ok=True)
    cores.use(args.threads)
    work = Work(args)
    watched = of_all_threads()
    steps: list[float] = []

    def after_step() -> None:
        steps.append(perf_counter())
        if len(steps) == SKIPPED:
            watched.start()
            steps[-1] = perf_counter()

    encoder = train_ours(args, work, after_step)
    training = steps[-1] - steps[SKIPPED - 1]
    watched.stop()
    columns = [shares(watched, training, args.threads)]
    encode_ours(args, work, encoder)
    with of_all_threads() as encoding:
        start = perf_counter()
        encode_ours(args, work, encoder)
        seconds = perf_counter() - start
    columns.append(shares(encoding, seconds, args.threads))
    print(f"{'% of the time of ' + str(args.threads) + ' threads':<36}{'training':>10}{'encoding':>10}")
    for kind in KINDS:
        print(f"{kind:<36}" + "".join(f"{column[kind]:>10.1f}" for column in columns))
    print(f"{'Python, waiting, profiling':<36}" + "".join(f"{100 - sum(c.values()):>10.1f}" for c in columns))
    print(f"training {args.batch * (len(steps) - SKIPPED) / training:.1f} pairs/s, ", end="")
    print(f"encoding {len(work.texts) / seconds:,.1f} texts/s, both while being profiled")


if __name__ == "__main__":
    main()
