"""The boundary critic, HRL's "internal critic": does a segment end at this word (HRL section 3.2, eq. 9 and 10)?"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from captionrl.config import BoundaryCriticSizes
from captionrl.models.layers import initialise
from captionrl.text.vocabulary import BOS, EOS


class BoundaryCritic(nn.Module):
    """Word embedding, GRU, linear (HRL supplement C). It reads <s> and then the caption's words.

    Equation 9 lets z_t see a_t, equation 10 only the words before it. `sizes.critic_input` chooses: with "current" the
    output at a word says whether a segment ends there, with "previous" whether one will end at the next word.
    """

    def __init__(self, vocabulary: int, sizes: BoundaryCriticSizes) -> None:
        super().__init__()
        self.reads_current = sizes.critic_input == "current"
        self.close_caption = sizes.close_caption
        self.embedding = nn.Embedding(vocabulary, sizes.boundary_critic)
        self.gru = nn.GRU(sizes.boundary_critic, sizes.boundary_critic, batch_first=True)
        self.linear = nn.Linear(sizes.boundary_critic, 1)
        initialise(self, sizes.init)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, T] of "a segment ends at this word" for the words of captions [B, T]."""
        inputs = torch.cat([tokens.new_full((len(tokens), 1), BOS), tokens], 1)
        logits = self.logits(self.embedding(inputs))
        return logits[:, 1:] if self.reads_current else logits[:, :-1]

    def truth(self, ends: Tensor, tokens: Tensor) -> Tensor:
        """What it is to say of captions [B, T]: `ends` [B, T] bool, without their last words' unless close_caption."""
        if self.close_caption:
            return ends
        return ends & pad(tokens[:, 1:] > EOS, (0, 1))  # another word follows

    def logits(self, embedded: Tensor) -> Tensor:
        """Logits [B, T] after each of the embedded words [B, T, E], the first of which is <s>."""
        return self.linear(self.gru(embedded)[0]).squeeze(-1)

    def step(self, embedded: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One word [B, E] more: logits [B], and the new hidden state [B, H]."""
        hidden = torch.gru_cell(embedded, hidden, *self.gru.all_weights[0])
        return self.linear(hidden).squeeze(-1), hidden
