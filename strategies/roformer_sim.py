"""RoFormer-Sim: SimBERT with noise, then a teacher's cosines instead of the contrast."""

from __future__ import annotations

from dataclasses import dataclass, field

from strategies.base import Strategy, knob, register
from strategies.batch import Batch, Loss
from strategies.chain import Chain
from strategies.examples import BothWays, Examples
from strategies.losses import cosine_error
from strategies.negatives import Guide, Negatives, NoNegatives
from strategies.simbert import SimBERT


@dataclass(frozen=True)
class NoisySimBERT(SimBERT):
    """The first stage: :class:`strategies.simbert.SimBERT` with noise and a smaller scale."""

    scale: float = knob(20.0, low=5.0, high=100.0, log=True, source="roformer-sim train/stage1.py: scale 20")
    noise: float = knob(
        0.5, low=0.0, high=1.0, least=0, most=1, source="roformer-sim train/stage1.py: half of the texts"
    )


@dataclass(frozen=True)
class DistilAndGenerate(Strategy):
    """The second stage: the cosines of all rows with each other fitted to a teacher's, plus generation.

    ``L_i = weight / n sum_j (cos(u_i, u_j) - cos(v_i, v_j))^2 + generation * G_i`` over the ``n`` rows of the batch,
    whose mean over ``i`` has the documented ``lambda / n^2``; ``i = j`` adds 0. The student ``u`` sees noise, the
    teacher ``v`` does not.
    """

    name = "roformer_sim"

    weight: float = knob(100.0, low=1.0, high=1000.0, log=True, source="roformer-sim train/stage2.py: 100")
    teacher: str = knob("minilm", source="an encoder's name, a directory or a run; the document has SimBERT")
    generation: float = knob(1.0, low=0.0, high=2.0, least=0, source="roformer-sim train/stage2.py: the sum")
    noise: float = knob(
        0.5, low=0.0, high=1.0, least=0, most=1, source="roformer-sim train/stage2.py: half of the texts"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.teacher == "data":
            raise ValueError("strategy.teacher=data has scores but no vectors; name an encoder, a directory or a run")

    @property
    def negatives(self) -> Negatives:
        return NoNegatives()

    @property
    def examples(self) -> Examples:
        return BothWays(self.noise, targets=self.generation > 0)

    @property
    def guide(self) -> Guide:
        return Guide(self.teacher)

    def loss(self, batch: Batch) -> Loss:
        if batch.guide is None:
            raise TypeError("roformer_sim needs a teacher's view of the batch")
        distilled = self.weight * cosine_error(batch.queries, batch.guide.queries)
        return Loss(distilled if batch.generation is None else distilled + self.generation * batch.generation)


@register("roformer_sim")
@dataclass(frozen=True)
class RoFormerSim(Chain):
    """SimBERT on noisy texts, then a teacher's cosines in place of the contrast; both generate.

    The losses are those of :class:`NoisySimBERT` and :class:`DistilAndGenerate`. Generation in the second stage keeps
    what the first has learnt, and the teacher brings back what generation costs in similarity. The encoder may be of
    any architecture that can be trained to generate; with a RoFormer it is the documented model. ``train.stage_steps``
    gives each stage its number of steps.

    Source: RoFormer-Sim (Su 2021; ``ZhuiyiTechnology/roformer-sim``). It masks Chinese words as jieba finds them; here
    a word is what the tokenizer says, which for BERT's is a single Chinese character.

    Published with: scale 20, roformer-char, 48 pairs a batch, learning rate 1e-5, dropout 0.2; the second stage has
    some 5,000 steps in base size.
    """

    simbert: NoisySimBERT = field(default_factory=NoisySimBERT)
    distil: DistilAndGenerate = field(default_factory=DistilAndGenerate)
