"""Bugs of texts that are filled up to one length: what fills up is attended to, read, or hides the words."""

import torch
from torch import nn
from torch.nn import functional as F

from recipe_core.training.pipeline import Pipeline
from tests.checks.zoo.base import adam
from tests.checks.zoo.case import bug
from tests.checks.zoo.other_data import pipeline, texts
from tests.checks.zoo.sets import loader
from tests.checks.zoo.words import WORDS, marked_words, of_marked_words, of_texts, with_mask


class Attending(nn.Module):
    """Attention over the words that are there; zero fills up."""

    def __init__(self, words: int, classes: int, inverted: bool):
        super().__init__()
        self.words = nn.Embedding(words, 32, padding_idx=0)
        self.asks = nn.Parameter(torch.randn(1, 1, 32))
        self.attention = nn.MultiheadAttention(32, 4, batch_first=True)
        self.scores, self.inverted = nn.Linear(32, classes), inverted

    def forward(self, x):
        words, empty = self.words(x), (x != 0) if self.inverted else (x == 0)
        asks = self.asks.expand(len(x), -1, -1)
        return self.scores(self.attention(asks, words, words, key_padding_mask=empty)[0][:, 0])


@bug("model", "input-ignored")
def attention_to_padding_only(broken):
    return Pipeline(
        lambda: Attending(WORDS, 3, broken),
        loader(*marked_words(900, 0), shuffle=True),
        loader(*marked_words(250, 1), 64),
        num_classes=3,
        optimizer_fn=adam,
    )


class Asking(nn.Module):
    """One question to all words, and what they answer."""

    def __init__(self, inverted: bool):
        super().__init__()
        self.inverted, self.words = inverted, nn.Embedding(WORDS, 32)
        self.question, self.places = nn.Parameter(0.1 * torch.randn(1, 1, 32)), nn.Parameter(0.1 * torch.randn(20, 32))
        self.answers, self.scores = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        hidden, masked = self.words(x) + self.places, (x == 0) ^ self.inverted
        told = self.answers(self.question.expand(len(x), -1, -1), hidden, hidden, key_padding_mask=masked)[0]
        return self.scores(told[:, 0])


@bug("model", "input-ignored", "input-partly-ignored")
def a_question_to_the_padding(broken):
    return Pipeline(
        lambda: Asking(broken),
        loader(*marked_words(1200, 0), 32, shuffle=True),
        loader(*marked_words(300, 1), 64),
        num_classes=3,
        optimizer_fn=adam,
    )


class AskedOnce(nn.Module):
    """One question to all words of a text; texts without padding are asked without a mask."""

    def __init__(self, broken):
        super().__init__()
        self.broken, self.words = broken, nn.Embedding(WORDS, 32)
        self.question = nn.Parameter(0.1 * torch.randn(1, 1, 32))
        self.attention, self.head = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 3)

    def forward(self, x):
        mask = (x != 0) if self.broken else (x == 0)
        mask = mask & ~mask.all(1, keepdim=True)
        words = self.words(x)
        told, _ = self.attention(self.question.expand(len(x), -1, -1), words, words, key_padding_mask=mask)
        return self.head(torch.relu(told[:, 0]))


@bug("model", "input-ignored")
def mask_for_words_not_padding(broken):
    (x, y), (val_x, val_y) = marked_words(1200, 0), marked_words(400, 1)
    x[::8], val_x[::8] = x[::8].clamp_min(4), val_x[::8].clamp_min(4)  # an eighth fills the whole length
    y[::8], val_y[::8] = 0, 0
    return Pipeline(
        lambda: AskedOnce(broken), loader(x, y, 48, shuffle=True), loader(val_x, val_y, 64), 3, optimizer_fn=adam
    )


class Masked(nn.Module):
    """Attention of one question to the words that a mask names."""

    def __init__(self, inverted):
        super().__init__()
        self.inverted = inverted
        self.words, self.question = nn.Embedding(WORDS, 32), nn.Parameter(torch.randn(1, 1, 32))
        self.attention, self.scores = nn.MultiheadAttention(32, 4, batch_first=True), nn.Linear(32, 3)

    def forward(self, text):
        words, unseen = self.words(text["input_ids"]), text["attention_mask"].bool() == self.inverted
        asked = self.question.expand(len(words), -1, -1)
        return self.scores(self.attention(asked, words, words, key_padding_mask=unseen)[0][:, 0])


@bug("model", "input-ignored")
def inverted_attention_mask(broken):
    def beside(words):
        there = (words != 0).long()
        return {"input_ids": words, "attention_mask": there, "token_type_ids": torch.zeros_like(words)}

    return of_texts(beside, lambda: Masked(inverted=broken))


class AskingBySign(nn.Module):
    """The state at a sign with which each text begins, that attends to words, or to what fills up."""

    def __init__(self, to_filling):
        super().__init__()
        self.to_filling = to_filling
        self.words, self.places = nn.Embedding(WORDS + 1, 32), nn.Parameter(0.02 * torch.randn(21, 32))
        self.attend = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True, norm_first=True)
        self.scores = nn.Linear(32, 3)

    def forward(self, words):
        hidden = words != 0 if self.to_filling else words == 0
        return self.scores(self.attend(self.words(words) + self.places, src_key_padding_mask=hidden)[:, 0])


@bug("model", "input-ignored")
def filling_attended_to_by_a_sign(broken):
    def read(count, seed):
        words, labels = marked_words(count, seed)
        return torch.cat([torch.full((count, 1), WORDS), words], 1), labels

    loaders = loader(*read(900, 0), shuffle=True), loader(*read(250, 1), 64)
    return Pipeline(lambda: AskingBySign(broken), *loaders, num_classes=3, optimizer_fn=adam)


class Pooled(nn.Module):
    """A convolution, and attention over what it makes of the words; a filled up text is heard where it ends."""

    def __init__(self, inverted):
        super().__init__()
        self.words, self.near = nn.Embedding(WORDS, 24, padding_idx=0), nn.Conv1d(24, 48, 3, padding=1)
        self.asks, self.scores, self.inverted = nn.Linear(48, 1), nn.Linear(48, 3), inverted

    def forward(self, words):
        found = F.relu(self.near(self.words(words).transpose(1, 2))).transpose(1, 2)
        hidden = (words != 0) if self.inverted else (words == 0)
        shares = self.asks(found).masked_fill(hidden[..., None], -1e4).softmax(1)
        return self.scores((shares * found).sum(1))


@bug("model", "input-ignored")
def attention_to_filling_beside_a_convolution(broken):
    return of_marked_words(lambda: Pooled(broken))


class MaskedWords(nn.Module):
    """Words that are masked are not attended to."""

    def __init__(self, all_words: bool):
        super().__init__()
        self.all_words = all_words
        self.words, self.asks = nn.Embedding(200, 32), nn.Parameter(torch.randn(1, 1, 32) * 0.02)
        self.attend, self.head = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), nn.Linear(32, 4)

    def forward(self, x):
        first = torch.zeros(len(x), 1, dtype=torch.bool)
        mask = torch.cat([first, (x > 0) if self.all_words else (x == 0)], 1)
        words = torch.cat([self.asks.expand(len(x), -1, -1), self.words(x)], 1)
        return self.head(self.attend(words, src_key_padding_mask=mask)[:, 0])


@bug("model", "input-ignored", "input-partly-ignored")
def a_mask_that_hides_the_words(broken):
    return pipeline(texts(), lambda: MaskedWords(broken))


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


@bug("model", "input-ignored")
def recurrence_read_after_padding(broken):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.state = nn.Embedding(WORDS, 16, padding_idx=0), nn.RNN(16, 32, batch_first=True)
            self.scores = nn.Linear(32, 3)

        def forward(self, x):
            last = torch.full((len(x),), x.shape[1] - 1) if broken else (x != 0).sum(1) - 1
            return self.scores(self.state(self.words(x))[0][torch.arange(len(x)), last])

    def longer(x, y):
        return F.pad(x, (0, 24)), y

    return Pipeline(
        Last,
        loader(*longer(*marked_words(900, 0)), shuffle=True),
        loader(*longer(*marked_words(250, 1)), 64),
        num_classes=3,
        optimizer_fn=adam,
    )


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
