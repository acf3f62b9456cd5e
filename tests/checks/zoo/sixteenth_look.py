"""What a sixteenth adversary tripped the audit up with, and texts whose masks are not heeded; developed against."""

import torch
from torch import nn

from tests.checks.zoo.case import bug, unusual
from tests.checks.zoo.fourth_look import WORDS
from tests.checks.zoo.thirteenth_look import of_texts


def with_mask(words):
    return {"input_ids": words, "attention_mask": (words != 0).long()}


class Encoder(nn.Module):
    """Attention among the words that a mask names, then the mean over them, or over all places."""

    def __init__(self, all_places):
        super().__init__()
        self.all_places = all_places
        self.words, self.places = nn.Embedding(WORDS, 32, padding_idx=0), nn.Embedding(20, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.attention, self.scores = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(32, 3)

    def forward(self, text):
        words, there = text["input_ids"], text["attention_mask"].bool()
        places = self.places(torch.arange(words.shape[1], device=words.device))
        found = self.attention(self.words(words) + places, src_key_padding_mask=~there)
        if self.all_places:
            return self.scores(found.mean(1))
        return self.scores((found * there[..., None]).sum(1) / there.sum(1, keepdim=True))


@bug("model", "padding-read")
def a_mean_over_places_that_are_filled_up(broken):
    return of_texts(with_mask, lambda: Encoder(all_places=broken))


class Last(nn.Module):
    """The state of a recurrence after the last word, or after all that fills up."""

    def __init__(self, at_the_end):
        super().__init__()
        self.at_the_end = at_the_end
        self.words, self.states, self.scores = (
            nn.Embedding(WORDS, 32),
            nn.GRU(32, 48, batch_first=True),
            nn.Linear(48, 3),
        )

    def forward(self, text):
        words, lengths = text
        states = self.states(self.words(words))[0]
        last = torch.full_like(lengths, -1) if self.at_the_end else lengths - 1
        return self.scores(states[torch.arange(len(words)), last])


@bug("model", "padding-read")
def the_last_state_after_filling(broken):
    return of_texts(lambda words: (words, (words != 0).sum()), lambda: Last(at_the_end=broken))


@unusual
def a_sum_of_words_where_zero_says_nothing():
    """Its mask is not read, and need not be."""

    class Summed(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.scores = nn.Embedding(WORDS, 32, padding_idx=0), nn.Linear(32, 3)

        def forward(self, text):
            return self.scores(self.words(text["input_ids"]).sum(1))

    return of_texts(with_mask, Summed)
